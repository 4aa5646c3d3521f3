"""When rows are looked at: each once its time has come, in time, and never all at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest.order_ids import compose
from schemas.order_times import EPOCH_MS, born
from streams.config import StreamSettings
from streams.stages.retention import AT_ONCE, LEAST_WAIT_MS, PAUSE_MS, Retention

NOW = EPOCH_MS + 10**10
KEPT = 50_000
IDS = st.lists(st.integers(0, 10**6).map(lambda ms: compose(NOW - ms, 1, 0)), unique=True, max_size=60)


def drained(retention: Retention, now: int) -> list[int]:
    found: list[int] = []
    while retention.is_due(now):
        found += retention.due(now)
        now += PAUSE_MS
    return found


@given(IDS, IDS)
def test_a_row_is_due_once_its_time_is_over_and_once_only(recovered: list[int], new: list[int]) -> None:
    retention = Retention(KEPT)
    retention.recover(recovered)
    for order_id in new:
        retention.note(order_id)
    found = retention.due(NOW)
    assert sorted(found) == sorted(order_id for order_id in [*recovered, *new] if NOW - born(order_id) >= KEPT)
    assert drained(retention, NOW + KEPT + 10**6) == sorted(order_id for order_id in [*recovered, *new] if NOW - born(order_id) < KEPT)


@given(IDS)
def test_for_ever_remembers_nothing(ids: list[int]) -> None:
    retention = Retention(0)
    retention.recover(ids)
    for order_id in ids:
        retention.note(order_id)
    assert not retention.is_due(NOW + 10**12)
    assert retention.due(NOW + 10**12) == []


def test_many_go_in_several_batches_with_a_pause_between() -> None:
    retention = Retention(KEPT)
    retention.recover(compose(NOW - 10 * KEPT, 1, 0) + n for n in range(AT_ONCE + 1))
    assert len(retention.due(NOW)) == AT_ONCE
    assert not retention.is_due(NOW + PAUSE_MS - 1)
    assert retention.due(NOW + PAUSE_MS - 1) == []
    assert len(retention.due(NOW + PAUSE_MS)) == 1


def test_an_order_that_is_not_over_is_looked_at_again() -> None:
    retention, order_id = Retention(KEPT), compose(NOW - KEPT, 1, 0)
    retention.note(order_id)
    assert retention.due(NOW) == [order_id]
    retention.later(order_id, retention.wait(NOW))
    assert not retention.is_due(NOW + KEPT // 8 - 1)
    assert retention.due(NOW + KEPT // 8) == [order_id]
    assert Retention(8).wait(NOW) == NOW + LEAST_WAIT_MS


def test_a_retention_that_would_forget_what_is_under_way_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least twice HOLDFAST_ORDER_TIMEOUT"):
        StreamSettings(order_timeout=900, order_retention=1_799)
    assert StreamSettings(order_timeout=900, order_retention=1_800).order_retention_ms == 1_800_000
