"""A real worker, Faust and all. As a static member of its group it has its partitions back at once after a kill."""

from __future__ import annotations

import faust

from streams.app import app
from tests.faults.drill.order import Order


def run(_kind: str, _order: Order) -> None:
    """Work until killed."""
    app.conf.consumer_group_instance_id = "drill"
    faust.Worker(app, loglevel="warn").execute_from_commandline()
