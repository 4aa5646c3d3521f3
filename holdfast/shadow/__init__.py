"""The log decided again beside what is live, by other rules or another version of the code (docs/replay.md).

`host`, `tape`, `world` and `topics` run in a process of their own, where `streams` and `schemas` may be another version's.
"""
