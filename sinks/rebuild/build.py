"""The log, read once, into every part at a time: the sink's own fold and the sink's own writes, each part with its own position."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from sinks import batch
from sinks.batch import Batch, Move
from sinks.errors import NotNowError, SinkError
from sinks.rebuild.part import Listener, Part
from sinks.rebuild.reader import MOVED, Reader
from sinks.rebuild.selection import Chosen
from sinks.rows import Partition, Record
from sinks.shards import own_moves

READING: Final = "reading the log"
TRIES: Final = 20
WAIT_S: Final = 0.5


class Build:
    """Fills parts. `unstorable`: records that no store takes, which the live sinks gave up as well."""

    def __init__(self, reader: Reader, chosen: Chosen, listen: Listener) -> None:
        self._reader = reader
        self._chosen = chosen
        self._listen = listen
        self._held: dict[str, dict[Partition, int]] = {}
        self.unstorable = 0

    def begin(self, part: Part, starts: Mapping[Partition, int]) -> bool:
        """Make a part ready to be filled from `starts` on; return whether an earlier run had filled any of it."""
        held = part.begin(self._chosen.selection, self._reader.partitions)
        self._held[part.name] = held
        is_resumed = any(held.values())
        self._write(part, Batch(), {place: Move(held[place], start) for place, start in starts.items() if held[place] < start})
        return is_resumed

    def stands(self, part: Part) -> Mapping[Partition, int]:
        """Return where a part stands."""
        return self._held[part.name]

    def to(
        self, parts: Sequence[Part], ends: Mapping[Partition, int] | None = None, watch: Callable[[Record], None] | None = None, *, say: bool = False
    ) -> None:
        """Bring parts to these offsets, or to the log's end as it is now; what they have they skip."""
        ends = self._reader.ends() if ends is None else {**dict.fromkeys(self._reader.partitions, 0), **ends}
        self._must_reach(ends)
        starts = {place: min(self._held[part.name][place] for part in parts) for place in self._reader.partitions}
        done, total = sum(starts.values()), sum(max(ends[place], start) for place, start in starts.items())
        with _Lanes(parts) as lanes:
            for records, at in self._reader.read(starts, ends, self._chosen):
                self._take(records, starts, at, watch, lanes)
                starts.update(at)
                if say:
                    self._listen(READING, done := sum(starts.values()), total)
        if say:
            self._listen(READING, max(done, total), total)

    def _must_reach(self, ends: Mapping[Partition, int]) -> None:
        """Live rows that come from a generation of the topics which came into use meanwhile would go backwards."""
        if any(topic not in self._reader.gone for topic, _ in ends.keys() - set(self._reader.partitions)):
            raise SinkError(MOVED)

    def _take(
        self, records: Sequence[Record], before: Mapping[Partition, int], at: Mapping[Partition, int], watch: Callable[[Record], None] | None, lanes: _Lanes
    ) -> None:
        if watch is not None:
            for record in records:
                watch(record)
        folded = batch.fold(records)
        self.unstorable += len(folded.unstorable)
        moves = {place: Move(before[place], end) for place, end in sorted(at.items()) if end > before[place]}
        lanes.give(lambda part: self._write(part, folded, own_moves(moves, self._held[part.name])))

    def _write(self, part: Part, folded: Batch, moves: Mapping[Partition, Move]) -> None:
        if not moves:
            return
        for attempt in range(1, TRIES + 1):
            try:
                part.write(folded, moves)
                break
            except NotNowError:
                if attempt == TRIES:
                    raise
                time.sleep(WAIT_S)
        self._held[part.name].update({place: move.next for place, move in moves.items()})


class _Lanes:
    """A thread for each part, with one batch under way and one that waits: the slowest part sets the pace."""

    WAITING: Final = 2

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._threads = [ThreadPoolExecutor(1, thread_name_prefix=part.name) for part in parts]
        self._under_way: list[list[Future[None]]] = [[] for _ in parts]

    def __enter__(self) -> _Lanes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for threads in self._threads:
            threads.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for futures in self._under_way:
                for future in futures:
                    future.result()

    def give(self, write: Callable[[Part], None]) -> None:
        """Have every part written, in the order in which it is given; raises what writing an earlier batch raised."""
        for part, threads, futures in zip(self._parts, self._threads, self._under_way, strict=True):
            while len(futures) >= self.WAITING:
                futures.pop(0).result()
            futures.append(threads.submit(write, part))
