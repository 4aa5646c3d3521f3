"""The console: a page of the gateway that shows the shop at work. It reads the log as `holdfast watch` and `holdfast history` do, and changes nothing.

`pulse.py` (pure) is what a page shows besides rates and lags, `feed.py` the thread that looks, `routes.py` what the gateway serves, `static/` the page.
"""
