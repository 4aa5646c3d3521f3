"""The provider's ledger: each key once, nothing lost by a kill, no more given back than was taken."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.provider.ledger import Entry, Ledger, decided
from streams.payments.sandbox import DECLINED_TOKEN, Sandbox

CHARGE = Entry(key="7-1-0", kind="charge", order_id="7", attempt=1, amount=30, currency="GBP", result="rejected", at=1_000, token="tok", user="ann")
REFUND = Entry(key="7-1-1", kind="refund", order_id="7", attempt=1, amount=20, currency="GBP", result="rejected", at=2_000, charge="7-1-0")


def with_key(entry: Entry, key: str, **fields: Any) -> Entry:
    return msgspec.structs.replace(entry, key=key, **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "ledger.jsonl"


def do(ledger: Ledger, asked: Entry) -> str:
    done = decided(asked, ledger, Sandbox())
    ledger.add(done)
    return done.result


def test_charges_are_decided_as_the_sandbox_does(path: Path) -> None:
    with Ledger(path) as ledger:
        assert do(ledger, CHARGE) == "paid"
        assert do(ledger, with_key(CHARGE, "8-1-0", token=DECLINED_TOKEN)) == "declined"
        assert (ledger.left("7-1-0"), ledger.left("8-1-0"), ledger.left("nobody")) == (30, 0, 0)


def test_no_more_goes_back_than_is_left(path: Path) -> None:
    with Ledger(path) as ledger:
        assert do(ledger, REFUND) == "rejected"
        do(ledger, CHARGE)
        results = [do(ledger, with_key(REFUND, key)) for key in ("a", "b")]
        results += [do(ledger, with_key(REFUND, "c", amount=10)), do(ledger, with_key(REFUND, "d", amount=1))]
        assert results == ["refunded", "rejected", "refunded", "rejected"]
        assert ledger.left("7-1-0") == 0


def test_a_key_is_entered_once(path: Path) -> None:
    with Ledger(path) as ledger:
        do(ledger, CHARGE)
        with pytest.raises(AssertionError, match="7-1-0"):
            ledger.add(CHARGE)


def test_it_is_there_again_without_having_been_closed(path: Path) -> None:
    first = Ledger(path)
    do(first, CHARGE)
    do(first, REFUND)
    with Ledger(path) as again:
        assert list(again) == list(first)
        assert again.left("7-1-0") == 10
    first.close()


@pytest.mark.parametrize("torn", [b"{", b'{"key": "9-1-0", "kind": "cha', b"\xff"])
def test_half_a_line_at_the_end_was_told_to_nobody_and_goes(path: Path, torn: bytes) -> None:
    with Ledger(path) as ledger:
        do(ledger, CHARGE)
    with path.open("ab") as file:
        file.write(torn)
    with Ledger(path) as again:
        do(again, REFUND)
    assert [json.loads(line)["key"] for line in path.read_bytes().splitlines()] == ["7-1-0", "7-1-1"]


def test_a_first_line_that_is_torn_goes_too(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"key"')
    with Ledger(path) as ledger:
        do(ledger, CHARGE)
    with Ledger(path) as again:
        assert [entry.key for entry in again] == ["7-1-0"]


def test_synced_waits_for_all_that_was_entered(path: Path) -> None:
    async def enter() -> None:
        with Ledger(path) as ledger:
            await ledger.synced()
            for n in range(20):
                do(ledger, with_key(CHARGE, f"{n}-1-0"))
            await asyncio.gather(*(ledger.synced() for _ in range(20)))
            assert ledger._synced == ledger._written == 20

    asyncio.run(enter())


@pytest.mark.parametrize(("field_", "value"), [("amount", 31), ("currency", "EUR"), ("token", "other"), ("order_id", "8"), ("kind", "refund")])
def test_the_same_key_for_something_else_shows(field_: str, value: Any) -> None:
    assert CHARGE.asks_the_same(msgspec.structs.replace(CHARGE, at=9, result="paid", reason="x"))
    assert not CHARGE.asks_the_same(msgspec.structs.replace(CHARGE, **{field_: value}))
