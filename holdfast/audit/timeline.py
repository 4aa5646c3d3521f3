"""Everything the log says of a product, in the order of the product's versions. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final

from holdfast.audit.log import Log
from holdfast.audit.table import Table
from schemas.outcomes import Refusal


class Said(IntEnum):
    """What an entry is; at one version the changes come first, then what was said of the state they made."""

    HOLD = 0
    MOVE = 1
    REFUSED_LINE = 2
    REFUSED_MOVE = 3
    LEVEL = 4
    STATE = 5


_BITS: Final = 3
_ITEM_BITS: Final = 40
_ITEM_MASK: Final = 2**_ITEM_BITS - 1

WITH_EFFECT: Final = frozenset({0, int(Refusal.COUNT_BELOW_RESERVED)})
"""Refusal codes of commands that make a version: a COUNT below what is reserved still writes off what is available."""


class Timelines:
    """product -> its entries as sortable numbers; `last[product]` is the highest version that anything settled speaks of."""

    def __init__(self, log: Log) -> None:
        self.entries: defaultdict[str, list[int]] = defaultdict(list)
        self.last: dict[str, int] = {}
        self._add(log.decisions, log.decisions["refusal"], (Said.HOLD, Said.REFUSED_LINE), frozenset({0}))
        self._add(log.movements, log.movements["refusal"], (Said.MOVE, Said.REFUSED_MOVE), WITH_EFFECT)
        self._add(log.levels, bytes(len(log.levels)), (Said.LEVEL, Said.LEVEL), frozenset({0}))

    def _add(self, table: Table, refusals: Sequence[int], kinds: tuple[Said, Said], with_effect: frozenset[int]) -> None:
        products, versions = table["product_id"], table["version"]
        done, refused = (int(kind) for kind in kinds)
        for item, refusal in enumerate(refusals):
            if Refusal.NONE < refusal <= Refusal.INVALID_TIME:
                continue  # an invalid line says nothing of a product
            kind = done if refusal in with_effect else refused
            self._put(products[item], versions[item], kind, item)
            if kind in _CLAIMS and table.settled(item):
                self._claim(products[item], versions[item])

    def _put(self, product: str, version: int, kind: int, item: int) -> None:
        self.entries[product].append(((version << _BITS) | kind) << _ITEM_BITS | item)

    def _claim(self, product: str, version: int) -> None:
        if version > self.last.get(product, 0):
            self.last[product] = version

    def add_state(self, product: str, version: int, item: int) -> None:
        """Enter a changelog row."""
        self._put(product, version, Said.STATE, item)

    def of(self, product: str) -> Iterator[tuple[int, int, int]]:
        """Yield (version, Said, item) in order."""
        for entry in sorted(self.entries[product]):
            head = entry >> _ITEM_BITS
            yield head >> _BITS, head & (2**_BITS - 1), entry & _ITEM_MASK


_CLAIMS: Final = frozenset({Said.HOLD, Said.MOVE, Said.LEVEL})
