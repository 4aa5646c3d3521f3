"""The stages' rows as Faust tables: listed by `faust tables`, left alone by Faust's recovery.

Their writes ride in the batch's transaction and their recovery is the task's opening, so Faust's own changelog
machinery must not see them: to its recovery there are no tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from faust.tables.manager import TableManager

from streams.runtime.records import RowsLike
from streams.runtime.tasks import Tasks


class TaskTable(Mapping[Any, Any]):
    """All rows of one stage that this worker holds, whatever their partition; read-only outside the agent's batch."""

    is_global = False  # asked by Faust's assignor

    def __init__(self, stage: str, help: str, tasks: Tasks) -> None:
        self.name = stage
        self.help = help
        self._tasks = tasks

    def _rows(self) -> Iterator[RowsLike]:
        return (task.stage.rows for task in self._tasks.all() if task.kind.name == self.name)

    def __getitem__(self, key: Any) -> Any:
        for rows in self._rows():
            row = rows.find(key)
            if row is not None:
                return row
        raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        return (key for rows in self._rows() for key in rows.keys_all())

    def __len__(self) -> int:
        return sum(rows.count_all() for rows in self._rows())


class TaskTables(TableManager):  # type: ignore[misc]
    """Faust's table manager, with tables to list and none to recover."""

    def __bool__(self) -> bool:
        return False

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        self._tables_registered.set()

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """Go straight to resuming the streams: the tasks open by themselves."""
        self._recovery_started.set()
        await self.recovery.on_rebalance(assigned, revoked, newly_assigned, generation_id)

    async def on_stop(self) -> None:
        """Stop what Faust started; the tables are the tasks'."""
        await self.app._fetcher.stop()
        if self._recovery:
            await self._recovery.stop()
