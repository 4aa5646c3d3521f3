"""What the loader puts on which topic, and what it takes for done; the log itself is in tests/live/test_load.py."""

from collections.abc import Iterator, Mapping

import pytest

from ingest.backfill_plan import Chunk, PlannedDeadLetter, PlannedLine, PlannedReturn, PlannedStock
from ingest.errors import BrokerUnavailableError, PublishError
from ingest.log_writer import OnAck
from ingest.sender import MAX_RAW, RECORD_ITEMS, Sender
from schemas.codec import decode
from schemas.outcomes import StockCommandKind
from schemas.partitions import product_partition
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, ORDERS, STOCK_COMMANDS, Topic


class HeldBack:
    """A log that keeps its acknowledgements until the test gives them."""

    def __init__(self) -> None:
        self.sent: list[tuple[Topic, int, bytes]] = []
        self.acks: list[OnAck] = []

    def partitions(self, topic: Topic) -> int:
        return 4

    def send(self, topic: Topic, partition: int, key: bytes | None, value: bytes, on_ack: OnAck) -> None:
        assert len(value) < topic.max_message_bytes
        self.sent.append((topic, partition, value))
        self.acks.append(on_ack)

    def poll(self, timeout_s: float = 0.0) -> None: ...


@pytest.fixture
def log() -> HeldBack:
    return HeldBack()


@pytest.fixture
def sender(log: HeldBack) -> Iterator[Sender]:
    return Sender(log, lambda names: {name: 1_000 + i for i, name in enumerate(sorted(names))}, "f.csv", 0, lambda: 77)  # type: ignore[arg-type]


def line(n: int) -> PlannedLine:
    return PlannedLine("1", n, 1_000, "sku", 1, 100, "user", 5)


def test_rows_are_done_when_the_brokers_have_all_of_them(log: HeldBack, sender: Sender) -> None:
    sender.send_chunk(Chunk(3, [line(1), PlannedReturn("s:2:1", "C2", 0, 1), PlannedDeadLetter(3, "no", b"raw")]))
    sender.send_chunk(Chunk(4, [PlannedStock("s:4", StockCommandKind.FOUND, "sku", 1)]))
    done = []
    for ack in reversed(log.acks):
        done.append(sender.acknowledged.rows)
        ack(None, 9)
    assert done == [0, 0, 0, 0]
    assert sender.acknowledged.rows == 4
    assert [topic for topic, _, _ in log.sent] == [ORDERS, ORDER_COMMANDS, DEAD_LETTERS, STOCK_COMMANDS]


def test_a_record_given_up_stops_the_load_and_its_rows_are_not_done(log: HeldBack, sender: Sender) -> None:
    sender.send_chunk(Chunk(1, [line(1)]))
    log.acks[0](BrokerUnavailableError("gone"), -1)
    with pytest.raises(PublishError, match="gone"):
        sender.check()
    assert sender.acknowledged.rows == 0


def test_a_record_holds_so_many_lines_of_one_partition_in_order(log: HeldBack, sender: Sender) -> None:
    lines = 2 * RECORD_ITEMS + 50
    sender.send_chunk(Chunk(lines, [line(n) for n in range(1, lines + 1)]))
    records = [decode(value) for _, _, value in log.sent]
    assert [r.size for r in records] == [RECORD_ITEMS, RECORD_ITEMS, 50]
    assert [n for r in records for n in r.value["line"]] == list(range(1, lines + 1))


def test_positions_are_those_of_stock_commands_alone(log: HeldBack, sender: Sender) -> None:
    sender.send_chunk(Chunk(1, [line(1), PlannedStock("a", StockCommandKind.RESTOCK, "sku", 1)]))
    for ack in log.acks:
        ack(None, 41)
    ((partition, _),) = [(p, v) for t, p, v in log.sent if t is STOCK_COMMANDS]
    assert sender.positions == {partition: 42}


def test_a_dead_letter_says_where_the_row_is_and_keeps_what_a_record_can_hold(log: HeldBack, sender: Sender) -> None:
    sender.send_chunk(Chunk(2, [PlannedDeadLetter(1, "no row", b"raw"), PlannedDeadLetter(2, "long", b"x" * 10_000_000)]))
    small, big = (decode(value).value for _, _, value in log.sent)
    assert small == {
        **{"stage": "load", "topic": "file:f.csv", "partition": -1, "offset": 1, "index": -1, "reason": "INVALID_ROW"},
        **{"detail": "no row", "order_id": None, "key": None, "value": b"raw", "died_at": 77},
    }
    assert (big["value"], big["detail"]) == (b"x" * MAX_RAW, "long (the first 1,048,576 of 10,000,000 bytes are kept)")


def test_a_new_order_lies_where_its_first_product_does(log: HeldBack) -> None:
    heard: dict[str, int] = {}

    def bind(homes: Mapping[str, int]) -> dict[str, int]:
        heard.update(homes)
        return dict.fromkeys(homes, 1)

    lines = [PlannedLine(f"i{i}", n, 2, f"sku{i + n}", 1, 100, "user", 5) for i in range(6) for n in (1, 2)]
    Sender(log, bind, "f.csv", 0, lambda: 77).send_chunk(Chunk(7, [*lines, PlannedReturn("s:2:1", "C2", 0, 1)]))  # type: ignore[arg-type]
    assert heard == {**{f"i{i}": product_partition(f"sku{i + 1}", 4) for i in range(6)}, "C2": 0}
    assert len(set(heard.values())) > 1
