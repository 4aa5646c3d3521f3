"""The parts of the Kafka clients that work without a broker, over the client's own messages and errors."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import ORDERS, STOCK_STATE
from streams.config import StreamSettings
from streams.runtime import brokers as brokers_module
from streams.runtime.brokers import Brokers
from streams.runtime.clients import ROOM_FILES, Reader, check_room, produce_all, read_ahead
from streams.runtime.records import Place, Record, Write
from streams.runtime.task import Task
from streams.runtime.tasks import Tasks
from streams.runtime.transactions import is_passing
from streams.stages.stock import STOCK

# -- the reader ------------------------------------------------------------------------------------------------------------


def _reader(prefix: str = "") -> Reader:
    """A reader of a broker that is not there: it only takes messages it is given."""
    return Reader(StreamSettings(kafka="127.0.0.1:1", topic_prefix=prefix), [ORDERS], 2, {"orders": 10})


def test_a_message_becomes_a_record_under_the_topic_s_own_name_and_moves_the_cursor() -> None:
    reader = _reader("eu.")
    found = reader._step(Message(topic="eu.orders", partition=2, offset=10, key=b"k", value=b"v"))
    assert found == Record("orders", 2, 10, b"k", b"v")
    assert reader.cursor == reader.reached == {"orders": 11}
    reader.close()


@pytest.mark.parametrize(("inputs", "less"), [(1, False), (2, False), (3, True)])
def test_a_stage_that_asks_reads_less_ahead_than_the_others(inputs: int, less: bool) -> None:
    ahead, others = read_ahead(inputs), read_ahead(1)
    assert {name for name, kept in ahead.items() if kept < others[name]} == ({"fetch.message.max.bytes", "queued.max.messages.kbytes"} if less else set())


def test_the_end_of_an_input_moves_what_is_reached_and_not_the_cursor() -> None:
    reader = _reader()
    reader._step(Message(topic="orders", partition=2, offset=10, value=b""))
    assert reader._step(Message(topic="orders", partition=2, offset=12, error=KafkaError(KafkaError._PARTITION_EOF))) is None
    assert reader.cursor == {"orders": 11}
    assert reader.reached == {"orders": 12}
    reader.close()


def test_any_other_error_of_an_input_is_raised() -> None:
    reader = _reader()
    with pytest.raises(KafkaException):
        reader._step(Message(topic="orders", partition=2, offset=10, error=KafkaError(KafkaError.OFFSET_OUT_OF_RANGE)))
    reader.close()


def test_a_rewound_reader_stands_where_it_is_told() -> None:
    reader = _reader()
    reader._step(Message(topic="orders", partition=2, offset=10, value=b""))
    reader.rewind({"orders": 10})
    assert reader.cursor == reader.reached == {"orders": 10}
    reader.close()


class Scripted:
    """The reader's client, with messages that arrive in given portions; the real one is read in tests/live."""

    def __init__(self, *portions: list[Message]) -> None:
        self.portions = list(portions)
        self.assigned: list[int] = []
        self.waits: list[float] = []

    def consume(self, number: int, timeout: float) -> list[Message]:
        if number == 1:
            self.waits.append(timeout)
        if not self.portions:
            return []
        found, rest = self.portions[0][:number], self.portions[0][number:]
        self.portions[:1] = [rest] if rest else []
        return found

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = [place.offset for place in places]

    def close(self) -> None:
        pass


def _message(offset: int, size: int = 1_000) -> Message:
    return Message(topic="orders", partition=2, offset=offset, value=b"v" * size)


def _ended(offset: int) -> Message:
    return Message(topic="orders", partition=2, offset=offset, error=KafkaError(KafkaError._PARTITION_EOF))


def _scripted(*portions: list[Message]) -> tuple[Reader, Scripted]:
    reader = _reader()
    reader._consumer.close()
    client = Scripted(*portions)
    reader._consumer = client  # type: ignore[assignment]
    return reader, client


def _offsets(reader: Reader, limit: int) -> list[int]:
    return [record.offset for record in reader.read(limit)]


def test_a_read_takes_what_is_there_up_to_its_limit_and_leaves_the_rest_for_the_next() -> None:
    reader, _ = _scripted([_message(offset) for offset in range(10, 20)])
    found = [_offsets(reader, 3_000) for _ in range(5)]
    assert [len(offsets) for offsets in found] == [3, 3, 3, 1, 0]
    assert [offset for offsets in found for offset in offsets] == list(range(10, 20))
    assert reader.cursor == {"orders": 20}


def test_a_record_larger_than_the_limit_is_read_alone() -> None:
    reader, _ = _scripted([_message(10, 50_000), _message(11)])
    assert [_offsets(reader, 1_000), _offsets(reader, 1_000)] == [[10], [11]]


@pytest.mark.parametrize("portions", [([_ended(10)],), ([_ended(10), _ended(10)],), ()], ids=["end", "ends", "nothing"])
def test_a_read_of_an_empty_input_is_empty(portions: tuple[list[Message], ...]) -> None:
    reader, _ = _scripted(*portions)
    assert _offsets(reader, 1_000) == []
    assert reader.cursor == {"orders": 10}


def test_the_news_of_an_end_is_stepped_over() -> None:
    reader, _ = _scripted([_ended(10), _message(10), _ended(11), _message(12), _ended(14)])
    assert _offsets(reader, 1_000_000) == [10, 12]
    assert (reader.cursor, reader.reached) == ({"orders": 13}, {"orders": 14})


