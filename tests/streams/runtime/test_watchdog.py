"""What the watchdog calls stuck."""

import time

import pytest

from streams.config import StreamSettings
from streams.runtime import watchdog as module
from streams.runtime.brokers import Brokers
from streams.runtime.clients import InputTopic, MisconfiguredError
from streams.runtime.inspector import QUIET_SECONDS, Inspector, Silence, check_unchanged
from streams.runtime.tasks import Tasks
from streams.runtime.watchdog import Bounds, Sign, Watchdog, verdict

BUSY = Sign("stock.3", opening=False, has_lag=True, idle=31.0)
FINE = Sign("stock.1", opening=False, has_lag=True, idle=29.0)


def _verdict(*signs: Sign, loop_idle: float = 0.0, answered: float = 1_000.0) -> str | None:
    return verdict(signs, loop_idle, Bounds(loop=12.0, stall=30.0, open=300.0), answered)


@pytest.mark.parametrize(
    "sign",
    [
        FINE,
        BUSY._replace(has_lag=False, idle=10_000.0),
        BUSY._replace(opening=True, idle=299.0),
        BUSY._replace(idle=30.0),
    ],
    ids=["getting on", "nothing to do", "opening", "at the bound"],
)
def test_this_is_not_stuck(sign: Sign) -> None:
    assert _verdict(sign) is None


@pytest.mark.parametrize("sign", [BUSY, BUSY._replace(opening=True, idle=301.0)], ids=["batch", "opening"])
def test_no_progress_while_there_is_lag_is_stuck(sign: Sign) -> None:
    stuck = _verdict(FINE, sign)
    assert stuck is not None
    assert "stock.3" in stuck
    assert f"{sign.idle:.0f} s" in stuck


def test_a_loop_that_does_not_turn_is_stuck_whatever_the_tasks_say() -> None:
    stuck = _verdict(loop_idle=12.5)
    assert stuck is not None
    assert "event loop" in stuck


def test_a_worker_without_tasks_is_fine() -> None:
    assert _verdict(loop_idle=11.5) is None


def test_a_process_that_took_long_until_it_began_to_watch_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[str] = []
    monkeypatch.setattr(module, "end_process", lambda _code, why: ends.append(why))
    monkeypatch.setattr(Watchdog, "_watch", lambda _watchdog: None)
    watchdog = _watchdog()
    watchdog._beat_at -= 1_000
    watchdog._check(time.monotonic())
    assert len(ends) == 1, "this test could not fail"
    watchdog.start()
    watchdog._check(time.monotonic())
    assert len(ends) == 1


def _watchdog(tasks: Tasks | None = None) -> Watchdog:
    return Watchdog(tasks or Tasks([], StreamSettings()), Inspector(list, Brokers(StreamSettings())), StreamSettings())


def test_who_is_stuck_gives_its_partitions_back_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(module, "end_process", lambda _code, _why: done.append("ended"))
    tasks = Tasks([], StreamSettings())
    tasks.leave_group = lambda: done.append("left")
    watchdog = _watchdog(tasks)
    watchdog.beat()
    watchdog._check(time.monotonic())
    assert done == []
    watchdog._beat_at -= 1_000
    watchdog._check(time.monotonic())
    assert done == ["left", "ended"]


def test_nobody_gets_on_while_the_brokers_are_away_nor_at_once_when_they_are_back() -> None:
    assert _verdict(BUSY, answered=0.0) is None
    assert _verdict(BUSY, answered=29.0) is None
    assert _verdict(BUSY, answered=30.5) is not None
    assert _verdict(loop_idle=12.5, answered=0.0) is not None, "the loop turns whatever the brokers do"


def test_a_reader_that_is_handed_nothing_while_there_is_lag_is_stuck() -> None:
    silent = FINE._replace(has_lag=False, idle=0.0, silent=30.5)
    stuck = _verdict(silent)
    assert stuck is not None
    assert "reader of task stock.1" in stuck
    assert _verdict(silent._replace(silent=30.0)) is None
    assert _verdict(silent._replace(has_lag=True)) is None, "a batch is under way: that is another bound"


# -- the inspector ---------------------------------------------------------------------------------------------------------


def test_a_reader_at_the_end_is_not_silent() -> None:
    silence = Silence()
    assert [silence.note("stock.1", {"orders": 5}, {"orders": 5}, now) for now in (0.0, 10.0, 20.0)] == [0.0, 0.0, 0.0]


def test_a_reader_behind_is_silent_for_as_long_as_it_does_not_move() -> None:
    silence = Silence()
    at = {"orders": 5, "stock.commands": 2}
    assert [silence.note("stock.1", at, {"orders": 5, "stock.commands": 3}, now) for now in (10.0, 13.0, 16.0)] == [0.0, 3.0, 6.0]
    assert silence.note("stock.1", {**at, "orders": 6}, {"orders": 9, "stock.commands": 3}, 19.0) == 0.0
    assert silence.note("stock.1", {**at, "orders": 6}, {"orders": 9, "stock.commands": 3}, 22.0) == 3.0
    assert silence.note("stock.2", at, {"orders": 9}, 22.0) == 0.0


def test_what_was_silent_before_the_brokers_went_away_or_a_batch_was_under_way_is_forgotten() -> None:
    silence = Silence()
    for name in ("stock.1", "stock.2"):
        silence.note(name, {"orders": 5}, {"orders": 6}, 0.0)
    silence.forget("stock.1")
    assert silence.note("stock.1", {"orders": 5}, {"orders": 6}, 20.0) == 0.0
    assert silence.note("stock.2", {"orders": 5}, {"orders": 6}, 20.0) == 20.0
    silence.forget()
    assert silence.note("stock.2", {"orders": 5}, {"orders": 6}, 30.0) == 0.0


def test_brokers_that_were_away_count_from_their_return() -> None:
    inspector = Inspector(list, Brokers(StreamSettings()))
    assert inspector.answered_for(100.0) == 0.0
    for now in (100.0, 103.0, 106.0):
        inspector._note_answer(now)
    assert inspector.answered_for(107.0) == 7.0
    assert inspector.answered_for(106.0 + QUIET_SECONDS) == 0.0
    inspector._note_answer(130.0)
    assert inspector.answered_for(131.0) == 1.0


KNOWN = {"orders": InputTopic("a", 8), "stock.state": InputTopic("b", 8)}


def test_topics_that_are_what_they_were_are_fine() -> None:
    check_unchanged("stock.1", KNOWN, {**KNOWN, "order.state": InputTopic("c", 8)})


@pytest.mark.parametrize("now", [InputTopic("another", 8), InputTopic("b", 16)], ids=["made again", "partitions added"])
def test_a_topic_that_changed_under_a_running_worker_is_refused(now: InputTopic) -> None:
    with pytest.raises(MisconfiguredError) as refused:
        check_unchanged("stock.1", KNOWN, {**KNOWN, "stock.state": now})
    assert [word for word in ("stock.1", "stock.state", now.topic_id, str(now.partitions), "restore") if word not in str(refused.value)] == []
