"""The MySQL store whose order lines are spread over several databases by product ID.

Each database keeps positions of its own, moved in the transaction that wrote its rows, so each by itself has every record exactly once. The log is
read on from the lowest; a database that is ahead of it, because the others failed or are new, skips what it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from schemas.shards import shard_sink
from sinks import sql
from sinks.batch import Batch, Move
from sinks.errors import PositionMovedError
from sinks.mysql_sink import MysqlStore
from sinks.rows import Partition
from sinks.store import compare

LOST: Final = -1
"""Where a partition stands of which a database knows nothing any more."""


class Share:
    """One database, and how far it is ahead of the lowest."""

    def __init__(self, store: MysqlStore) -> None:
        self.store = store
        self._ahead: dict[Partition, int] = {}

    def open(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """See Store."""
        self._ahead = self.store.open(partitions)
        return self._ahead

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """Write what this database does not have yet. Of a batch that it has in part it writes all: rows it has change nothing."""
        mine = own_moves(moves, self._ahead)
        if mine or not moves:
            self.store.write(batch, mine)


def own_moves(moves: Mapping[Partition, Move], ahead: Mapping[Partition, int]) -> dict[Partition, Move]:
    """Return how a database that stands at `ahead`, where that is behind the batch's beginning, moves to the batch's end; never backwards."""
    own = {partition: Move(max(move.expected, ahead.get(partition, 0)), move.next) for partition, move in moves.items()}
    return {partition: move for partition, move in own.items() if move.expected < move.next}


class ShardedStore:
    """See Store. Lines go first, all shards at once, the rest last: an order that can be read has all its lines."""

    name = "mysql"

    def __init__(self, mysql_url: str, shards: Sequence[str]) -> None:
        self._main = Share(MysqlStore(mysql_url, sql.header_statements))
        self._shards = [
            Share(MysqlStore(url, partial(sql.line_statements, shard=number, shards=len(shards)), shard_sink(number, len(shards))))
            for number, url in enumerate(shards)
        ]
        self._threads = ThreadPoolExecutor(len(shards), thread_name_prefix="shards")

    def open(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See Store: where the lowest of the databases stands."""
        found = [share.open(partitions) for share in (self._main, *self._shards)]
        return {partition: min(positions[partition] for positions in found) for partition in partitions}

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """See Store. Where one database fails the others may have the batch: the store has to be opened again."""
        writing = [self._threads.submit(share.write, batch, moves) for share in self._shards]
        wait(writing)
        for each in writing:
            each.result()
        self._main.write(batch, moves)

    def check(self, positions: Mapping[Partition, int]) -> None:
        """See Store."""
        found = [share.store.positions() for share in (self._main, *self._shards)]
        lowest = {partition: min(each.get(partition, LOST) for each in found) for partition in positions}
        if difference := compare(positions, lowest):
            raise PositionMovedError(difference)

    def close(self) -> None:
        """See Store."""
        for share in (self._main, *self._shards):
            share.store.close()
