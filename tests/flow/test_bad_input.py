"""Bad input, records on the wrong partition and payment providers that refuse, through all three stages."""

import io
import json
from collections.abc import Sequence

import fastavro
import pytest

from schemas import codec, topics
from schemas.outcomes import PaymentKind, PaymentResult
from schemas.partitions import product_partition
from streams.domain.payment import Answer, Request
from streams.payments.sandbox import Sandbox
from tests.flow.shop import A, B, C
from tests.support.examples import plain
from tests.support.flow import Flow
from tests.support.stages import Item


def test_bad_input_ends_in_the_dead_letters_and_the_orders_around_it_are_unharmed(flow: Flow) -> None:
    good = flow.order(1, (A, 1), (B, 1))
    flow.garbage(topics.ORDERS, b"\xff garbage")
    flow.garbage(topics.ORDERS, None, 1)
    flow.garbage(topics.STOCK_COMMANDS, b"\0\0\0\x27\x0fbody", 2)
    flow.garbage(topics.ORDER_COMMANDS, codec.encode("OrderLine", good[0])[:-1])
    flow.garbage(topics.ORDER_COMMANDS, codec.encode("OrderLine", good[0]))
    faults: list[Item] = [{"quantity": 0}, {"quantity": -4}, {"line": 5}, {"currency": "ZZZ"}, {"user_id": ""}, {"product_id": "x" * 65}]
    for n, fault in enumerate(faults, 2):
        flow.send_line({**good[0], "order_id": n, "line_count": 1, **fault})
    flow.send_line({**good[0], "order_id": 0})
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert [flow.history(n) for n in range(2, 8)] == [["DECIDED REJECTED"]] * 6
    kinds = ["NOT_CONFLUENT", "NOT_CONFLUENT", "UNKNOWN_SCHEMA", "WRONG_RECORD", "UNDECODABLE"]
    lines = ["INVALID_QUANTITY", "INVALID_QUANTITY", "INVALID_LINE", "UNKNOWN_CURRENCY", "INVALID_USER", "INVALID_PRODUCT", "INVALID_ORDER_ID"]
    assert flow.dead() == sorted(kinds + lines)
    flow.assert_clean()


def test_numbers_that_fit_no_int_are_undecodable_to_all(flow: Flow) -> None:
    """Avro's int has 32 bits; a varint of more is read by some and refused by others, so it is refused here."""
    (line,) = flow.order(1, (A, 1))
    flow.garbage(topics.ORDERS, _with_wide_line_count({**line, "order_id": 2, "line_count": 2**40}), product_partition(A, flow.partitions))
    flow.settle()
    assert flow.dead() == ["UNDECODABLE"]
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert flow.history(2) == []
    flow.assert_clean()


def _with_wide_line_count(line: Item) -> bytes:
    wide = json.loads(json.dumps(plain(json.loads(codec.schema_text("OrderLine")))).replace('"int"', '"long"'))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(wide), line)
    return codec.encode("OrderLine", {**line, "line_count": 1})[: codec.HEADER_BYTES] + body.getvalue()


def test_a_huge_record_is_a_dead_letter_cut_to_size(flow: Flow) -> None:
    flow.garbage(topics.ORDERS, b"garbage" * 1_000_000)
    flow.order(1, (A, 1))
    flow.settle()
    (letter,) = flow.said(topics.DEAD_LETTERS, "DeadLetter")
    assert letter["value"] + (b"garbage" * 1_000_000)[len(letter["value"]) :] == b"garbage" * 1_000_000
    assert len(letter["value"]) < topics.DEAD_LETTERS.max_message_bytes - 100_000
    assert "7000000" in letter["detail"]
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    flow.assert_clean()


def test_one_bad_order_of_a_columnar_record_goes_alone(flow: Flow) -> None:
    lines = [*flow.order(1, (A, 1)), *flow.order(2, (A, 1)), *flow.order(3, (A, 1))]
    again = [{**line, "order_id": line["order_id"] + 10} for line in lines]
    again[1]["quantity"] = -1
    flow.send_lines(again, product_partition(A, flow.partitions))
    flow.settle()
    assert [flow.history(n) for n in (11, 12, 13)] == [["DECIDED CONFIRMED"], ["DECIDED REJECTED"], ["DECIDED CONFIRMED"]]
    assert flow.dead() == ["INVALID_QUANTITY"]
    flow.assert_clean()


@pytest.mark.parametrize("partition", range(3))
def test_records_on_the_wrong_partition_find_their_way(flow: Flow, partition: int) -> None:
    whole = flow.order(9, (A, 1), (B, 1), (C, 1))
    for line in whole:
        flow.send_line({**line, "order_id": 1, "line_count": 2} if line["product_id"] != C else line, partition)
    flow.stock("RESTOCK", "NEW", 4, partition=partition)
    flow.command("SHIP", 9, partition=partition)
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert flow.level("NEW") == (4, 0, 0)
    flow.assert_clean()


class KeepsRefunds(Sandbox):
    """A provider that gives nothing back."""

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        return [Answer(PaymentResult.DECLINED, "closed") if r.kind == PaymentKind.REFUND else Answer(PaymentResult.PAID) for r in requests]


def test_a_refund_that_is_declined_is_a_dead_letter_for_people() -> None:
    flow = Flow(provider=KeepsRefunds())
    flow.stock("RESTOCK", A, 5)
    flow.run()
    flow.order(1, (A, 2))
    flow.settle()
    for act in ("SHIP", "RETURN"):
        flow.command(act, 1)
        flow.settle()
    assert flow.dead() == ["REFUND_DECLINED"]
    assert flow.level(A) == (5, 0, 2)
    assert flow.outcomes(1)[-1]["refunded"] == 0
    flow.assert_clean()


def test_a_share_of_the_orders_is_declined_always_the_same() -> None:
    histories = []
    for seed in range(2):
        flow = Flow(seed, provider=Sandbox(0.5))
        flow.stock("RESTOCK", A, 100)
        flow.run()
        for order_id in range(1, 41):
            flow.order(order_id, (A, 1))
        flow.settle()
        flow.assert_clean()
        histories.append([flow.history(order_id) for order_id in range(1, 41)])
    assert histories[0] == histories[1]
    assert 10 < sum(history == ["DECIDED PAYMENT_FAILED"] for history in histories[0]) < 30
