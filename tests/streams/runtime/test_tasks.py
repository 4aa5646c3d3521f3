"""Which batches a worker's tasks decide, and which they refuse. Without Kafka: the tasks are never opened."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from faust.types import TP

from streams.config import StreamSettings
from streams.payments.sandbox import Sandbox
from streams.runtime import tasks as module
from streams.runtime.batch import Batch, BatchState
from streams.runtime.exits import BUG, MISCONFIGURED
from streams.runtime.records import Record
from streams.runtime.shared import TaskState
from streams.runtime.task import Task
from streams.runtime.tasks import Tasks
from streams.runtime.transactions import Ending
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK

KINDS = (STOCK, orders_kind(1_000), payments_kind(Sandbox()))
AT = {"orders": 5, "stock.commands": 2}
RECORDS = [Record("orders", 3, 5, None, b"")]


class EndedError(Exception):
    """Stands for the end of the process."""

    def __init__(self, code: int, why: str, error: BaseException | None = None) -> None:
        super().__init__(why)
        self.code = code


@pytest.fixture(autouse=True)
def end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_process(code: int, why: str, error: BaseException | None = None) -> None:
        raise EndedError(code, why, error)

    monkeypatch.setattr(module, "end_process", end_process)


class Owned:
    """Tasks with one of them owned, standing at AT, with a batch on its way to the agent; notes which batches begin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: bool = False) -> None:
        self.tasks = Tasks(KINDS, StreamSettings(partitions=8))
        self.begun: list[Batch] = []
        self.committed: list[Batch] = []
        monkeypatch.setattr(Tasks, "_start", _never_opened)
        monkeypatch.setattr(Task, "begin", lambda task, batch: self._begin(batch, fails))
        monkeypatch.setattr(Task, "commit", self._commit_of())

    def _begin(self, batch: Batch, fails: bool) -> None:
        if fails:
            raise ZeroDivisionError
        self.begun.append(batch)

    def _commit_of(self) -> Callable[[Task, Batch], Awaitable[None]]:
        async def commit(task: Task, batch: Batch) -> None:
            task.position = batch.end
            self.committed.append(batch)
            batch.finish(committed=True)

        return commit

    async def with_batch(self) -> tuple[Task, Batch]:
        await self.tasks.assign({TP("orders", 3), TP("stock.commands", 3)})
        (task,) = self.tasks.all()
        task.position = dict(AT)
        return task, self.batch_of(task)

    def batch_of(self, task: Task) -> Batch:
        """Hand out the next batch of a task."""
        batch = Batch("stock", 3, task.position, RECORDS)
        task._outstanding = batch
        return batch

    async def carry_out(self, batch: Batch) -> None:
        self.tasks.carry_out(batch)
        await asyncio.gather(*self.tasks._running)


def _never_opened(tasks: Tasks, stage: str, partition: int) -> None:
    from streams.runtime.records import Place

    tasks._tasks[stage, partition] = Task(tasks.kinds[stage], Place(partition, 8), tasks._shared)


