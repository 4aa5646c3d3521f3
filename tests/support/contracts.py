"""The rules for changing a record, checked over a folder like schemas/avro. Pure but for reading the files.

To change a record: keep the version before as earlier/NAME.ID.avsc, give the new one an unused ID at the end of its list in
ids.json, and pin its fingerprint in fingerprints.json. Nothing that was ever written may become unreadable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.codec import COLUMNAR


class Version(NamedTuple):
    """One version of a record: its pinned ID and where its schema stands."""

    name: str
    schema_id: int
    path: Path

    def schema(self) -> Any:
        return json.loads(self.path.read_text())


def versions(folder: Path) -> dict[str, list[Version]]:
    """Return every record's versions as ids.json pins them, oldest first; the last is the one written."""
    ids: dict[str, list[int]] = json.loads((folder / "ids.json").read_text())
    return {
        name: [*(Version(name, i, folder / "earlier" / f"{name}.{i}.avsc") for i in known[:-1]), Version(name, known[-1], folder / f"{name}.avsc")]
        for name, known in ids.items()
    }


def fingerprint(schema: Any) -> str:
    """Return the SHA-256 of a schema in one fixed spelling, docs left out.

    Not Avro's Parsing Canonical Form: that drops defaults and logical types, and both are part of the contract.
    """
    return hashlib.sha256(json.dumps(_without_docs(schema), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_docs(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _without_docs(value) for key, value in schema.items() if key != "doc"}
    return [_without_docs(part) for part in schema] if isinstance(schema, list) else schema


def problems(folder: Path) -> list[str]:
    """Return everything that is wrong with a folder of schemas, in words that say what to do."""
    found = [*_id_problems(folder), *_file_problems(folder)]
    return found or [*_fingerprint_problems(folder), *_compatibility_problems(folder)]


def _id_problems(folder: Path) -> Iterator[str]:
    known: dict[int, str] = {}
    for name, all_of_it in versions(folder).items():
        for version in all_of_it:
            other = known.setdefault(version.schema_id, name)
            if other != name:
                yield f"schema ID {version.schema_id} stands for {other} and for {name}: give {name} an unused one"
        for before, after in pairwise(version.schema_id for version in all_of_it):
            if before >= after:
                yield f"{name} has schema ID {after} after {before}: new versions take higher IDs"


def _file_problems(folder: Path) -> Iterator[str]:
    expected = {version.path for all_of_it in versions(folder).values() for version in all_of_it}
    there = set(folder.rglob("*.avsc"))
    yield from (f"{path.name} is in ids.json, but there is no such file" for path in sorted(expected - there))
    yield from (f"{path.name} has no schema ID in ids.json" for path in sorted(there - expected))
    for version in (v for all_of_it in versions(folder).values() for v in all_of_it if v.path in there):
        if version.schema()["name"] != version.name:
            yield f"{version.path.name} is the schema of a {version.schema()['name']}"


def _fingerprint_problems(folder: Path) -> Iterator[str]:
    pinned: dict[str, str] = json.loads((folder / "fingerprints.json").read_text())
    found = {str(v.schema_id): fingerprint(v.schema()) for all_of_it in versions(folder).values() for v in all_of_it}
    for schema_id, print_ in found.items():
        if schema_id not in pinned:
            yield f"pin schema ID {schema_id} in fingerprints.json: {print_}"
        elif pinned[schema_id] != print_:
            yield f"schema ID {schema_id} is pinned with another schema: keep that one in earlier/ and give the new one a new ID"
    yield from (f"fingerprints.json pins schema ID {i}, which ids.json has lost: what was written with it is unreadable" for i in pinned.keys() - found)


def _compatibility_problems(folder: Path) -> Iterator[str]:
    for all_of_it in versions(folder).values():
        *earlier, current = all_of_it
        for writer in earlier:
            yield from (f"{current.name} {current.schema_id} cannot read {writer.schema_id}: {why}" for why in incompatibilities(current, writer))


def incompatibilities(reader: Version, writer: Version) -> list[str]:
    """Return why a reader with one version could not take what was written with another."""
    reads, writes = (avro.schema.parse(json.dumps(version.schema())) for version in (reader, writer))
    result = ReaderWriterCompatibilityChecker().get_compatibility(reads, writes)  # type: ignore[no-untyped-call]
    found = [] if result.compatibility is SchemaCompatibilityType.compatible else sorted(result.messages)
    if reader.name in COLUMNAR and columns(reader.schema()) != columns(writer.schema()):
        # Avro lets a new column default to an empty one; beside columns with items that is a record of unequal columns.
        found.append("a columnar record keeps its columns: make a new record for other ones")
    return found


def columns(schema: Any) -> set[str]:
    """Return the parallel columns of a columnar record."""
    return {field["name"] for field in schema["fields"] if field["type"] == "bytes" or isinstance(field["type"], dict)}
