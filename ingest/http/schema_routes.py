"""The read calls of a schema registry, for whoever reads our topics with a stock client. Answers and errors are the registry's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ingest.http.errors import ProblemType
from ingest.http.messages import Answer, Headers, Request, Response
from ingest.http.routes import Handler, Parameter, Route
from ingest.schema_registry import Registry, Version

if TYPE_CHECKING:
    from ingest.gateway import Gateway

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
COMPATIBILITY: Final = "BACKWARD_TRANSITIVE"
"""What a test of ours holds every changed schema to."""
_HEADERS: Final[Headers] = [("content-type", MEDIA_TYPE)]
_MOST_DIGITS: Final = 9
SUBJECT_UNKNOWN: Final = 40401
VERSION_UNKNOWN: Final = 40402
SCHEMA_UNKNOWN: Final = 40403
INCOMPATIBLE: Final = 409
UNREADABLE: Final = 42201
INVALID_VERSION: Final = 42202


class RegistryError(msgspec.Struct, frozen=True):
    """An error as a schema registry says it: `error_code` is the HTTP status, or that with two digits more."""

    error_code: int
    message: str


class SchemaBody(msgspec.Struct, frozen=True):
    """An Avro schema as JSON text. Other members of the registry's API may be there, and change nothing."""

    schema: str


class SchemaId(msgspec.Struct, frozen=True):
    """The ID that stands before each record."""

    id: int


class SchemaText(msgspec.Struct, frozen=True):
    """A schema as JSON text."""

    schema: str


class SubjectVersion(msgspec.Struct, frozen=True):
    """Where a schema stands."""

    subject: str
    version: int


class SubjectSchema(msgspec.Struct, frozen=True):
    """One version of a subject."""

    subject: str
    id: int
    version: int
    schema: str


