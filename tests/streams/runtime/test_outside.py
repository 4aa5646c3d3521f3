"""What a task tells a stage that asks somebody outside the log: when its batch is committed, and when its rows are given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from schemas.topics import PAYMENT_REQUESTS
from streams.config import StreamSettings
from streams.payments.sandbox import SLOW_TOKEN, Sandbox
from streams.runtime.batch import Batch
from streams.runtime.records import Place, Record
from streams.runtime.task import Task
from streams.runtime.tasks import Tasks
from streams.stages.payments import PaymentsStage, payments_kind
from tests.support.stages import NOW, PARTITIONS, order_at, record, requests

KIND = payments_kind(Sandbox(slow_ms=50))
AT = {PAYMENT_REQUESTS.name: 7}


def pending() -> Record:
    return record("PaymentRequests", requests({"order_id": order_at(0), "payment_token": SLOW_TOKEN}), 7)


async def _task(monkeypatch: pytest.MonkeyPatch, *, commits: bool) -> tuple[Task, PaymentsStage]:
    """A task that stands at AT and has decided a request that the provider does not answer at once."""
    tasks = Tasks((KIND,), StreamSettings(partitions=PARTITIONS))
    task = Task(KIND, Place(0, PARTITIONS), tasks._shared)
    monkeypatch.setattr(Task, "_commit", lambda _: commits)
    task.position = dict(AT)
    assert isinstance(task.stage, PaymentsStage)
    task.stage.decide([pending()], NOW)
    return task, task.stage


def _run(step: Callable[[], object]) -> None:
    asyncio.run(step())  # type: ignore[arg-type]


@pytest.mark.parametrize("commits", [True, False])
def test_what_is_pending_is_asked_only_if_its_batch_was_committed(monkeypatch: pytest.MonkeyPatch, commits: bool) -> None:
    async def step() -> None:
        task, stage = await _task(monkeypatch, commits=commits)
        assert not stage.desk.is_asking()
        await task.commit(Batch(KIND.name, 0, AT, [pending()]))
        assert stage.desk.is_asking() is commits
        assert task.position == {PAYMENT_REQUESTS.name: 8 if commits else 7}

    _run(step)


def test_others_see_the_task_stand_at_what_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        task, stage = await _task(monkeypatch, commits=True)
        await task.commit(Batch(KIND.name, 0, AT, [pending()]))
        assert task.reached() == AT
        stage.expire(NOW + 50)
        assert task.reached() == {PAYMENT_REQUESTS.name: 8}

    _run(step)


def test_a_task_that_ends_has_nothing_asked_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        task, stage = await _task(monkeypatch, commits=True)
        await task.commit(Batch(KIND.name, 0, AT, [pending()]))
        task._release()
        assert not stage.desk.is_asking()

    _run(step)