def test_only_the_first_record_is_waited_for() -> None:
    reader, client = _scripted([_message(10)], [], [_message(11)])
    assert [record.offset for record in reader.read(1_000_000, 0.3)] == [10, 11]
    assert client.waits == [0.3, 0, 0]


def test_a_read_that_gathers_waits_for_more_until_its_time_is_over_or_its_room_taken() -> None:
    reader, client = _scripted([_message(10)], [], [_ended(11), _message(11)], [_message(12), _message(13)])
    assert [record.offset for record in reader.read(4_000, 0.3, gather=60.0)] == [10, 11, 12, 13]
    assert client.waits[0] == 0.3
    assert all(50 < wait <= 60 for wait in client.waits[1:])
    assert reader.taken > 4_000
    client.waits.clear()
    assert reader.read(4_000, 0.3, gather=60.0) == []
    assert client.waits == [0.3]
    assert reader.taken == 0


def test_a_rewind_forgets_what_was_fetched_and_not_yet_read() -> None:
    reader, client = _scripted([_message(offset) for offset in range(10, 14)])
    assert _offsets(reader, 1_000) == [10]
    client.portions = [[_message(10), _message(11)]]
    reader.rewind({"orders": 10})
    assert client.assigned == [10]
    assert _offsets(reader, 1_000_000) == [10, 11]


def test_a_reader_that_stands_right_is_not_assigned_again() -> None:
    reader, client = _scripted([_message(10), _message(11)])
    assert _offsets(reader, 1_000) == [10]
    reader.rewind({"orders": 11})
    assert client.assigned == []
    assert _offsets(reader, 1_000) == [11]


# -- writing and errors ----------------------------------------------------------------------------------------------------


class FullAtFirst:
    """A producer whose queue is full every other time, as the real one's is under load."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, int]] = []
        self.polls = 0
        self._full = False

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int) -> None:
        self._full = not self._full
        if self._full:
            raise BufferError("Local: Queue full")
        self.sent.append((topic, value, key, partition))

    def poll(self, _timeout: float) -> int:
        self.polls += 1
        return 0


def test_every_write_is_produced_once_in_order_though_the_queue_is_full() -> None:
    producer = FullAtFirst()
    writes = [Write(ORDERS, 1, b"k", b"v"), Write(STOCK_STATE, 2, b"gone", None), Write(ORDERS, 0, None, b"")]
    produce_all(producer, writes, "eu.")  # type: ignore[arg-type]
    assert producer.sent == [("eu.orders", b"v", b"k", 1), ("eu.stock.state", None, b"gone", 2), ("eu.orders", b"", None, 0)]
    assert producer.polls == len(writes)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError._DESTROY_BROKER,
    ],
)
def test_brokers_that_cannot_be_reached_pass(code: int) -> None:
    assert is_passing(KafkaException(KafkaError(code)))


def test_what_the_client_calls_retriable_passes() -> None:
    assert is_passing(KafkaException(KafkaError(KafkaError.CONCURRENT_TRANSACTIONS, "busy", False, True, False)))


@pytest.mark.parametrize("code", [KafkaError.PRODUCER_FENCED, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._FATAL])
def test_anything_else_does_not_pass(code: int) -> None:
    assert not is_passing(KafkaException(KafkaError(code)))


# -- the brokers -----------------------------------------------------------------------------------------------------------


def test_a_client_that_got_no_answer_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been told that there is no controller, while a broker was fenced: minutes after the broker was back it still waited for one."""
    monkeypatch.setattr(brokers_module, "ASK_SECONDS", 0.1)
    brokers = Brokers(StreamSettings(kafka="127.0.0.1:1"))
    made: list[AdminClient] = []

    def make(config: dict[str, str | int | float | bool]) -> AdminClient:
        made.append(AdminClient(config))
        return made[-1]

    monkeypatch.setattr(brokers_module, "AdminClient", make)
    for _ in range(2):
        with pytest.raises(KafkaException):
            brokers.topics()
    assert len(made) == 2


# -- file descriptors ------------------------------------------------------------------------------------------------------


@pytest.fixture
def few_files() -> Iterator[None]:
    """This process may open some files more, but not as many as a client needs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + ROOM_FILES // 2, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_where_there_is_room_a_client_may_be_made() -> None:
    check_room()


@pytest.mark.usefixtures("few_files")
def test_no_client_is_made_short_of_files_and_it_is_tried_again() -> None:
    """librdkafka makes one all the same, without the pipes that wake its threads: each of its transactions took 2 s, for as long as it lived."""
    brokers = Brokers(StreamSettings(kafka="127.0.0.1:1"))
    for ask in (check_room, brokers.topics):
        with pytest.raises(KafkaException, match="file descriptors") as found:
            ask()
        assert is_passing(found.value)
    assert brokers._client is None


@pytest.mark.usefixtures("few_files")
def test_a_task_keeps_no_producer_that_may_have_been_made_short_of_files() -> None:
    task = Task(STOCK, Place(0, 8), Tasks([STOCK], StreamSettings(kafka="127.0.0.1:1"))._shared)
    task._producer = object()  # type: ignore[assignment]
    with pytest.raises(KafkaException, match="file descriptors"):
        task.open()
    assert task._producer is None