def _run(step: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await step()

    asyncio.run(run())


def test_a_batch_that_follows_the_position_is_decided_and_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        task, batch = await owned.with_batch()
        await owned.carry_out(batch)
        assert owned.begun == owned.committed == [batch]
        assert task.position == {"orders": 6, "stock.commands": 2}

    _run(step)


def test_a_batch_is_decided_once_however_often_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        _, batch = await owned.with_batch()
        await owned.carry_out(batch)
        await owned.carry_out(batch)
        assert owned.begun == [batch]

    _run(step)


def test_a_batch_that_does_not_start_at_the_position_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        task, batch = await owned.with_batch()
        task.position = {**AT, "orders": 6}
        await owned.carry_out(batch)
        assert owned.begun == []
        assert batch.done.result() is False

    _run(step)


def test_a_late_batch_is_refused_beside_a_newer_one_of_the_same_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust may deliver what was given up: the records were read again, and both batches follow the position."""

    async def step() -> None:
        owned = Owned(monkeypatch)
        task, lost = await owned.with_batch()
        owned.tasks.drop_waiting()
        again = owned.batch_of(task)
        await owned.carry_out(lost)
        assert owned.begun == []
        assert again.state is BatchState.WAITING
        await owned.carry_out(again)
        assert owned.begun == [again]

    _run(step)


def test_a_batch_nobody_waits_for_is_refused_though_it_was_not_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        task, forgotten = await owned.with_batch()
        owned.batch_of(task)
        await owned.carry_out(forgotten)
        assert owned.begun == []
        assert forgotten.done.result() is False

    _run(step)


def test_a_batch_of_a_partition_that_went_away_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        _, batch = await owned.with_batch()
        await owned.tasks.assign(set())
        await owned.carry_out(batch)
        assert owned.begun == []
        assert batch.state is BatchState.ENDED

    _run(step)


def test_a_closing_task_takes_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        task, batch = await owned.with_batch()
        await task.close()
        assert batch.done.result() is False
        late = owned.batch_of(task)
        await owned.carry_out(late)
        assert owned.begun == []

    _run(step)


def test_an_unexpected_error_ends_the_process_before_anything_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch, fails=True)
        _, batch = await owned.with_batch()
        with pytest.raises(EndedError) as ended:
            owned.tasks.carry_out(batch)
        assert ended.value.code == BUG
        assert owned.committed == []
        assert not batch.done.done()

    _run(step)


def test_a_rebalance_waits_for_the_transaction_under_way_and_drops_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        owned = Owned(monkeypatch)
        task, batch = await owned.with_batch()
        assert batch.take(task.position)
        task.state = TaskState.COMMITTING
        revoking = asyncio.ensure_future(owned.tasks.revoke())
        await asyncio.sleep(0)
        assert not revoking.done()
        owned.tasks.drop_waiting()
        assert batch.state is BatchState.TAKEN
        batch.finish(committed=True)
        await revoking

    _run(step)


def test_tasks_follow_the_assignment_and_those_that_stay_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def step() -> None:
        tasks = Owned(monkeypatch).tasks
        tasks.settings = StreamSettings(partitions=8, run_dir=tmp_path)
        await tasks.assign(_all_inputs(0, 1))
        before = {task.name: task for task in tasks.all()}
        assert sorted(before) == sorted(f"{kind.name}.{p}" for kind in KINDS for p in (0, 1))
        await tasks.assign(_all_inputs(1, 2))
        after = {task.name: task for task in tasks.all()}
        assert all(after[f"{kind.name}.1"] is before[f"{kind.name}.1"] for kind in KINDS)
        assert tasks.held() == {kind.name: [1, 2] for kind in KINDS}
        assert '"stock": [1, 2]' in next(tmp_path.iterdir()).read_text()

    _run(step)


def test_a_partition_that_comes_back_is_opened_only_when_its_task_from_before_is_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was still opening when its partition went away would fence the new one."""

    async def step() -> None:
        running: dict[int, asyncio.Event] = {}

        async def run(task: Task) -> None:
            running[len(running)] = through = asyncio.Event()
            await through.wait()

        monkeypatch.setattr(Task, "run", run)
        tasks = Tasks(KINDS, StreamSettings(partitions=8))
        for partitions in ((3,), (), (3,)):
            await tasks.assign({TP(topic.name, p) for topic in STOCK.inputs for p in partitions})
            await asyncio.sleep(0)
        assert list(running) == [0]
        running[0].set()
        while len(running) == 1:
            await asyncio.sleep(0)
        running[1].set()
        await tasks.close()

    _run(step)


@pytest.mark.parametrize("ending", Ending)
def test_a_producer_goes_on_only_if_its_transaction_committed(ending: Ending, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts records that never arrived: the brokers took its next transaction for out of sequence, and it waited until that timed out."""

    async def step() -> None:
        task, _ = await Owned(monkeypatch).with_batch()
        task._producer = producer = object()  # type: ignore[assignment]
        assert task._ended(ending) is (ending is Ending.COMMITTED)
        assert task._producer is (producer if ending is Ending.COMMITTED else None)

    _run(step)


def _all_inputs(*partitions: int) -> set[TP]:
    return {TP(topic.name, p) for kind in KINDS for topic in kind.inputs for p in partitions}


def test_inputs_assigned_apart_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> None:
        tasks = Owned(monkeypatch).tasks
        with pytest.raises(EndedError) as ended:
            await tasks.assign(_all_inputs(0) - {TP("stock.commands", 0)})
        assert ended.value.code == MISCONFIGURED
        assert "stock" in str(ended.value)

    _run(step)


def test_every_input_is_kept_from_faust_under_its_broker_side_name() -> None:
    tasks = Tasks(KINDS, StreamSettings(topic_prefix="eu."))
    assert tasks.topics() == {f"eu.{topic.name}" for kind in KINDS for topic in kind.inputs}
