"""The short way through the throttle gives what the long one gives."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ingest.http.messages import Headers
from ingest.http.seams import Caller, Limit
from ingest.http.throttle import SharedThrottle


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


callers = st.sampled_from(
    [Caller(None, frozenset(), "k1"), Caller("u1", frozenset(), "k2"), Caller("u1", frozenset(), "k3", Limit(1.0, 2)), Caller("u2", frozenset(), "k2")]
)


@given(st.lists(st.tuples(callers, st.floats(0, 0.5), st.integers(1, 3)), max_size=60))
def test_at_once_is_the_same_as_asking(requests: list[tuple[Caller, float, int]]) -> None:
    clock = Clock()
    short, long = (SharedThrottle(Limit(3.0, 5), Limit(2.0, 4), None, clock) for _ in range(2))

    async def run() -> None:
        for caller, after_s, cost in requests:
            clock.now += after_s
            wanted = await long(caller, cost)
            at_once = short.at_once(caller) if cost == 1 else None
            if at_once is None:
                assert await short(caller, cost) == wanted
            else:
                assert (at_once, wanted.retry_after_s) == (wanted.headers, None)

    asyncio.run(run())


@given(st.lists(st.tuples(callers, st.floats(0, 0.5), st.sampled_from(["u1", "u2"])), max_size=60))
def test_at_once_for_a_user_is_the_same_as_asking_for_both(requests: list[tuple[Caller, float, str]]) -> None:
    clock = Clock()
    short, long = (SharedThrottle(Limit(3.0, 5), Limit(2.0, 4), None, clock) for _ in range(2))

    async def both(throttle: SharedThrottle, caller: Caller, user: str) -> tuple[Headers, bool]:
        admission = await throttle(caller, 1)
        of_user = caller.user is not None or admission.retry_after_s is not None or (await throttle.user(user)).retry_after_s is None
        return admission.headers, admission.retry_after_s is None and of_user

    async def run() -> None:
        for caller, after_s, user in requests:
            clock.now += after_s
            at_once = short.at_once(caller, user)
            asked = await both(long, caller, user)
            assert (await both(short, caller, user) if at_once is None else (at_once, True)) == asked

    asyncio.run(run())


@given(st.lists(st.tuples(callers, st.floats(0, 0.5), st.integers(1, 4)), max_size=60))
def test_many_at_once_are_the_same_as_one_after_the_other(requests: list[tuple[Caller, float, int]]) -> None:
    clock = Clock()
    together, singly = (SharedThrottle(Limit(3.0, 5), Limit(2.0, 4), None, clock) for _ in range(2))
    for caller, after_s, count in requests:
        clock.now += after_s
        one_by_one = [singly.at_once(caller, "u1") for _ in range(count)]
        assert together.at_once(caller, "u1", count) == (None if None in one_by_one else one_by_one[-1])
        while together.at_once(caller, "u1") is not None:  # what several could not have, some of them can
            pass
        while singly.at_once(caller, "u1") is not None:
            pass
