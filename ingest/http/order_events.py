"""Pure: what a stream of one order's events says next, and how it is written (text/event-stream)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ingest.followers import Said
from ingest.order_history import Place
from schemas.notices import event_of, is_final, order_document, refusal_document

RETRY_MS: Final = 2_000
"""After how long a client that lost us should come back."""
HEARTBEAT: Final = b": still here\n\n"
PREAMBLE: Final = b"retry: %d\n\n" % RETRY_MS
_ID: Final = re.compile(r"(\d{1,10})(?:\.(\d{1,9})\.(\d{1,18})(\.end)?)?", re.ASCII)


class EventId(NamedTuple):
    """The version a client knows; where to read on (None: not known); whether that was the last event."""

    version: int = 0
    place: Place | None = None
    ended: bool = False

    def text(self) -> str:
        """Return the `id` of an event: `version[.partition.offset[.end]]`, the same from every gateway."""
        where = f".{self.place.partition}.{self.place.offset}" if self.place else ""
        return f"{self.version}{where}{'.end' if self.ended else ''}"


def event_id_of(text: str) -> EventId:
    """Read a Last-Event-ID; raises ValueError."""
    found = _ID.fullmatch(text)
    if found is None:
        raise ValueError(f"Last-Event-ID {text[:40]!r} is none of ours: send the `id` of the last event, or none to hear everything")
    version, partition, offset, end = found.groups()
    return EventId(int(version), None if partition is None else Place(int(partition), int(offset)), bool(end))


class Event(NamedTuple):
    """One event of a stream."""

    event_id: EventId
    name: str
    document: Mapping[str, Any]

    def text(self) -> bytes:
        """Return it as it is sent. JSON holds no line ends."""
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (self.event_id.text().encode(), self.name.encode(), msgspec.json.encode(self.document))


class Teller:
    """Makes events of records, each once: records before `place` and versions not above `version` were told, or are known."""

    def __init__(self, version: int, place: Place | None = None) -> None:
        self.version = version
        self._place = place
        self.ended = False

    def of_log(self, records: Sequence[Said]) -> Iterator[Event]:
        """Yield the events of records of the log, in its order."""
        for record in records:
            if not self.ended and (self._place is None or record.offset >= self._place.offset):
                self._place = Place(record.partition, record.offset + 1)
                yield from self._of(record)

    def of_store(self, order: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the event of an order as the stores have it, if it is news. Its ID has no place: the stores do not know it."""
        if not self.ended and order["version"] > self.version:
            document = {name: value for name, value in order.items() if name != "age_ms"}
            self.version, self.ended = order["version"], _ended(document)
            yield Event(EventId(self.version), str(document["status"]), document)

    def accepted(self, order_id: int, place: Place) -> Event:
        """Return the event of an order that nothing was said of yet."""
        return Event(EventId(0, place), "accepted", {"order_id": str(order_id), "status": "accepted", "version": 0})

    def _of(self, record: Said) -> Iterator[Event]:
        if record.name == "OrderCommandRefused":
            yield Event(EventId(self.version, self._place), "command_refused", refusal_document(record.value))
        elif record.value["version"] > self.version:
            document = order_document(record.value)
            self.version, self.ended = record.value["version"], is_final(document)
            yield Event(EventId(self.version, self._place, self.ended), event_of(record.value), document)


def _ended(document: Mapping[str, Any]) -> bool:
    return "charged" in document and is_final(document)
