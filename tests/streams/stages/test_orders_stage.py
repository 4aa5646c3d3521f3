"""The orders stage as a pure object: answers, commands, results and deadlines in; the saga's steps and outcomes out."""

import json

import pytest

from schemas import codec
from schemas.outcomes import MAX_ITEMS, OrderStatus, PaymentKind, PaymentResult, Refusal
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, ORDER_STATE, STOCK_COMMANDS
from streams.runtime.records import Place, Record, Write
from streams.stages.orders import OrdersStage, second_field
from tests.streams.stages.saga import HERE, ID, KIND, TIMEOUT, confirmed, moves, new_stage, paying, statuses, two_lines
from tests.support.stages import NOW, PARTITIONS, answers, line, order_at, order_command, product_at, record, restored, results, rows_of, said

REFUSED = int(Refusal.INSUFFICIENT_STOCK)


# -- the way of an order -----------------------------------------------------------------------------------------------------


def test_all_lines_held_asks_for_the_money_on_the_order_s_partition() -> None:
    writes = paying(new_stage())
    (asked,) = said(writes, "PaymentRequests")
    assert asked == {
        **{"kind": PaymentKind.CHARGE, "order_id": ID, "attempt": 1, "sequence": 0, "amount": 500, "currency": "GBP"},
        **{"payment_token": "tok_ann", "user_id": "ann", "requested_at": NOW, "to": 0},
    }
    assert [row["status"] for row in said(writes, "OrderRow")] == [OrderStatus.PAYING]
    assert said(writes, "OrderOutcome") == []


def test_some_lines_held_waits() -> None:
    writes = new_stage().decide([record("StockDecisions", answers(two_lines()[0]))], NOW)
    assert {codec.record_name(w.value) for w in writes} == {"OrderRow"}


def test_paid_is_confirmed() -> None:
    _, writes = confirmed()
    (outcome,) = said(writes, "OrderOutcome")
    assert (outcome["status"], outcome["amount"], outcome["charged"], outcome["attempt"], outcome["decided_at"]) == ("CONFIRMED", 500, 500, 1, NOW + 1)
    assert [(one["line"], one["status"]) for one in outcome["lines"]] == [(1, "HELD"), (2, "HELD")]
    assert {(w.partition, w.key) for w in writes if w.topic is ORDER_OUTCOMES} == {(0, b"%d" % ID)}


def test_a_free_order_is_confirmed_at_once() -> None:
    writes = new_stage().decide([record("StockDecisions", answers(*two_lines(unit_price=0)))], NOW)
    assert statuses(writes) == [(1, "DECIDED", "CONFIRMED")]
    assert said(writes, "PaymentRequests") == []


def test_a_refused_line_releases_the_held_ones_on_their_products_partitions() -> None:
    held, other = two_lines()
    writes = new_stage().decide([record("StockDecisions", answers(held, {**other, "refusal": REFUSED}))], NOW)
    assert statuses(writes) == [(1, "DECIDED", "REJECTED")]
    assert moves(writes) == [("RELEASE", ID, 1, product_at(1), 2, 1)]
    (release,) = said(writes, "StockCommands")
    assert (release["command_id"], release["actor"], release["issued_at"]) == ("", "orders", NOW)


def test_a_late_held_line_of_a_rejected_order_goes_back_too() -> None:
    stage = new_stage()
    first, late = two_lines()
    stage.decide([record("StockDecisions", answers({**first, "refusal": REFUSED}))], NOW)
    writes = stage.decide([record("StockDecisions", answers(late))], NOW)
    assert moves(writes) == [("RELEASE", ID, 2, product_at(2), 3, 2)]
    assert statuses(writes) == [(2, "AMENDED", "REJECTED")]


def test_declined_releases_everything() -> None:
    stage = new_stage()
    paying(stage)
    declined = results({"order_id": ID, "amount": 500, "result": PaymentResult.DECLINED, "reason": "no funds"})
    writes = stage.decide([record("PaymentResults", declined)], NOW)
    assert statuses(writes) == [(1, "DECIDED", "PAYMENT_FAILED")]
    assert {move[2] for move in moves(writes)} == {1, 2}
    assert [o["refusal"] for o in said(writes, "OrderOutcome")] == ["PAYMENT_DECLINED"]


def test_several_amendments_of_a_batch_are_said_once() -> None:
    stage = new_stage()
    three = [line(order_id=ID, line=n, line_count=3) for n in (1, 2, 3)]
    stage.decide([record("StockDecisions", answers({**three[0], "refusal": REFUSED}))], NOW)
    writes = stage.decide([record("StockDecisions", answers(three[1]), 1), record("StockDecisions", answers(three[2]), 2)], NOW)
    (outcome,) = said(writes, "OrderOutcome")
    assert (outcome["version"], outcome["change"], [one["status"] for one in outcome["lines"]]) == (2, "AMENDED", ["REFUSED", "RELEASED", "RELEASED"])


