"""Checks the promises I1 to I7 from the topics and the stores alone, by a fold of its own.

It shares no code with what it audits: it decodes the topics itself from the .avsc files, has its own murmur2, its own
rules for lines and stock, and reads with its own consumers. Of `schemas` it takes names and codes.

    run(kafka="127.0.0.1:9092", mysql_url="mysql://...", redis_url="redis://...").ok

What a clean audit does not prove:
- That the broker kept what it acknowledged. The log is the evidence; a record that Kafka lost with its answer is not
  missed, unless clients wrote a journal of what they were acknowledged. (An answer without its record is found.)
- That nothing was given up wrongly by a producer: what never entered `orders` or `order.commands`, and was not acknowledged, is not seen.
- That the payment provider moved money as it said, or that goods left the house: the results and commands are believed.
- When things happened. An order may have expired early or late; only that it expired, and what followed, is checked.
- Which command of several carried out a change: outcomes name none. Commands are checked by number per order, and a
  command ID used for two kinds of command is not held against anybody.
- What the stores showed on the way: it sees them once. That they never go backwards is a test of the sinks.
- A service that always said "insufficient": lines are refused justly only as far as the log's own stock goes.
- With `live`, anything still under way: lines without answers, orders without decisions, holds on their way back.
Where the brokers have deleted the log's beginning it takes what came before as the stages' own rows have it, as an opening balance, checks what
is left, and says what it could not (docs/audit.md).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from holdfast.audit.check import check
from holdfast.audit.errors import CannotCheckError
from holdfast.audit.journals import Journal
from holdfast.audit.log import Log
from holdfast.audit.progress import Progress
from holdfast.audit.reading import read_log
from holdfast.audit.report import Report, Violation
from holdfast.audit.store_reading import read_stores
from holdfast.audit.stores import Stores

__all__ = ["CannotCheckError", "Journal", "Log", "Report", "Stores", "Violation", "check", "run"]


def run(
    kafka: str,
    mysql_url: str | None = None,
    redis_url: str | None = None,
    prefix: str = "",
    journals: Sequence[Path] = (),
    *,
    shards: Sequence[str] = (),
    live: bool = False,
    complete: bool = False,
    since: int = 0,
    progress: Progress = lambda _what, _done, _total: None,
) -> Report:
    """Read the topics named with `prefix`, and the stores unless both URLs are None, and check everything.

    At rest (the default) an undecided order, an unanswered line or a lagging store is a violation; `live` allows what
    is under way. `shards` are the databases of HOLDFAST_MYSQL_SHARDS, in that order.
    `since` (ms) counts where the brokers have deleted the log's beginning: it begins then at the earliest.
    `journals` are files that clients wrote (journals.py says how); `complete`: they are all there are.
    Raises CannotCheckError where something is missing that the audit needs.
    """
    if (mysql_url is None) != (redis_url is None):
        raise CannotCheckError("give the URLs of both stores, or of neither")
    started = time.monotonic()
    # Journals and stores first: what they hold by now is in the log when its ends are looked at.
    written = [Journal.open(path) for path in journals]
    stores = read_stores(mysql_url, redis_url, progress, shards) if mysql_url and redis_url else None
    log = read_log(kafka, prefix, live=live, progress=progress, since=since)
    report = check(log, stores, written, live=live, complete=complete, progress=progress)
    report.seconds = time.monotonic() - started
    return report
