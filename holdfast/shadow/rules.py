"""Pure: by what rules a shadow decides, and which orders these are for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

ALL_OR_NOTHING: Final = "all-or-nothing"
DROP_LINES: Final = "drop-lines"
POLICIES: Final = (ALL_OR_NOTHING, DROP_LINES)
"""What a refused line does: ends its order, as live; or leaves the order, which goes on with the lines that are held (with none: it is rejected)."""
_LIVE: Final = frozenset({"order_timeout", "order_retention"})


@dataclass(frozen=True)
class Rules:
    """`opening_stock`: a product's stock before its first order, as a share of what the log's orders ask of it, as a decimal text; None: as it was.

    `decline_rate`: the sandbox's; None: each payment is answered as it was, and the sandbox answers what was never asked. `since` and
    `until` (ms since 1970 UTC): the other rules are for orders whose first line was decided in between, and those are compared.
    `order_timeout` and `order_retention` (0: rows are kept for ever) in ms, as the live workers have them.
    """

    opening_stock: str | None = None
    refusal_policy: str = ALL_OR_NOTHING
    decline_rate: float | None = None
    since: int | None = None
    until: int | None = None
    order_timeout: int = 900_000
    order_retention: int = 0

    def counts(self, first_at: int) -> bool:
        """Say whether an order whose first line was decided at that time (ms) is one of those compared."""
        return (self.since is None or first_at >= self.since) and (self.until is None or first_at < self.until)

    def opening_units(self, demand: int) -> int:
        """Return the units of a product of which the orders ask so many."""
        assert self.opening_stock is not None
        share = Fraction(self.opening_stock)
        return -(-demand * share.numerator // share.denominator)

    def text(self) -> str:
        """Return them as JSON; `Rules(**json.loads(...))` makes them again."""
        return json.dumps(asdict(self), sort_keys=True)

    def document(self) -> dict[str, Any]:
        """Return what differs from live, for programs and people."""
        return {name: value for name, value in asdict(self).items() if value is not None and name not in _LIVE}
