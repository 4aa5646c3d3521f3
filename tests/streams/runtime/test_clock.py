"""The time a worker decides by, and what a transaction's end makes of a producer."""

import time

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException

from streams.runtime.clock import Clock
from streams.runtime.transactions import Ending, FencedError, abort, commit, is_broken

HOUR_MS = 3_600_000


@pytest.mark.parametrize("off_ms", [-HOUR_MS, 0, HOUR_MS])
def test_the_brokers_time_counts_whatever_the_machine_s_clock_says(off_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, monotonic = 1_800_000_000_000, [5_000.0]
    monkeypatch.setattr(time, "time_ns", lambda: (truth + off_ms) * 1_000_000)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic[0])
    clock = Clock()
    assert clock.now_ms() == truth + off_ms
    clock.heard(TIMESTAMP_LOG_APPEND_TIME, truth)
    assert clock.known
    assert clock.now_ms() == truth
    monotonic[0] += 1.5
    assert clock.now_ms() == truth + 1_500


def test_the_time_follows_the_brokers_as_they_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 5_000.0)
    clock = Clock()
    for at_ms in (1_000_000, 1_000_700):
        clock.heard(TIMESTAMP_LOG_APPEND_TIME, at_ms)
        assert clock.now_ms() == at_ms


def test_where_topics_carry_their_producers_time_the_machine_s_clock_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 77_000_000)
    clock = Clock()
    clock.heard(TIMESTAMP_CREATE_TIME, 1_800_000_000_000)
    assert clock.known
    assert clock.now_ms() == 77


def test_a_record_that_was_not_delivered_tells_no_time() -> None:
    clock = Clock()
    clock.delivered(KafkaError(KafkaError._TIMED_OUT), None)
    assert not clock.known


# -- how a transaction ends ------------------------------------------------------------------------------------------------

TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "", False, True, False)
ABORT = KafkaError(KafkaError._INCONSISTENT, "", False, False, True)
UNKNOWN_TO_THE_BROKER = KafkaError(KafkaError.INVALID_TXN_STATE, "", True, False, False)
FENCED = KafkaError(KafkaError._FENCED, "", True, False, False)


class Scripted:
    """A producer whose calls end as told; the real one is killed, stopped and fenced in tests/faults."""

    def __init__(self, commits: list[KafkaError | None], aborts: list[KafkaError | None] | None = None) -> None:
        self.commits, self.aborts = commits, aborts or []

    def commit_transaction(self, _seconds: float) -> None:
        _end(self.commits.pop(0))

    def abort_transaction(self, _seconds: float) -> None:
        _end(self.aborts.pop(0))


def _end(error: KafkaError | None) -> None:
    if error is not None:
        raise KafkaException(error)


@pytest.mark.parametrize(
    ("commits", "aborts", "ending"),
    [
        ([None], [], Ending.COMMITTED),
        ([TIMED_OUT, TIMED_OUT, None], [], Ending.COMMITTED),
        ([ABORT], [None], Ending.ABORTED),
        ([TIMED_OUT, ABORT], [TIMED_OUT, None], Ending.ABORTED),
        ([ABORT], [UNKNOWN_TO_THE_BROKER], Ending.BROKEN),
        ([UNKNOWN_TO_THE_BROKER], [], Ending.BROKEN),
    ],
    ids=["committed", "asked again", "aborted", "abort asked again", "abort unknown to the broker", "commit unknown to the broker"],
)
def test_how_a_transaction_ends(commits: list[KafkaError | None], aborts: list[KafkaError | None], ending: Ending) -> None:
    producer = Scripted(commits, aborts)
    assert commit(producer, "stock.3") is ending  # type: ignore[arg-type]
    assert producer.commits == producer.aborts == []


@pytest.mark.parametrize(("commits", "aborts"), [([FENCED], []), ([ABORT], [FENCED])], ids=["at the commit", "at the abort"])
def test_who_is_fenced_does_not_go_on(commits: list[KafkaError | None], aborts: list[KafkaError | None]) -> None:
    with pytest.raises(FencedError, match=r"stock\.3"):
        commit(Scripted(commits, aborts), "stock.3")  # type: ignore[arg-type]


def test_a_transaction_given_up_before_its_commit_is_aborted() -> None:
    assert abort(Scripted([], [None]), "stock.3", "a row is broken") is Ending.ABORTED  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ABORT, FENCED, UNKNOWN_TO_THE_BROKER, KafkaError(KafkaError._STATE)])
def test_a_producer_that_failed_in_the_background_is_broken(error: KafkaError) -> None:
    assert is_broken(KafkaException(error))


def test_a_record_too_large_is_a_bug_and_no_broken_producer() -> None:
    assert not is_broken(KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
