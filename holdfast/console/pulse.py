"""What the console shows besides rates and lags: which products move most, and how long answers take. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from schemas.codec import Decoded

SHOWN_PRODUCTS: Final = 12
KEPT_PRODUCTS: Final = 10_000
"""Products that moved lately; beyond, the coldest are forgotten."""
COOLS: Final = 0.8
"""What is left of a product's heat from one look to the next."""
LONGEST_MS: Final = 3_600_000
"""An order that was placed longer ago than this came from a file, not from a customer: it says nothing of how long answers take."""
_LEVEL: Final = ("available", "reserved", "shipped", "version")


@dataclass
class _Warm:
    level: dict[str, int]
    heat: float = 0.0


class Latency(NamedTuple):
    """From placed to decided, of the orders decided since the last look, in ms; None where there were none."""

    orders: int
    p50_ms: int | None
    p99_ms: int | None


@dataclass
class Pulse:
    """Folds decoded records; `beat` says what there is to see and begins the next interval."""

    _products: dict[str, _Warm] = field(default_factory=dict)
    _taken_ms: list[int] = field(default_factory=list)

    def add(self, record: Decoded) -> None:
        """Take one record in; a kind that is of no interest here changes nothing."""
        if record.name == "StockLevel":
            self._level(record.value)
        elif record.name == "OrderOutcome" and record.value["change"] == "DECIDED":
            self._decided(record.value)

    def beat(self) -> dict[str, Any]:
        """Return {"hottest": [...], "latency": {...}} for the page."""
        hottest = sorted(self._products.items(), key=lambda item: -item[1].heat)
        shown = [{"product_id": name, **warm.level, "heat": round(warm.heat, 1)} for name, warm in hottest[:SHOWN_PRODUCTS]]
        latency = latency_of(self._taken_ms)
        self._taken_ms = []
        self._products = {name: _Warm(warm.level, warm.heat * COOLS) for name, warm in hottest[:KEPT_PRODUCTS]}
        return {"hottest": shown, "latency": latency._asdict()}

    def _level(self, level: Mapping[str, Any]) -> None:
        now = {name: level[name] for name in _LEVEL}
        warm = self._products.setdefault(level["product_id"], _Warm(now))
        warm.heat += max(1, now["version"] - warm.level["version"])
        warm.level = now

    def _decided(self, outcome: Mapping[str, Any]) -> None:
        took = outcome["decided_at"] - outcome["placed_at"]
        if 0 <= took <= LONGEST_MS:
            self._taken_ms.append(took)


def latency_of(taken_ms: Sequence[int]) -> Latency:
    """Return the median and the 99th percentile (nearest rank)."""
    ordered = sorted(taken_ms)
    return Latency(len(ordered), _rank(ordered, 50), _rank(ordered, 99))


def _rank(ordered: Sequence[int], percent: int) -> int | None:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None
