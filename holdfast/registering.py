"""Our schemas into a schema registry, under the IDs that are pinned in schemas/avro: what is in the topics names those."""

import hashlib
import io
import json
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import fastavro

from holdfast.stack.apicurio import CCOMPAT, RegistryError
from ingest.schema_registry import Registry, Version

COMPATIBILITY = "BACKWARD_TRANSITIVE"
IMPORT = "/apis/registry/v3/admin/import?requireEmptyRegistry=false"
JSON = "application/json"
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Registered:
    """Subjects and versions in all, and how many of the versions are new."""

    subjects: int
    versions: int
    new: int


def register(url: str, prefix: str = "") -> Registered:
    """Bring every version of every subject into the registry at `url`, with compatibility checked from then on.

    May be repeated. Raises RegistryError when the registry holds another schema under one of our IDs, or finds a new version incompatible.
    """
    ours = Registry(prefix).subjects
    there = {subject: _ask("GET", f"{url}/subjects/{subject}/versions") or [] for subject in ours}
    missing = [v for subject, versions in ours.items() for v in versions if v.version not in there[subject]]
    _ask("PUT", f"{url}/config", json.dumps({"compatibility": COMPATIBILITY}).encode())
    if missing:
        root = url.removesuffix("/").removesuffix(CCOMPAT)
        _ask("POST", root + IMPORT, archive(missing), "application/zip")
    for version in missing:
        _add(url, version)
    check(url, ours)
    return Registered(len(ours), sum(map(len, ours.values())), len(missing))


def check(url: str, subjects: Mapping[str, tuple[Version, ...]]) -> None:
    """Raise RegistryError unless the registry holds each version under its subject, number and pinned ID."""
    for version in (v for versions in subjects.values() for v in versions):
        found = _ask("GET", f"{url}/subjects/{version.subject}/versions/{version.version}")
        if found is None or found["id"] != version.schema_id or not is_same(found["schema"], version.schema):
            held = f"ID {found['id']}" if found else "nothing"
            raise RegistryError(f"the registry has {held} as {version.subject} version {version.version}, not our schema with ID {version.schema_id}")


def is_same(schema: str, other: str) -> bool:
    """Whether two texts are one schema: a registry leaves out a namespace that is the one around it anyway."""
    return bool(fastavro.parse_schema(json.loads(schema)) == fastavro.parse_schema(json.loads(other)))


def archive(versions: Iterable[Version]) -> bytes:
    """The schemas as Apicurio exports contents, so that it takes their IDs as they are; a subject's version is then made of one by its text."""
    manifest = {"systemVersion": "3", "systemName": "holdfast", "exportVersion": "3.0", "exportedOn": 1}
    entries = {"manifest-1.Manifest.json": json.dumps(manifest)}
    for version in versions:
        digest = hashlib.sha256(version.schema.encode()).hexdigest()
        about = {"contentId": version.schema_id, "canonicalHash": digest, "contentHash": digest, "artifactType": "AVRO", "contentType": JSON}
        entries |= {f"content/{digest}.Content.json": json.dumps(about), f"content/{digest}.Content.data": version.schema}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, text in entries.items():
            file.writestr(name, text)
    return packed.getvalue()


def _add(url: str, version: Version) -> None:
    try:
        _ask("POST", f"{url}/subjects/{version.subject}/versions", json.dumps({"schema": version.schema}).encode())
    except RegistryError as error:
        raise RegistryError(f"{version.subject} version {version.version} (schema ID {version.schema_id}) was not taken: {error}") from error


def _ask(method: str, url: str, body: bytes | None = None, kind: str = JSON) -> Any:
    """What the registry answers, None for what it does not have."""
    if not url.startswith(("http://", "https://")):
        raise RegistryError(f"{url!r} is no URL of a schema registry: it looks like http://host:port{CCOMPAT}")
    request = urllib.request.Request(url, body, {"content-type": kind}, method=method)  # noqa: S310 (checked above)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            text = answer.read()
    except urllib.error.HTTPError as error:
        if error.code == 404 and method == "GET":
            return None
        raise RegistryError(f"the schema registry refused {method} {url}: {error.code} {error.read(500).decode(errors='replace')}") from error
    except OSError as error:
        raise RegistryError(f"the schema registry at {url} does not answer: {error}") from error
    return json.loads(text) if text else None
