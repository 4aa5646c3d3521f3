"""A real load of a file, in small chunks."""

from __future__ import annotations

import os
from pathlib import Path

from ingest.backfill import Wish, load
from ingest.config import IngestConfig
from tests.faults.drill.order import Order

FILE = "DRILL_LOAD_FILE"
"""The variable that names the file."""
ROWS_PER_SECOND = 1_500
QUIET_S = 0.01
"""Beside live traffic there is no rest to wait for."""


def run(_kind: str, order: Order) -> None:
    """Load the file, or what is left of it."""
    config = IngestConfig(os.environ["HOLDFAST_KAFKA"], os.environ["HOLDFAST_MYSQL"], os.environ["HOLDFAST_TOPIC_PREFIX"])
    load(lambda: config, Wish(Path(os.environ[FILE]), source=order.source, rate=ROWS_PER_SECOND, quiet_s=QUIET_S), lambda *_: None)
