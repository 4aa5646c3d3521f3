"""From what the audit finds to what would mend it. The audit's own folds say how things should be (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple

from holdfast.audit.check import check
from holdfast.audit.holds import Holds
from holdfast.audit.kinds import MEANINGS
from holdfast.audit.log import Log
from holdfast.audit.outcomes import KEPT, Outcomes
from holdfast.audit.report import Report, Violation
from holdfast.audit.stores import Stores
from holdfast.audit.table import MISSING
from holdfast.audit.wire import UndecodableError
from holdfast.reconcile.mends import Mend, rehold, release, restate_order, restate_product
from schemas import topics, views

BY_HAND: Final = "no command mends this: look at `holdfast history`, and docs/runbook.md"
AHEAD: Final = "the store has what the log never said, or a later version of it; rebuild it:"
_STORES: Final = frozenset(
    {
        "store_row_missing",
        "store_row_extra",
        "store_row_differs",
        "cache_missing",
        "cache_extra",
        "cache_differs",
        "store_position_behind",
        "store_position_ahead",
    }
)
_COVERED: Final = frozenset({"reserved_differs", "confirmed_without_hold", "line_differs"})
"""Where a line of the same product or order has its own mend, these are its consequences."""


_AWAITED: Final = {
    **dict.fromkeys(("undecided", "order_command_unanswered"), topics.ORDER_STATE.name),
    "payment_unanswered": topics.PAYMENT_STATE.name,
}
"""Kind -> the changelog whose row says whether it may still come."""


class Drift(NamedTuple):
    """One thing that does not agree. `mends`: the commands that mend it; none: `advice` says what to do."""

    kind: str
    where: str
    ids: Mapping[str, int | str]
    detail: str
    mends: tuple[Mend, ...] = ()
    advice: str = ""

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same drift when it is seen again: what was found, and what would mend it."""
        return self.kind, tuple(self.ids.items()), self.detail, self.mends

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        ids = {name: str(value) if name == "order_id" else value for name, value in self.ids.items()}
        said = {"kind": self.kind, "means": MEANINGS.get(self.kind, "a line holds units that its product does not count"), "where": self.where, "ids": ids}
        return {**said, "detail": self.detail, "commands": [mend.document() for mend in self.mends], "advice": self.advice}


def drifts(log: Log, stores: Stores | None, now: int) -> list[Drift]:
    """Return everything that does not agree at `now` (ms), as if nothing were under way but what has a deadline or is asked again."""
    report = check(log, stores)
    finder = _Finder(log, stores)
    lines = list(finder.unheld())
    mended = {(mend.product_id, mend.order_id) for drift in lines for mend in drift.mends}
    found = [finder.drift(violation) for violation in report.violations if not finder.is_awaited(violation, now)]
    mended |= {(mend.product_id, mend.order_id) for drift in found for mend in drift.mends if mend.kind in {"RELEASE", "REHOLD"}}
    return [*lines, *(drift for drift in found if not _is_covered(drift, mended))]


def _is_covered(drift: Drift, mended: set[tuple[str, int]]) -> bool:
    if drift.kind not in _COVERED or drift.mends:
        return False
    return any(drift.ids.get("product_id") == product or drift.ids.get("order_id") == order for product, order in mended)


