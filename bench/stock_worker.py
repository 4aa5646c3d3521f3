"""A worker that runs the stock agent alone: `faust -A bench.stock_worker worker`."""

from __future__ import annotations

from streams.app import create_app
from streams.config import settings
from streams.stages.stock import STOCK

app = create_app(settings(), [STOCK])