def test_movements_are_not_for_this_stage() -> None:
    movement = {name: b"" if name in ("kind", "refusal") else [] for name in _columns_of("StockMovements")}
    assert new_stage().decide([record("StockMovements", {**movement, "partition": 0, "decided_at": NOW})], NOW) == []


def _columns_of(name: str) -> list[str]:
    return [f["name"] for f in json.loads(codec.schema_text(name))["fields"] if f["name"] not in ("partition", "decided_at")]


# -- commands ----------------------------------------------------------------------------------------------------------------


def test_ship_and_return_move_stock_and_money() -> None:
    stage, _ = confirmed()
    shipped = stage.decide([record("OrderCommand", order_command("SHIP", ID))], NOW)
    assert statuses(shipped) == [(2, "SHIPPED", "SHIPPED")]
    assert sorted(m[0] for m in moves(shipped)) == ["SHIP", "SHIP"]
    back = stage.decide([record("OrderCommand", order_command("RETURN", ID, line=2, quantity=1))], NOW)
    assert moves(back) == [("RETURN", ID, 2, product_at(2), 1, 2)]
    assert [(r["kind"], r["attempt"], r["sequence"], r["amount"]) for r in said(back, "PaymentRequests")] == [(PaymentKind.REFUND, 1, 1, 100)]
    assert statuses(back) == [(3, "RETURNED", "SHIPPED")]


def test_a_repeated_command_says_nothing() -> None:
    stage, _ = confirmed()
    command = record("OrderCommand", order_command("SHIP", ID))
    assert stage.decide([command], NOW)
    assert not [w for w in stage.decide([command], NOW) if w.topic is not ORDER_STATE]


def test_a_refused_command_is_answered_beside_the_outcomes() -> None:
    writes = new_stage().decide([record("OrderCommand", order_command("SHIP", ID, command_id="parcel-1"))], NOW)
    assert said(writes, "OrderCommandRefused") == [
        {
            "command_id": "parcel-1",
            "kind": "SHIP",
            "order_id": ID,
            "line": 0,
            "quantity": 0,
            "refusal": "UNKNOWN_ORDER",
            "refused_at": NOW,
            "actor": "test",
            "to": 0,
        }
    ]
    assert {w.topic.name for w in writes} == {"order.outcomes"}


def test_columnar_commands_are_carried_out_item_by_item() -> None:
    stage, _ = confirmed()
    items = {"kind": bytes((1, 1, 2)), "command_id": ["a", "b", "c"], "order_id": [ID] * 3, "line": [1, 2, 1], "quantity": [0, 0, 1]}
    writes = stage.decide([record("OrderCommands", {**items, "issued_at": NOW, "actor": "load"})], NOW)
    assert statuses(writes) == [(2, "SHIPPED", "CONFIRMED"), (3, "SHIPPED", "SHIPPED"), (4, "RETURNED", "SHIPPED")]


@pytest.mark.parametrize("kind", ["CANCEL", "SHIP", "RETURN"])
def test_a_command_about_another_partition_s_order_is_forwarded(kind: str) -> None:
    order_id = order_at(2)
    fields = {"line": 2, "quantity": 3} if kind == "RETURN" else {}
    writes = new_stage().decide([record("OrderCommand", order_command(kind, order_id, **fields))], NOW)
    (forwarded,) = writes
    assert (forwarded.topic, forwarded.partition, forwarded.key) == (ORDER_COMMANDS, 2, b"%d" % order_id)
    assert codec.decode(forwarded.value).value == order_command(kind, order_id, **fields)
    home = OrdersStage(Place(2, PARTITIONS), TIMEOUT)
    arrived = home.decide([Record(ORDER_COMMANDS.name, 2, 0, forwarded.key, forwarded.value)], NOW)
    assert [w for w in arrived if w.topic is ORDER_COMMANDS] == []


# -- deadlines ---------------------------------------------------------------------------------------------------------------


def test_an_order_expires_when_its_time_is_up_and_not_before() -> None:
    stage = new_stage()
    stage.decide([record("StockDecisions", answers(two_lines()[0]))], NOW)
    assert not stage.is_due(NOW + TIMEOUT - 1)
    assert stage.expire(NOW + TIMEOUT - 1) == []
    assert stage.is_due(NOW + TIMEOUT)
    writes = stage.expire(NOW + TIMEOUT)
    assert statuses(writes) == [(1, "DECIDED", "EXPIRED")]
    assert moves(writes) == [("RELEASE", ID, 1, product_at(1), 2, 1)]
    assert not stage.is_due(NOW + 10 * TIMEOUT)


def test_a_decided_order_s_deadline_is_forgotten() -> None:
    stage, _ = confirmed()
    assert not stage.is_due(NOW + 2 * TIMEOUT)
    assert stage.deadlines == []


