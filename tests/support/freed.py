"""Whether an object goes when the last one who has it lets it go, without Python's collector."""

import gc
import weakref
from collections.abc import Callable


def is_freed_at_once(make: Callable[[], object]) -> bool:
    """Return whether what `make` returns is gone as soon as nobody has it: nothing in a cycle is."""
    made = make()
    left = weakref.ref(made)
    gc.disable()
    try:
        del made
        return left() is None
    finally:
        gc.enable()
