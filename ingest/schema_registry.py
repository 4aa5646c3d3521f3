"""Pure: our pinned schemas as a schema registry names them: subjects, versions, IDs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from schemas.codec import AVRO, schema_ids, schema_text
from schemas.topics import EVERY

NAMESPACE: Final = "holdfast"


class Version(NamedTuple):
    """One version of a subject."""

    subject: str
    version: int
    schema_id: int
    schema: str


@dataclass(frozen=True)
class Registry:
    """What a registry that holds nothing but our schemas would answer. `prefix`: of the topics' names on the brokers.

    A record is found under the three usual names: `holdfast.<Record>` (RecordNameStrategy), `<topic>-holdfast.<Record>`
    (TopicRecordNameStrategy), and, where it is the topic's only record, `<topic>-value` (TopicNameStrategy).
    """

    prefix: str = ""

    @cached_property
    def subjects(self) -> Mapping[str, tuple[Version, ...]]:
        """Versions, oldest first, by subject."""
        records = {f"{NAMESPACE}.{name}": name for name in schema_ids()}
        for topic in EVERY:
            named = topic.named(self.prefix)
            records |= {f"{named}-{NAMESPACE}.{name}": name for name in topic.records}
            if len(topic.records) == 1:
                records[f"{named}-value"] = topic.records[0]
        return {subject: _versions(subject, records[subject]) for subject in sorted(records)}

    @cached_property
    def by_id(self) -> Mapping[int, tuple[Version, ...]]:
        """Where a schema ID stands: one version of each subject of its record."""
        found: dict[int, tuple[Version, ...]] = {}
        for version in (v for versions in self.subjects.values() for v in versions):
            found[version.schema_id] = (*found.get(version.schema_id, ()), version)
        return found

    def same(self, subject: str, schema: str) -> Version | None:
        """Return the subject's version with this schema, however it is spaced; None if there is none."""
        wanted = _parsed(schema)
        return next((v for v in self.subjects.get(subject, ()) if wanted is not None and _parsed(v.schema) == wanted), None)


def _versions(subject: str, record: str) -> tuple[Version, ...]:
    return tuple(Version(subject, at, schema_id, text) for at, (schema_id, text) in enumerate(_texts(record), 1))


def _texts(record: str) -> list[tuple[int, str]]:
    """Each version's ID and schema, on one line."""
    *earlier, current = schema_ids()[record]
    texts = [(schema_id, (AVRO / "earlier" / f"{record}.{schema_id}.avsc").read_text()) for schema_id in earlier]
    return [(schema_id, json.dumps(json.loads(text), separators=(",", ":"))) for schema_id, text in [*texts, (current, schema_text(record))]]


def _parsed(schema: str) -> Any:
    try:
        return json.loads(schema)
    except (ValueError, RecursionError):
        return None
