"""One module per family of commands; `holdfast/cli.py` lists them."""
