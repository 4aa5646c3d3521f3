"""Which source runs: the compiled parts where a C compiler was there when Holdfast was installed, the pure source elsewhere.

Both give the same bytes for the same input; only the speed differs (docs/decisions/0013). HOLDFAST_PURE=1 leaves the compiled parts alone.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final

PURE: Final = os.environ.get("HOLDFAST_PURE", "") not in ("", "0")


AVRO_VERSION: Final = 1
ROWS_VERSION: Final = 2
STOCK_VERSION: Final = 2
ORDERS_VERSION: Final = 3
PAYMENTS_VERSION: Final = 1
MODULES: Final = {
    "schemas._avro": AVRO_VERSION,
    "sinks._rows": ROWS_VERSION,
    "streams.stages._stock": STOCK_VERSION,
    "streams.stages._orders": ORDERS_VERSION,
    "streams.stages._payments": PAYMENTS_VERSION,
}
"""Every compiled part and the version of its interface: raised on both sides when one changes, so that an old build is not taken."""


def load(name: str, version: int) -> ModuleType | None:
    """Return a compiled module; None where there is none, or one of another version of the source, or it is not wanted."""
    if PURE:
        return None
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    return module if version == module.VERSION else None


def describe() -> str:
    """Return `compiled` or `pure`, with what to do about the latter."""
    if PURE:
        return "pure (HOLDFAST_PURE is set)"
    if all(load(name, version) for name, version in MODULES.items()):
        return "compiled"
    return "pure, several times slower (no compiled parts of this version: install a C compiler and Python's headers, then again `pip install -e .`)"
