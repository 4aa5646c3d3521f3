"""Pure: W3C trace contexts, and which of them a batch of records comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple, TypeAlias

PARENT: Final = "traceparent"
"""In HTTP and in Kafka's headers: who sent this. The gateway's records hold several orders, and one for each of their requests."""
STATE: Final = "tracestate"
"""What else the callers' tracing systems say of the trace: goes along unread, in Kafka's headers right after the traceparent that it belongs to."""
CAUSES: Final = "holdfast-causes"
"""In Kafka's headers: which requests a record of a stage comes from, as traceparents with commas between them."""
FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
STATE_FORM: Final = re.compile(r"[\x20-\x7e]{1,512}")
"""Longer ones need not be passed on, says W3C; what else is in a header is nobody's state."""
MOST_LINKS: Final = 32
"""Of one span."""
MOST_CAUSES: Final = 8
"""In the header of a record: an outcome must not be smaller than what it comes from."""
_SAMPLED: Final = 1

Headers: TypeAlias = Any
"""As confluent-kafka gives them: a list of (name, bytes or None)."""


class Context(NamedTuple):
    """A span somewhere: its trace and itself in hex digits, and whether anybody keeps it."""

    trace_id: str
    span_id: str
    is_sampled: bool

    def __str__(self) -> str:
        """As a traceparent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.is_sampled:02x}"


def context_of(text: str | None) -> Context | None:
    """Return what a traceparent says; None where it is none (a later version may say more behind what version 00 has)."""
    found = FORM.fullmatch(text) if text else None
    if found is None or (found[4] and text and text.startswith("00")):
        return None
    return Context(found[1], found[2], bool(int(found[3], 16) & _SAMPLED))


def carried(parent: str, state: str | None) -> str:
    """Return a traceparent with its tracestate, as one text: no header has a line feed."""
    return f"{parent}\n{state}" if parent and state and STATE_FORM.fullmatch(state) else parent


def carried_headers(texts: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return the Kafka headers of some such texts."""
    found: list[tuple[str, bytes]] = []
    for each in texts:
        parent, _, state = each.partition("\n")
        found.append((PARENT, parent.encode()))
        if state:
            found.append((STATE, state.encode()))
    return found


class Causes:
    """What a batch comes from, as its records' headers have it: the first so many contexts that are sampled, each once.

    `links` are all of them, `roots` those that a request or a program outside began.
    """

    def __init__(self) -> None:
        self.links: dict[Context, None] = {}
        self.roots: dict[Context, None] = {}
        self._seen: set[bytes] = set()

    def note(self, headers: Headers) -> None:
        """Take a record's headers; what is no context counts for nothing."""
        if not headers or len(self.links) >= MOST_LINKS:
            return
        parents = [value for name, value in headers if name == PARENT and value]
        causes = [value for name, value in headers if name == CAUSES and value]
        for value in causes or parents:
            self._add(value, self.roots)
        if causes:
            for value in parents:
                self._add(value, {})

    def link(self, contexts: Iterable[Context]) -> None:
        """Take what did not come in a record."""
        for context in contexts:
            self._keep(context, {})

    def root(self, contexts: Iterable[Context]) -> None:
        """Take requests that did not come in a record."""
        for context in contexts:
            self._keep(context, self.roots)

    def headers(self, own: Context) -> list[tuple[str, bytes]]:
        """Return what the records that follow carry: the span that wrote them, and what it comes from."""
        roots = list(self.roots)[:MOST_CAUSES]
        said = [(PARENT, str(own).encode())]
        return [*said, (CAUSES, ",".join(map(str, roots)).encode())] if roots else said

    def _add(self, value: bytes, group: dict[Context, None]) -> None:
        if value in self._seen:
            return
        self._seen.add(value)
        for text in value.decode("ascii", "replace").split(",")[:MOST_LINKS]:
            if (context := context_of(text)) is not None:
                self._keep(context, group)

    def _keep(self, context: Context, group: dict[Context, None]) -> None:
        if context.is_sampled and (context in self.links or len(self.links) < MOST_LINKS):
            self.links[context] = group[context] = None
