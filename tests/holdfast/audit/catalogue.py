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
`holdfast audit --journal FILE` also holds what clients wrote down against the log: what the brokers acknowledged must be there, and decided.
Each violation has a kind, and each kind belongs to one promise: {kinds} kinds. For each, faults are sown into a correct history, {sown} in all,
{stores} of them into real MySQL and Redis servers, and the audit must find every one and name its promise (`tests/holdfast/audit/`).
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
