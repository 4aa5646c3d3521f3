"""Sets the clock of every Python process that starts with this folder on its PYTHONPATH: HOLDFAST_TEST_CLOCK_OFF is by how many seconds."""

from __future__ import annotations

import os
import sys
import time

off = float(os.environ.get("HOLDFAST_TEST_CLOCK_OFF", "0"))
if off:
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + off
    time.time_ns = lambda: right_ns() + int(off * 1_000_000_000)
    print(f"this process's clock is {off:+.0f} s off", file=sys.stderr, flush=True)
