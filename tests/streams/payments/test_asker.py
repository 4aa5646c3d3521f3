"""The asker: asks until it is answered, not too many at a time, less often in vain, nothing for a desk that is closed."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

import pytest

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Pending, Request
from streams.payments import Desk, Heard
from streams.payments import asker as module
from streams.payments.asker import LONGEST_DELAY, Asker, delay_after
from streams.payments.breaker import State
from streams.payments.contract import NoAnswer
from tests.support.pipeline import until

PAID = Answer(PaymentResult.PAID)
NOTHING = NoAnswer("out of order")


def pending(order_id: int) -> Pending:
    return Pending(Request(PaymentKind.CHARGE, order_id, 1, 0, 30, "GBP", "tok", "ann"), 0, order_id, 0)


class Provider:
    """Answers as a script says, then with PAID; notes how often each order was asked and how many at one moment."""

    def __init__(self, *script: Answer | NoAnswer) -> None:
        self.script: defaultdict[int, list[Answer | NoAnswer]] = defaultdict(lambda: list(script))
        self.asked: Counter[int] = Counter()
        self.at_once = self.most_at_once = 0
        self.is_down = False
        self.gate = threading.Event()
        self.gate.set()

    async def __aenter__(self) -> Provider:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def ask(self, request: Request) -> Answer | NoAnswer:
        self.asked[request.order_id] += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        while not self.gate.is_set():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        self.at_once -= 1
        script = [NOTHING] if self.is_down else self.script[request.order_id]
        return script.pop(0) if script else PAID


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)


@pytest.fixture
def provider() -> Iterator[Callable[..., tuple[Provider, Asker]]]:
    made: list[Provider] = []

    def make(*script: Answer | NoAnswer, concurrency: int = 4) -> tuple[Provider, Asker]:
        made.append(Provider(*script))
        return made[-1], Asker(lambda: made[-1], concurrency)

    yield make
    for one in made:
        one.gate.set()


Make = Callable[..., tuple[Provider, Asker]]


def answers(desk: Desk, count: int) -> list[Heard]:
    found: list[Heard] = []
    until(lambda: found.extend(desk.collect(0)) or len(found) >= count, 20, f"{count} answers")
    return found


def test_what_is_left_is_answered_at_its_own_desk(provider: Make) -> None:
    _, asker = provider()
    desks = [asker.desk(), asker.desk()]
    for number, desk in enumerate(desks):
        desk.leave([pending(100 * number + n) for n in range(1, 40)])
    for number, desk in enumerate(desks):
        heard = answers(desk, 39)
        assert {each.request.order_id for each in heard} == set(range(100 * number + 1, 100 * number + 40))
        assert {(each.answer, each.doubtful) for each in heard} == {(PAID, False)}
        assert not desk.is_asking()


def test_no_more_are_asked_at_a_time_than_allowed(provider: Make) -> None:
    outside, asker = provider(concurrency=3)
    outside.gate.clear()
    desk = asker.desk()
    desk.leave([pending(n) for n in range(20)])
    until(lambda: outside.at_once == 3, 20, "three are being asked")
    assert desk.is_asking()
    assert not desk.is_due(0)
    outside.gate.set()
    answers(desk, 20)
    assert outside.most_at_once == 3


def test_it_asks_until_it_is_answered(provider: Make) -> None:
    outside, asker = provider(NOTHING, NOTHING, NOTHING)
    desk = asker.desk()
    desk.leave([pending(1)])
    assert answers(desk, 1) == [Heard(pending(1).request, PAID, doubtful=True)]
    assert outside.asked == {1: 4}


@pytest.mark.parametrize(
    ("script", "recovered", "doubtful"),
    [((), False, False), ((), True, True), ((NOTHING._replace(was_sent=False),), False, False), ((NOTHING,), False, True)],
    ids=["answered", "asked by somebody before", "never reached", "asked and not answered"],
)
def test_an_answer_is_doubtful_if_an_earlier_ask_may_have_been_carried_out(
    provider: Make, script: tuple[NoAnswer, ...], recovered: bool, doubtful: bool
) -> None:
    _, asker = provider(*script)
    desk = asker.desk()
    desk.leave([pending(1)], recovered=recovered)
    assert [each.doubtful for each in answers(desk, 1)] == [doubtful]


def test_nothing_is_asked_for_a_desk_that_is_closed(provider: Make) -> None:
    outside, asker = provider(concurrency=1)
    outside.gate.clear()
    closed, other = asker.desk(), asker.desk()
    other.leave([pending(1)])
    until(lambda: outside.at_once == 1, 20, "the first is being asked")
    closed.leave([pending(2)])
    closed.close()
    other.leave([pending(3)])
    outside.gate.set()
    answers(other, 2)
    assert outside.asked == {1: 1, 3: 1}


def test_many_that_are_not_answered_open_the_circuit_and_the_first_answer_closes_it(provider: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(module.log, "warning", lambda event, **_: said.append(event), raising=False)
    outside, asker = provider()
    outside.is_down = True
    desk = asker.desk()
    desk.leave([pending(n) for n in range(30)])
    until(lambda: asker._breaker.state is State.OPEN, 20, "the circuit is open")
    outside.is_down = False
    answers(desk, 30)
    circuit = [event.rpartition(" ")[2] for event in said if "circuit" in event]
    assert circuit[0] == "open"
    assert circuit[-1] == "closed"
    assert outside.asked.total() < 60


def test_a_closed_desk_s_try_does_not_leave_the_circuit_half_open(provider: Make) -> None:
    outside, asker = provider()
    outside.is_down = True
    closed, other = asker.desk(), asker.desk()
    closed.leave([pending(n) for n in range(30)])
    until(lambda: asker._breaker.state is State.OPEN, 20, "the circuit is open")
    closed.close()
    outside.is_down = False
    other.leave([pending(99)])
    assert answers(other, 1)[0].answer == PAID


@pytest.mark.parametrize("asked", [1, 2, 5, 50])
def test_the_pause_grows_to_a_bound_and_spreads(asked: int) -> None:
    least, most = delay_after(asked, 0.0, 0.0), delay_after(asked, 0.0, 1.0)
    assert 0 < least < most <= LONGEST_DELAY
    assert least == most / 2
    assert delay_after(asked + 1, 0.0, 0.0) >= least


def test_a_provider_that_says_when_to_come_again_is_heard() -> None:
    assert delay_after(1, 7.0, 0.5) == 7.0
