"""What docs/audit.md says: every kind of violation, its promise, and the corruptions that are sown to make sure that it is found.

`python -m tests.holdfast.audit.catalogue > docs/audit.md` writes the document anew; a test keeps them in step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from holdfast.audit.kinds import KINDS, MEANINGS, PROMISES
from tests.holdfast.audit.corruptions import CORRUPTIONS
from tests.holdfast.audit.test_store_corruptions import MYSQL, REDIS

HEAD: Final = """\
# What the audit checks, and how we know that it would notice

`holdfast audit` reads every topic and both stores and checks the promises I1 to I7 by a fold of its own; it shares no code with what it audits.
`holdfast audit --journal FILE` also holds what clients wrote down against the log: what the brokers acknowledged must be there, and decided. Each
violation has a kind, and each kind belongs to one promise: {kinds} kinds. For each, faults are sown into a correct history, {sown} in all, {stores} of
them into real MySQL and Redis servers, and the audit must find every one and name its promise (`tests/holdfast/audit/`).

## Where the log's beginning is gone

Brokers may delete what is old (`docs/runbook.md`); the tables' topics carry the state. The audit then begins at the time at which the last of the cut
partitions begins, so that everything that followed from what it reads is there, and takes what was before from the stages' own rows, as an opening
balance:

- **Products**: the numbers before the first change that is left follow from the first answer that states them (or from the row, counted back). From there
  on every version is checked as ever, and the last one against row, `stock.levels` and both stores.
- **Orders** whose IDs were given out before that time (and a minute, for clocks): the row against the outcomes, payments rows and products' reserved units
  that are left, and against MySQL and Redis, field by field. Orders after that are checked in full.
- **Not checked**, and said so in `notes`: how the older ones came to be so, commands that left no trace, dead letters and payments of the time before,
  journals' older entries, and rows of the stores whose orders are forgotten (`HOLDFAST_ORDER_RETENTION`), which are counted. An order whose ID is not one
  of ours counts as old.

An earlier generation of the topics (`holdfast repartition`) that is gone altogether counts as deleted when the next one came into use. Of a partition that
has nothing left nobody knows when its records were deleted: then nothing counts as later than that, unless `--since TIME` says from when on all is there.
Correct histories cut anywhere are clean, and faults sown before and after the cut are found: `tests/holdfast/audit/test_beginning.py`; with brokers that
delete, `tests/live/test_retention.py`.
"""


def document() -> str:
    """Return the whole document."""
    sown = corruptions()
    head = HEAD.format(kinds=len(KINDS), sown=sum(map(len, sown.values())), stores=len(MYSQL) + len(REDIS))
    return "\n".join([head, *(line for promise in PROMISES for line in section(promise, sown))])


def section(promise: str, sown: dict[str, list[str]]) -> Iterator[str]:
    """Yield one promise's lines."""
    yield from (f"## {promise}: {PROMISES[promise]}", "", "| kind of violation | what it means | sown |", "|---|---|---|")
    for kind in (kind for kind, of in KINDS.items() if of == promise):
        yield f"| `{kind}` | {MEANINGS[kind]} | {'; '.join(sown[kind])} |"
    yield ""


def corruptions() -> dict[str, list[str]]:
    """Return kind -> the names of its corruptions."""
    sown: defaultdict[str, list[str]] = defaultdict(list)
    for corruption in CORRUPTIONS:
        sown[corruption.kind].append(corruption.name)
    for server, faults in (("MySQL", MYSQL), ("Redis", REDIS)):
        for name, (kind, *_) in faults.items():
            sown[kind].append(f"{server}: {name}")
    return sown


if __name__ == "__main__":
    print(document(), end="")
