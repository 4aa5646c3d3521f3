"""The plain way of an order: what nearly every record says, decided in C where there is a compiler, from wire bytes to wire bytes.

The plain path decides everything, and says what is right; the plain way takes of it what it can do to the same bytes (`_orders.pyx`,
`_payments.pyx`). A row that only it has touched is bytes among the cold ones of `Rows`.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any, Protocol

from schemas import compiled
from streams.runtime.records import Record, Write


class Way(Protocol):
    """Of one task, for one batch after the other."""

    def begin(self, batch: Any, now: int) -> None:
        """Begin a batch, decided at `now` (ms)."""

    def take(self, record: Record) -> bool:
        """Decide all that a record says; False, with nothing done, where that is left to the plain path. Single items may be given to it, too."""
        ...

    def leave(self, number: int) -> None:
        """Leave an order to the plain path: its row is to be found among the others from here on."""

    def amend(self, number: int) -> bool:
        """Say what has changed of an order since its decision; False for one that is the plain path's."""
        ...

    def changed(self, touched: Set[int]) -> list[Write]:
        """Return the writes of all rows that the batch changed, by order ID; `touched` are those that the plain path has changed."""
        ...


class PlainPathAlone:
    """Leaves every record to the plain path."""

    def __init__(self, _stage: Any) -> None:
        self._batch: Any = None

    def begin(self, batch: Any, now: int) -> None:  # noqa: ARG002 - nothing is decided here
        self._batch = batch

    def take(self, record: Record) -> bool:  # noqa: ARG002 - none is taken here
        return False

    def leave(self, number: int) -> None:
        """Every order is the plain path's."""

    def amend(self, number: int) -> bool:  # noqa: ARG002 - every order is the plain path's
        return False

    def changed(self, touched: Set[int]) -> list[Write]:
        batch, self._batch = self._batch, None
        return [*map(batch.changed, sorted(touched))]


def for_orders(stage: Any) -> Way:
    """Return the plain way of an orders stage: the compiled one where there is one."""
    return _way("streams.stages._orders", compiled.ORDERS_VERSION, stage)


def for_payments(stage: Any) -> Way:
    """Return the plain way of a payments stage: the compiled one where there is one."""
    return _way("streams.stages._payments", compiled.PAYMENTS_VERSION, stage)


def _way(module: str, version: int, stage: Any) -> Way:
    found = compiled.load(module, version)
    way: Way = PlainPathAlone(stage) if found is None else found.PlainWay(stage)
    return way