class RegistryProblem(Exception):  # noqa: N818 (it is an answer)
    """What was asked for is not there."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def response(self) -> Response:
        """Return the answer."""
        return Response(int(str(self.code)[:3]), msgspec.json.encode(RegistryError(self.code, str(self))), _HEADERS)


Ask: TypeAlias = Callable[[Registry, Request, bytes], Any]
"""What is answered to a request with this body, as what JSON can hold, or bytes as they are. Raises RegistryProblem."""


@lru_cache(maxsize=8)
def registry_of(prefix: str) -> Registry:
    """Return the registry of the topics with a prefix; the schemas are read once."""
    return Registry(prefix)


def _handler(ask: Ask) -> Handler:
    async def handle(gateway: Gateway, request: Request) -> Answer:
        body = await request.incoming.whole() if request.method == "POST" else b""
        try:
            found = ask(registry_of(gateway.settings.topic_prefix), request, body)
        except RegistryProblem as problem:
            return problem.response()
        return Response(200, found if isinstance(found, bytes) else msgspec.json.encode(found), _HEADERS)

    return handle


def _with_id(registry: Registry, request: Request) -> Sequence[Version]:
    text = request.params["schema_id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else 0
    if number not in registry.by_id:
        raise RegistryProblem(SCHEMA_UNKNOWN, f"Schema {text[:20]!r} not found: no record of ours has this ID")
    return registry.by_id[number]


def _versions(registry: Registry, request: Request) -> Sequence[Version]:
    subject = request.params["subject"]
    if subject not in registry.subjects:
        raise RegistryProblem(SUBJECT_UNKNOWN, f"Subject '{subject[:200]}' not found: GET /subjects lists them")
    return registry.subjects[subject]


def _version(registry: Registry, request: Request) -> Version:
    versions, text = _versions(registry, request), request.params["version"]
    if text in {"latest", "-1"}:
        return versions[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and text[0] != "0"):
        raise RegistryProblem(INVALID_VERSION, f'The specified version {text[:20]!r} is not a valid version id: it is a number from 1, or "latest"')
    if int(text) > len(versions):
        raise RegistryProblem(VERSION_UNKNOWN, f"Version {text} not found: the latest is {len(versions)}")
    return versions[int(text) - 1]


def _same(registry: Registry, request: Request, body: bytes) -> Version | None:
    try:
        schema = msgspec.json.decode(body, type=SchemaBody).schema
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryProblem(UNREADABLE, f"The body is no request of a schema registry: {str(error)[:200]}") from error
    return registry.same(request.params["subject"], schema)


def _find(registry: Registry, request: Request, body: bytes) -> SubjectSchema:
    found = _same(registry, request, body)
    _versions(registry, request)
    if found is None:
        raise RegistryProblem(SCHEMA_UNKNOWN, "Schema not found: no version of this subject is this schema")
    return SubjectSchema(found.subject, found.schema_id, found.version, found.schema)


def _register(registry: Registry, request: Request, body: bytes) -> SchemaId:
    found = _same(registry, request, body)
    if found is None:
        raise RegistryProblem(INCOMPATIBLE, "This registry is read-only: its schemas are those of schemas/avro, and change with a release")
    return SchemaId(found.schema_id)


def _subject_schema(version: Version) -> SubjectSchema:
    return SubjectSchema(version.subject, version.schema_id, version.version, version.schema)


def _parameter(name: str, description: str, schema: dict[str, Any]) -> Parameter:
    return Parameter(name, "path", description, schema, required=True)


_SUBJECT: Final = _parameter(
    "subject", "`holdfast.<Record>`, `<topic>-holdfast.<Record>`, or `<topic>-value`.", {"type": "string", "examples": ["stock.levels-value"]}
)
_VERSION: Final = _parameter(
    "version", "A number from 1, or `latest`.", {"type": "string", "pattern": f"^(latest|-1|[1-9][0-9]{{0,{_MOST_DIGITS - 1}}})$", "examples": ["latest"]}
)
_SCHEMA_ID: Final = _parameter("schema_id", "The ID that stands before each record, bytes 1 to 4.", {"type": "string", "examples": ["101"]})
_NAMED: Final = {"schema_id": _SCHEMA_ID, "subject": _SUBJECT, "version": _VERSION}
_STRINGS: Final = {"type": "array", "items": {"type": "string"}}
_NUMBERS: Final = {"type": "array", "items": {"type": "integer"}}
_LEVEL: Final = {"type": "object", "properties": {"compatibilityLevel": {"type": "string"}}, "required": ["compatibilityLevel"]}
_MODE: Final = {"type": "object", "properties": {"mode": {"type": "string"}}, "required": ["mode"]}


def _route(path: str, ask: Ask, summary: str, answer: Any, refused: tuple[int, ...] = (), method: str = "GET") -> Route:
    return Route(
        method,
        path,
        _handler(ask),
        summary,
        body=SchemaBody if method == "POST" else None,
        body_type=MEDIA_TYPE,
        answers={200: answer, **dict.fromkeys(refused, RegistryError)},
        answer_type=MEDIA_TYPE,
        parameters=tuple(parameter for name, parameter in _NAMED.items() if f"{{{name}}}" in path),
        problems=(ProblemType.TOO_LARGE, ProblemType.REQUEST_TIMEOUT) if method == "POST" else (),
        tag="schemas",
    )


ROUTES: Final = (
    _route("/schemas/types", lambda _r, _q, _b: ["AVRO"], "The kinds of schemas", _STRINGS),
    _route("/schemas/ids/{schema_id}", lambda r, q, _b: SchemaText(_with_id(r, q)[0].schema), "The schema of an ID", SchemaText, (404,)),
    _route("/schemas/ids/{schema_id}/schema", lambda r, q, _b: _with_id(r, q)[0].schema.encode(), "The schema itself", {"type": "object"}, (404,)),
    _route("/schemas/ids/{schema_id}/subjects", lambda r, q, _b: [v.subject for v in _with_id(r, q)], "Where an ID is used", _STRINGS, (404,)),
    _route(
        "/schemas/ids/{schema_id}/versions",
        lambda r, q, _b: [SubjectVersion(v.subject, v.version) for v in _with_id(r, q)],
        "Where an ID is used, with versions",
        list[SubjectVersion],
        (404,),
    ),
    _route("/subjects", lambda r, _q, _b: list(r.subjects), "Every subject", _STRINGS),
    _route("/subjects/{subject}", _find, "Find a schema", SubjectSchema, (404, 422), "POST"),
    _route("/subjects/{subject}/versions", lambda r, q, _b: [v.version for v in _versions(r, q)], "A subject's versions", _NUMBERS, (404,)),
    _route("/subjects/{subject}/versions", _register, "The ID of a schema; a new one is refused", SchemaId, (409, 422), "POST"),
    _route("/subjects/{subject}/versions/{version}", lambda r, q, _b: _subject_schema(_version(r, q)), "One version", SubjectSchema, (404, 422)),
    _route("/subjects/{subject}/versions/{version}/schema", lambda r, q, _b: _version(r, q).schema.encode(), "Its schema", {"type": "object"}, (404, 422)),
    _route("/config", lambda _r, _q, _b: {"compatibilityLevel": COMPATIBILITY}, "What a new version has to be", _LEVEL),
    _route("/config/{subject}", lambda r, q, _b: _versions(r, q) and {"compatibilityLevel": COMPATIBILITY}, "The same, of a subject", _LEVEL, (404,)),
    _route("/mode", lambda _r, _q, _b: {"mode": "READONLY"}, "Nothing can be registered here", _MODE),
)
