"""Every kind of fault there is, collected from tests/faults/kinds."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable

from tests.faults import kinds
from tests.faults.fault import Fault


def catalogue() -> dict[str, Fault]:
    """Return every fault by its name, in the order of the files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(kinds.__path__))
    found = [fault for name in names for fault in getattr(importlib.import_module(f"{kinds.__name__}.{name}"), "FAULTS", ())]
    by_name = {fault.name: fault for fault in found}
    assert len(by_name) == len(found), f"two faults share a name: {sorted(f.name for f in found)}"
    return by_name


def chosen(faults: dict[str, Fault], wanted: Iterable[str]) -> dict[str, Fault]:
    """Return the faults whose names contain one of the words, all without any; raises ValueError where a word names none."""
    words = list(wanted)
    for word in words:
        if not any(word in name for name in faults):
            raise ValueError(f"no kind of fault has {word!r} in its name. There are: {', '.join(faults)}")
    return {name: fault for name, fault in faults.items() if not words or any(word in name for word in words)}