class _Finder:
    """The audit's folds, and for each kind of violation what mends it."""

    def __init__(self, log: Log, stores: Stores | None) -> None:
        self.log = log
        self.stores = stores
        unheard = Report()
        self.outcomes = Outcomes(log, unheard, live=False)
        self.outcomes.check()
        self.holds = Holds(log, unheard, self.outcomes, live=False)
        self.holds.check({})
        levels = log.levels
        self.levels = {product: item for item, product in enumerate(levels["product_id"])}

    def is_awaited(self, violation: Violation, now: int) -> bool:
        """Say whether an order may still have its answer by its deadline, or a payment when the provider says so."""
        topic, key = _AWAITED.get(violation.kind), b"%d" % int(violation.ids.get("order_id", 0))
        row = self.log.rows[topic].get(key) if topic else None
        try:
            fields = row.fields() if row else {}
        except UndecodableError:
            return False
        return bool(fields.get("deadline", 0) > now or fields.get("pending"))

    def drift(self, violation: Violation) -> Drift:
        """Return a violation with what mends it."""
        ids, where = violation.ids, violation.place.topic
        mends, advice = self._mends(violation.kind, ids, where)
        return Drift(violation.kind, where, ids, violation.detail, mends, "" if mends else advice or BY_HAND)

    def _mends(self, kind: str, ids: Mapping[str, Any], where: str) -> tuple[tuple[Mend, ...], str]:
        if kind == "hold_not_released":
            return tuple(self._releases(ids["order_id"], ids["line"])), ""
        if kind in _STORES:
            return self._of_store(kind, ids, where)
        return (), ""

    # -- holds ---------------------------------------------------------------------------------------------------------

    def _releases(self, order_id: int, line: int) -> Iterator[Mend]:
        """Release every hold of a line that its order is not entitled to."""
        number = self.holds.number(order_id, line)
        entitled = (self.outcomes.status(order_id) in KEPT or not self.outcomes.status(order_id)) and not self.outcomes.is_imported(order_id)
        for at, (product, units) in enumerate(self.holds.unreleased(number)[int(entitled) :], self.holds.released[number]):
            yield release(order_id, line, product, units, at)

    def unheld(self) -> Iterator[Drift]:
        """Yield each line that its order calls held, and whose units were released all the same."""
        lines, topic = self.log.outcome_lines, self.log.outcomes.topic
        for order_id, versions in self.outcomes.versions.items():
            if not versions or self.outcomes.status(order_id) not in KEPT or self.outcomes.is_imported(order_id):
                continue
            for i in self.outcomes.lines(versions[-1]):
                number = self.holds.number(order_id, lines["line"][i])
                if lines["status"][i] == "HELD" and number != MISSING and not self.holds.unreleased(number):
                    ids = {"order_id": order_id, "line": lines["line"][i], "product_id": lines["product_id"][i]}
                    mend = rehold(order_id, ids["line"], ids["product_id"], lines["quantity"][i], self.holds.released[number])
                    yield Drift("line_not_held", topic, ids, f"{lines['quantity'][i]} units were released, the order holds them", (mend,))

    # -- stores --------------------------------------------------------------------------------------------------------

    def _of_store(self, kind: str, ids: Mapping[str, Any], where: str) -> tuple[tuple[Mend, ...], str]:
        advice = f"{AHEAD} {_rebuild(ids)}"
        if kind.endswith("extra") or kind.startswith("store_position"):
            return (), advice if kind.endswith(("extra", "ahead")) else "the sink is behind, or not at work: `holdfast status`, `holdfast watch`"
        if "user_id" in ids:
            return self._of_user(str(ids["user_id"])), advice
        if "product_id" in ids:
            return self._of_product(str(ids["product_id"]), where), advice
        return self._of_order(int(ids["order_id"]), where) if "order_id" in ids else (), advice

    def _of_product(self, product_id: str, where: str) -> tuple[Mend, ...]:
        item = self.levels.get(product_id)
        if item is None:
            return ()
        levels = self.log.levels
        if self._held_version(where, product_id) > levels["version"][item]:
            return ()
        return (restate_product(product_id, levels["version"][item], frozen=bool(levels["frozen"][item])),)

    def _of_order(self, order_id: int, where: str) -> tuple[Mend, ...]:
        versions = self.outcomes.versions.get(order_id)
        if not versions or self.outcomes.is_imported(order_id) or self._held_version(where, order_id) > len(versions):
            return ()
        return (restate_order(order_id, len(versions)),)

    def _of_user(self, user_id: str) -> tuple[Mend, ...]:
        """The first and the last of a user's orders say when they were placed; of a range that is too wide nothing takes away."""
        t = self.log.outcomes
        mine = [(t["placed_at"][v[-1]], order_id) for order_id, v in self.outcomes.versions.items() if v and t["user_id"][v[-1]] == user_id]
        if not mine or self._is_too_wide(user_id, min(mine)[0], max(mine)[0]):
            return ()
        return tuple(mend for order_id in dict.fromkeys((min(mine)[1], max(mine)[1])) for mend in self._of_order(order_id, ""))

    def _is_too_wide(self, user_id: str, first: int, last: int) -> bool:
        assert self.stores is not None
        rows = self.stores.mysql[views.USERS]
        found = [(a, b) for name, a, b in zip(*(rows[c] for c in views.USER_COLUMNS), strict=True) if name == user_id]
        return any(a < first or b > last for a, b in found)

    def _held_version(self, where: str, name: str | int) -> int:
        """Return the version that a store claims to have of a product or order; 0 where it has none."""
        return self._versions.get(where, {}).get(name, 0)

    @cached_property
    def _versions(self) -> dict[str, dict[str | int, int]]:
        assert self.stores is not None
        found: dict[str, dict[str | int, int]] = {}
        for table in (*self.stores.mysql.values(), *self.stores.cache.values()):
            if not table.topic.endswith(views.USERS):
                key = "product_id" if table.topic.endswith((views.PRODUCTS, "stock")) else "order_id"
                held = found.setdefault(table.topic, {})
                for name, version in zip(table[key], table["version"], strict=True):
                    held[name] = max(version, held.get(name, 0))
        return found


def _rebuild(ids: Mapping[str, Any]) -> str:
    """Return the command that makes a store's rows anew from the log: one product's, one order's, or all."""
    named = next((f" --{name} {ids[f'{name}_id']}" for name in ("product", "order") if f"{name}_id" in ids), "")
    return f"holdfast replay stores{named} --swap"
