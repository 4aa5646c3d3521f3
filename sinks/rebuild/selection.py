"""Pure: what of the log is to be rebuilt, and which records say something of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS

EVERYTHING: Final = "everything"


@dataclass(frozen=True)
class Selection:
    """One product, one order, what changed from `since` to before `until` (ms since 1970 UTC), or, where none is given, everything."""

    product: str | None = None
    order: int | None = None
    since: int | None = None
    until: int | None = None

    @property
    def is_whole(self) -> bool:
        return self == Selection()

    def __str__(self) -> str:
        parts = [("product", self.product), ("order", self.order), ("from", self.since), ("to", self.until)]
        return " ".join(f"{name} {value}" for name, value in parts if value is not None) or EVERYTHING

    def reads(self, topic: str, partition: int, partitions: int) -> bool:
        """Say whether a partition (topic by its name without prefix) may hold anything of it."""
        if self.product is not None:
            return topic == STOCK_LEVELS.name and partition == product_partition(self.product, partitions)
        if self.order is not None:
            return topic == ORDER_OUTCOMES.name and partition == order_partition(self.order, partitions)
        return True


@dataclass
class Chosen:
    """The keys of a selection, as far as they are known: of a window, those of the records in it that have been read.

    Whatever comes later about one of them belongs to it as well, so that its row is the newest one.
    """

    selection: Selection
    products: set[str] = field(default_factory=set)
    orders: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.products |= {self.selection.product} if self.selection.product is not None else set()
        self.orders |= {self.selection.order} if self.selection.order is not None else set()

    def takes(self, topic: str, key: bytes | None, at: int) -> bool:
        """Say whether a record (its topic's name without prefix, when the brokers took it in ms) belongs to the selection, and remember its key."""
        if self.selection.is_whole:
            return True
        is_level = topic == STOCK_LEVELS.name
        name = _product(key) if is_level else _order(key)
        if name is None:
            return False
        known: set[str] | set[int] = self.products if is_level else self.orders
        if self._is_in_window(at):
            known.add(name)  # type: ignore[arg-type]
        return name in known

    def _is_in_window(self, at: int) -> bool:
        since, until = self.selection.since, self.selection.until
        return (since is not None or until is not None) and (since or 0) <= at and (until is None or at < until)


def _product(key: bytes | None) -> str | None:
    try:
        return key.decode() if key is not None else None
    except UnicodeDecodeError:
        return None


def _order(key: bytes | None) -> int | None:
    # Keys are what the orders agent wrote; anything else is a stray record, which no store takes.
    return int(key) if key is not None and key.isdigit() and len(key) < 20 else None


def in_chunks(names: Iterable[str] | Iterable[int], size: int) -> Iterable[list[str | int]]:
    """Cut names into lists of at most `size`, sorted."""
    ordered: list[str | int] = sorted(names)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
