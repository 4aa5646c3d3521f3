"""What a fault is to the suite: a name, a strike, and a healing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.site import Site

Heal = Callable[[], None]


@dataclass(frozen=True)
class Fault:
    """One kind of harm. `strike` does it and returns what mends it, or None where nothing but Holdfast itself has to.

    `lasts_s`: seconds from the strike to the healing. `alone`: nothing else may be under way (it would hide what this one shows).
    `withholds`: while it lasts nobody can answer (the log or the payment provider is away, a hand keeps the workers down), so the wait for an
    answer counts from its end. Of all others it counts from the strike: Holdfast is to get over them while they last.
    Both functions draw chance from the Random they get, and from nowhere else: a seed repeats a run.
    """

    name: str
    """The row of the table, such as `worker killed`."""
    what: str
    """What is done, in one line."""
    strike: Callable[[Site, Random], Heal | None]
    lasts_s: float = 0.0
    alone: bool = False
    withholds: bool = False


class CannotStrikeError(Exception):
    """The fault cannot be done here, or not now; the text says why. Nothing was harmed."""
