"""One rebuild: build beside, compare, swap, clean up."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from schemas import views
from schemas.shards import shard_sink
from sinks import sql
from sinks.config import Settings
from sinks.errors import SinkError
from sinks.rebuild.build import Build
from sinks.rebuild.mysql_part import MysqlPart
from sinks.rebuild.part import Differences, Listener, Part
from sinks.rebuild.reader import Reader
from sinks.rebuild.redis_part import RedisPart
from sinks.rebuild.selection import Chosen, Selection
from sinks.rows import Partition

STORES: Final = ("mysql", "redis")
HEADERS: Final = (views.PRODUCTS, views.USERS, views.ORDERS)
STILL_S: Final = 5.0
"""A live store that does not move for so long is compared where it stands."""
LOOK_S: Final = 0.1


@dataclass(frozen=True)
class Report:
    """What a rebuild did. `rows_per_s`: rows of this run by the seconds from the first record to the last index."""

    selection: str
    rows: int
    differences: Differences
    seconds: float
    rows_by_part: Mapping[str, int]
    behind: int
    """Records that the live stores had not taken when they were compared, although they were waited for."""
    older: int
    """Rows that were not compared, for the beginning of order.outcomes is not in the log any more."""
    unstorable: int
    resumed: bool
    swapped: bool

    @property
    def rows_per_s(self) -> int:
        return round(self.rows / self.seconds) if self.seconds else 0

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        found = self.differences
        return {
            **{"selection": self.selection, "rows": self.rows, "differences": found.total, "rows_per_s": self.rows_per_s, "seconds": round(self.seconds, 3)},
            **{what: found.of(what) for what in ("changed", "missing", "extra")},
            **{"older": self.older, "behind": self.behind, "unstorable": self.unstorable},
            **{"stores": dict(self.rows_by_part), "resumed": self.resumed, "swapped": self.swapped},
            "named": [{"what": what, "where": where, "key": key} for what, where, key in found.named],
        }


def parts_of(settings: Settings, stores: Collection[str]) -> list[Part]:
    """Return the databases of these stores; raises SinkError for a setting that is no address."""
    found: list[Part] = []
    url, shards = settings.mysql.get_secret_value(), settings.shards
    if "mysql" in stores and shards:
        found = [_shard(each, number, len(shards)) for number, each in enumerate(shards)]
        found.append(MysqlPart(url, HEADERS, sql.header_statements, "mysql"))
    elif "mysql" in stores:
        found.append(MysqlPart(url, (*HEADERS, views.ORDER_LINES), sql.statements, "mysql"))
    return [*found, RedisPart(settings.redis.get_secret_value())] if "redis" in stores else found


def _shard(url: str, number: int, shards: int) -> Part:
    return MysqlPart(url, (views.ORDER_LINES,), partial(sql.line_statements, shard=number, shards=shards), shard_sink(number, shards))


def rebuild(settings: Settings, stores: Collection[str], selection: Selection, listen: Listener, *, swap: bool) -> Report:
    """Rebuild the selection of these stores beside the live ones and compare; with `swap` put it in their place. Raises SinkError, NotNowError."""
    with ExitStack() as stack:
        reader = stack.enter_context(closing(Reader(settings)))
        parts = [stack.enter_context(closing(part)) for part in parts_of(settings, stores)]
        run = _Run(reader, parts, Chosen(selection), listen)
        report = run.report(swap=swap)
        for part in parts:
            listen(f"{part.name}: cleaning up", 0, 0)
            part.clean()
        return report


class _Run:
    def __init__(self, reader: Reader, parts: Sequence[Part], chosen: Chosen, listen: Listener) -> None:
        self._reader = reader
        self._parts = parts
        self._chosen = chosen
        self._listen = listen
        self._build = Build(reader, chosen, listen)
        self._behind = 0

    def report(self, *, swap: bool) -> Report:
        began = time.monotonic()
        resumed = self._fill()
        seconds = time.monotonic() - began
        rows = {part.name: part.rows() for part in self._parts}
        found = Differences()
        for part in self._parts:
            found = found.and_those_of(self._compare(part))
        cut = self._reader.cut()
        found, older = found.without_older() if cut else (found, 0)
        if swap:
            _must_be_whole(cut, older)
            for part in self._parts:
                part.swap(self._chosen, partial(self._build.to, [part]), self._listen)
        return Report(str(self._chosen.selection), sum(rows.values()), found, seconds, rows, self._behind, older, self._build.unstorable, resumed, swap)

    def _fill(self) -> bool:
        ends = self._reader.ends()
        starts = self._reader.starts(self._chosen.selection, ends)
        for part in self._parts:
            self._must_know_all(part)
        resumed = [self._build.begin(part, starts) for part in self._parts]
        self._build.to(self._parts, ends, say=True)
        for part in self._parts:
            self._listen(f"{part.name}: indexes", 0, 0)
            part.finish_bulk()
        return any(resumed)

    def _must_know_all(self, part: Part) -> None:
        """Live rows that come from other topics as well would be taken for wrong ones, and lost in a swap."""
        if others := sorted({topic for topic, _ in part.live_positions()} - {topic for topic, _ in self._reader.partitions} - self._reader.gone):
            raise SinkError(
                f"the live rows of {part.name} come from topics besides those of HOLDFAST_TOPIC_PREFIX, which are not read here: {', '.join(others)}"
            )

    def _compare(self, part: Part) -> Differences:
        self._await(part)
        self._listen(f"{part.name}: comparing", 0, 0)
        found = part.compare(self._chosen, partial(self._build.to, [part]))
        self._reader.check_generation()
        return found

    def _await(self, part: Part) -> None:
        """Wait until the live rows stand where the rebuilt ones do: one that is behind would differ for no other reason."""
        moved, before = time.monotonic(), dict[Partition, int]()
        while lag := _lag(part.live_positions(), self._build.stands(part)):
            live = part.live_positions()
            if live != before:
                moved, before = time.monotonic(), live
            elif time.monotonic() - moved > STILL_S:
                self._behind += lag
                return
            self._listen(f"{part.name}: waiting for the live sink", 0, lag)
            time.sleep(LOOK_S)


def _must_be_whole(cut: Sequence[str], older: int) -> None:
    """Rows whose records the brokers have deleted are in the live store alone: a swap would lose them."""
    if older:
        raise SinkError(
            f"the log does not go back to its beginning any more ({', '.join(cut)}), and {older} rows are in the live store alone, or hang on "
            "such: swapping would lose them, so nothing was swapped. Rebuild what is in the log with --from, --product or --order"
        )


def _lag(live: Mapping[Partition, int], wanted: Mapping[Partition, int]) -> int:
    return sum(max(0, at - live.get(place, 0)) for place, at in wanted.items())
