"""The audit of the money: what the payment provider did, held against how the orders ended. Pure, but for reading the ledger.

`holdfast audit` believes the results in the log; this does not. It knows what the provider knows, and nothing of Holdfast's rows.
"""

from __future__ import annotations

import json
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KEPT: Final = frozenset({"CONFIRMED", "SHIPPED", "RETURNED"})
Violation = dict[str, Any]


def read(url: str) -> list[dict[str, Any]]:
    """Return the entries of the provider behind a base URL, in the order in which money moved."""
    with urllib.request.urlopen(f"{url}/ledger", timeout=60) as response:
        return [json.loads(line) for line in response]


@dataclass
class Account:
    """One order's money at the provider, minor units. `charges`: key -> amount taken."""

    charges: dict[str, int] = field(default_factory=dict)
    refunded: int = 0

    @property
    def kept(self) -> int:
        return sum(self.charges.values()) - self.refunded


def check(ledger: Iterable[Mapping[str, Any]], outcomes: Iterable[Mapping[str, Any]]) -> list[Violation]:
    """Return what the provider's money and the orders' outcomes contradict each other in; call it when nothing is under way.

    `ledger`: entries of `GET /ledger`. `outcomes`: records of order.outcomes; of each order the one with the highest version counts,
    refused commands do not.
    """
    accounts, last = _accounts(ledger), dict[int, Mapping[str, Any]]()
    for outcome in (record for record in outcomes if "version" in record):
        if outcome["version"] >= last.get(outcome["order_id"], outcome)["version"]:
            last[outcome["order_id"]] = outcome
    found = ((order_id, _fault(accounts.get(order_id, Account()), last.get(order_id))) for order_id in sorted(accounts.keys() | last.keys()))
    return [{"promise": "I7", "kind": fault[0], "ids": {"order_id": str(order_id)}, "detail": fault[1]} for order_id, fault in found if fault]


def _accounts(ledger: Iterable[Mapping[str, Any]]) -> dict[int, Account]:
    accounts: defaultdict[int, Account] = defaultdict(Account)
    for entry in ledger:
        account = accounts[int(entry["order_id"])]
        if entry["result"] == "paid":
            account.charges[entry["key"]] = entry["amount"]
        elif entry["result"] == "refunded":
            account.refunded += entry["amount"]
    return accounts


def _fault(account: Account, outcome: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """Return (kind, detail) of the first thing that is wrong with one order's money."""
    status = outcome["status"] if outcome else "no outcome"
    charged, refunded = (outcome["charged"], outcome["refunded"]) if outcome else (0, 0)
    checks = (
        (len(account.charges) > 1, "provider_charged_twice", f"charged as {', '.join(account.charges)}"),
        (account.kept < 0, "provider_refunded_too_much", f"took {sum(account.charges.values())}, gave back {account.refunded}"),
        (status not in KEPT and account.kept > 0, "provider_keeps_money", f"{status}: the provider keeps {account.kept}"),
        (
            charged > 0 and charged not in account.charges.values(),
            "provider_never_charged",
            f"{status}: charged {charged}, the provider says {account.charges}",
        ),
        (account.kept > charged - refunded, "provider_keeps_more", f"{status}: charged {charged}, refunded {refunded}, the provider keeps {account.kept}"),
    )
    return next(((kind, detail) for is_wrong, kind, detail in checks if is_wrong), None)
