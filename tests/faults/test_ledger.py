"""The audit of the money finds what is wrong with it, and nothing where all is well."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.ledger import check

Entry = dict[str, Any]


def charge(order_id: int, amount: int = 30, result: str = "paid", attempt: int = 1) -> Entry:
    return {"key": f"{order_id}-{attempt}-0", "order_id": str(order_id), "amount": amount, "result": result, "charge": ""}


def refund(order_id: int, amount: int, sequence: int | str = 1, result: str = "refunded") -> Entry:
    return {"key": f"{order_id}-1-{sequence}", "order_id": str(order_id), "amount": amount, "result": result, "charge": f"{order_id}-1-0"}


def outcome(order_id: int, status: str, charged: int = 0, refunded: int = 0, version: int = 1) -> Entry:
    return {"order_id": order_id, "status": status, "version": version, "charged": charged, "refunded": refunded}


SOUND: dict[str, tuple[list[Entry], list[Entry]]] = {
    "nothing": ([], []),
    "confirmed and charged": ([charge(1)], [outcome(1, "CONFIRMED", 30)]),
    "confirmed for nothing": ([], [outcome(1, "CONFIRMED")]),
    "returned in part": ([charge(1), refund(1, 10)], [outcome(1, "SHIPPED", 30, 10)]),
    "declined": ([charge(1, result="declined")], [outcome(1, "PAYMENT_FAILED")]),
    "expired and paid late": ([charge(1), refund(1, 30)], [outcome(1, "EXPIRED"), outcome(1, "EXPIRED", 30, 30, 2)]),
    "declined though taken, and reversed": ([charge(1), refund(1, 30, "reversal")], [outcome(1, "PAYMENT_FAILED")]),
    "a refund the provider gave and denied": ([charge(1), refund(1, 30)], [outcome(1, "RETURNED", 30, 0)]),
    "a reversal of nothing": ([charge(1, result="declined"), refund(1, 30, "reversal", "rejected")], [outcome(1, "PAYMENT_FAILED")]),
    "never asked": ([], [outcome(1, "REJECTED")]),
    "a command was refused": ([], [outcome(1, "REJECTED"), {"order_id": 1, "kind": "SHIP", "refusal": "NOT_CONFIRMED"}]),
}


@pytest.mark.parametrize("case", SOUND)
def test_sound(case: str) -> None:
    assert check(*SOUND[case]) == []


WRONG: dict[str, tuple[list[Entry], list[Entry], str]] = {
    "two attempts paid": ([charge(1), charge(1, attempt=2)], [outcome(1, "CONFIRMED", 30)], "provider_charged_twice"),
    "two attempts paid and given back": ([charge(1), charge(1, attempt=2), refund(1, 60)], [outcome(1, "EXPIRED")], "provider_charged_twice"),
    "expired and kept": ([charge(1)], [outcome(1, "EXPIRED")], "provider_keeps_money"),
    "cancelled and kept in part": ([charge(1), refund(1, 29)], [outcome(1, "CANCELLED", 30, 30)], "provider_keeps_money"),
    "payment failed and kept": ([charge(1)], [outcome(1, "PAYMENT_FAILED")], "provider_keeps_money"),
    "charged for no order": ([charge(1)], [], "provider_keeps_money"),
    "confirmed and not charged": ([charge(1, result="declined")], [outcome(1, "CONFIRMED", 30)], "provider_never_charged"),
    "confirmed and charged less": ([charge(1, 20)], [outcome(1, "CONFIRMED", 30)], "provider_never_charged"),
    "a refund that never was": ([charge(1)], [outcome(1, "RETURNED", 30, 30)], "provider_keeps_more"),
    "more back than came": ([charge(1), refund(1, 31)], [outcome(1, "RETURNED", 30, 30)], "provider_refunded_too_much"),
    "the last version counts": (
        [charge(1)],
        [outcome(1, "SHIPPED", 30, 0, 2), outcome(1, "RETURNED", 30, 30, 3), outcome(1, "CONFIRMED", 30)],
        "provider_keeps_more",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong(case: str) -> None:
    ledger, outcomes, kind = WRONG[case]
    (found,) = check([*ledger, charge(2)], [*outcomes, outcome(2, "CONFIRMED", 30)])
    assert (found["promise"], found["kind"], found["ids"]) == ("I7", kind, {"order_id": "1"})
    assert found["detail"]