def test_deadlines_are_those_of_the_first_event_and_survive_a_restart() -> None:
    stage = new_stage()
    first, second = two_lines()
    writes = stage.decide([record("StockDecisions", answers(first))], NOW)
    writes += stage.decide([record("StockDecisions", answers(second))], NOW + 1_000)
    again = restored(KIND, HERE, writes)
    for one in (stage, again):
        assert not one.is_due(NOW + TIMEOUT - 1)
        assert one.is_due(NOW + TIMEOUT)
    assert again.expire(NOW + TIMEOUT) == stage.expire(NOW + TIMEOUT)


def test_many_deadlines_ring_in_their_order() -> None:
    stage = new_stage()
    ids = [order_at(0, n) for n in range(5)]
    for n, order_id in enumerate(ids):
        stage.decide([record("StockDecisions", answers(line(order_id=order_id, line_count=2)))], NOW - n)
    assert [o["order_id"] for o in said(stage.expire(NOW + TIMEOUT - 2), "OrderOutcome")] == list(reversed(ids[2:]))
    assert [o["order_id"] for o in said(stage.expire(NOW + TIMEOUT), "OrderOutcome")] == [ids[1], ids[0]]


def test_an_early_cancel_is_forgotten_at_the_deadline_with_a_tombstone() -> None:
    stage = new_stage()
    writes = stage.decide([record("OrderCommand", order_command("CANCEL", ID))], NOW)
    assert [row["status"] for row in said(writes, "OrderRow")] == [OrderStatus.CANCEL_PENDING]
    rung = stage.expire(NOW + TIMEOUT)
    assert [refused["refusal"] for refused in said(rung, "OrderCommandRefused")] == ["UNKNOWN_ORDER"]
    assert [w for w in rung if w.topic is ORDER_STATE] == [Write(ORDER_STATE, 0, b"%d" % ID, None)]
    assert rows_of(stage) == rows_of(restored(KIND, HERE, [*writes, *rung])) == {}


@pytest.mark.parametrize("status", OrderStatus)
@pytest.mark.parametrize("order_id", [1, 63, 64, 2**13, 2**41 + 5, 2**63 - 1])
def test_the_status_is_read_from_a_row_without_decoding_it(status: OrderStatus, order_id: int) -> None:
    (row,) = said([w for w in confirmed()[1] if w.topic is ORDER_STATE][-1:], "OrderRow")
    value = codec.encode("OrderRow", {**{k: v for k, v in row.items() if k != "to"}, "order_id": order_id, "status": int(status)})
    assert second_field(value) == status


# -- sizes -------------------------------------------------------------------------------------------------------------------


def test_very_many_releases_are_several_records() -> None:
    stage = new_stage()
    items = [line(order_id=order_at(0), line=1, line_count=2, quantity=1) for _ in range(MAX_ITEMS)]
    batch = [record("StockDecisions", answers(*some), n) for n, some in enumerate((items, items[:11]))]
    writes = [w for w in stage.decide(batch, NOW) if w.topic is STOCK_COMMANDS]
    assert [codec.decode(w.value).size for w in writes] == [MAX_ITEMS, 10]


def test_an_order_of_a_thousand_lines_fits_its_topics() -> None:
    stage = new_stage()
    items = [line(order_id=ID, line=n, line_count=1_000, product_id="\N{PARTY POPPER}" * 64, quantity=1) for n in range(1, 1_001)]
    writes = stage.decide([record("StockDecisions", answers(*items))], NOW)
    writes += stage.decide([record("PaymentResults", results({"order_id": ID, "amount": 100_000}))], NOW)
    assert statuses(writes) == [(1, "DECIDED", "CONFIRMED")]
    assert all(len(w.value or b"") < w.topic.max_message_bytes for w in writes)


def test_memory_of_deadlines_and_rows_is_bounded_and_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.stages.orders.SPARE_DEADLINES", 4)
    monkeypatch.setattr("streams.stages.orders.HOT_ROWS", 3)
    stage, ids = new_stage(), [order_at(0, n) for n in range(20)]
    for order_id in ids:
        paying(stage, order_id)
        stage.committed()
    assert (len(stage.deadlines), stage.rows.count_all()) == (20, 20)
    assert len(stage.rows) <= 6
    for order_id in ids[:-2]:
        stage.decide([record("PaymentResults", results({"order_id": order_id, "amount": 500}))], NOW + 1)
        stage.committed()
    assert len(stage.deadlines) <= 2 * 2 + 4
    assert len(stage.rows) <= 6
    assert stage.rows.count_all() == 20
    assert {o["order_id"] for o in said(stage.expire(NOW + TIMEOUT), "OrderOutcome")} == set(ids[-2:])
    assert paying(stage, ids[0]) != []  # known still: its lines come a second time and go back
    assert statuses(paying(stage, ids[0])) == []
