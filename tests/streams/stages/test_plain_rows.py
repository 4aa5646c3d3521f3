"""Rows of orders whatever is in them: the compiled plain way takes those that it wrote, and leaves every other to the plain path."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.outcomes import OrderStatus
from schemas.topics import ORDER_STATE
from streams.domain.order import Order, to_row
from streams.runtime.records import BrokenRowError, Record
from streams.stages.orders import OrdersStage
from tests.streams.stages.test_plain_way import ORDERS, both, lines_of, native, order_commands
from tests.support.stages import NOW, answers, changelog, record, results

pytestmark = pytest.mark.skipif(native is None, reason="no compiled parts here")
SHIP = record("OrderCommands", order_commands([{"order_id": ORDERS[1]}]))


def row_of(lines: int, of: int, then: str = "") -> bytes:
    """Return the row of an order of which so many lines are held; `then` "paid", or "refused": the last of them was refused."""
    heard = lines_of(ORDERS[1], of)[:lines]
    if then == "refused":
        heard[-1]["refusal"] = 21
    batch = [record("StockDecisions", answers(*heard)), record("PaymentResults", results({"order_id": ORDERS[1]}))]
    writes = both()[1].decide(batch[: 1 + (then == "paid")], NOW)
    return changelog(writes, ORDER_STATE)[b"%d" % ORDERS[1]]


@settings(max_examples=400)
@given(st.data(), st.sampled_from([(1, 3), (2, 3), (3, 3)]))
def test_a_row_of_any_bytes_is_read_alike(data: st.DataObject, held: tuple[int, int]) -> None:
    value = bytearray(row_of(*held, data.draw(st.sampled_from(["", "paid", "refused"]))))
    for _ in range(data.draw(st.integers(0, 3))):
        value[data.draw(st.integers(5, len(value) - 1))] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x80, 0xFF])))
    cut = data.draw(st.one_of(st.just(len(value)), st.just(len(value)), st.integers(5, len(value))))
    batch = [
        record("StockDecisions", answers({**lines_of(ORDERS[1], 3)[2], "refusal": data.draw(st.sampled_from([0, 0, 21]))})),
        record("PaymentResults", results({"order_id": ORDERS[1], "attempt": data.draw(st.sampled_from([1, 1, 2]))})),
        SHIP,
    ]
    batch = data.draw(st.sampled_from([batch, batch[1:], batch[2:]]))
    found = [_outcome(stage, bytes(value[:cut]), batch) for stage in both()]
    assert found[0] == found[1]


def _outcome(stage: OrdersStage, value: bytes, batch: list[Record]) -> Any:
    stage.rows.recover({b"%d" % ORDERS[1]: value})
    try:
        return stage.decide(batch, NOW)
    except (BrokenRowError, AssertionError, ValueError, KeyError, OverflowError) as error:
        return type(error)


def test_a_row_that_is_over_is_left_to_the_plain_path() -> None:
    for status in OrderStatus:
        stages = both()
        order = Order(ORDERS[1], status=status, line_count=2, user_id="ann", currency="GBP", payment_token="tok_ann", deadline=9)
        row = codec.encode("OrderRow", to_row(order))
        found = [_outcome(stage, row, [record("StockDecisions", answers(*lines_of(ORDERS[1], 2)))]) for stage in stages]
        assert found[0] == found[1]


unusual = [
    *({"version": 1}, {"refusal": 21}, {"decided_at": 5}, {"deadline": 0}, {"deadline": -5}, {"line_count": 1}, {"line_count": 1_001}, {"order_id": ORDERS[2]}),
    *({"attempt": 2}, {"attempt": -1}, {"charged": 5}, {"refund_asked": 5}, {"refunded": 5}, {"refund_sequence": 1}, {"open_refunds": [1]}),
    *({"recent_commands": ["a"]}, {"user_id": ""}, {"status": 1}, {"status": 10}, {"line": [1, 1]}, {"line": [1, 0]}, {"line": [2, 1_001]}),
    *({"quantity": [0, 1]}, {"quantity": [1, 2**63 - 1]}, {"unit_price": [-1, 1]}, {"unit_price": [1, 2**40]}),
    *({"line_status": b"\0\2"}, {"line_status": b"\1\1"}, {"line_status": b"\2\2"}, {"line_refusal": b"\0\x15"}, {"line_refusal": b"\0\2"}),
    *({"returned": [0, 1]}, {"refusal": 5}, {"refusal": 0}, {"refusal": 20}, {"status": 11}, {"status": 12}),
]


@pytest.mark.parametrize(("held", "then"), [(2, ""), (2, "refused"), (3, ""), (3, "paid"), (3, "refused")])
@pytest.mark.parametrize("fields", unusual, ids=str)
def test_a_row_with_something_unusual_in_it_is_decided_alike(fields: dict[str, Any], held: int, then: str) -> None:
    row = codec.decode(row_of(held, 3, then)).value
    odd = codec.encode("OrderRow", {**row, **(fields if held == 2 else _longer(fields))})
    for batch in (HEARD, HEARD[1:], HEARD[2:], HEARD[:1], REFUSED):
        found = [_outcome(stage, odd, batch) for stage in both()]
        assert found[0] == found[1]


def _longer(fields: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of two lines for three."""
    return {name: bytes((*value, 0)) if isinstance(value, bytes) else [*value, 3] if name in PER_LINE else value for name, value in fields.items()}


PER_LINE = ("line", "quantity", "unit_price", "returned")
REFUSED = [record("StockDecisions", answers({**lines_of(ORDERS[1], 3)[2], "refusal": 20}))]
HEARD = [record("StockDecisions", answers(lines_of(ORDERS[1], 3)[2])), record("PaymentResults", results({"order_id": ORDERS[1]}))]
