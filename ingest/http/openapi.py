"""Pure: the OpenAPI 3.1 document of whatever is in the route table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from inspect import cleandoc
from typing import Any, Final, TypeAlias

import msgspec

from ingest.http.bodies import RULES
from ingest.http.errors import MEDIA_TYPE, ProblemBody, ProblemType
from ingest.http.media import NDJSON
from ingest.http.routes import Parameter, Route

Document: TypeAlias = dict[str, Any]
VERSION: Final = "1.0.0"
"""Of the API, by semantic versioning: the first number is that of its paths."""
_REF: Final = "#/components/schemas/{name}"
_INFO: Final = {
    "title": "Holdfast gateway",
    "version": VERSION,
    "summary": "Place, follow, cancel and read orders; keep stock.",
    "description": "An order is answered with 202 once the brokers have it, and is decided a moment later: wait for that with `Prefer: wait=N`, follow "
    "`/v1/orders/{order_id}/events`, or read the order. IDs are strings. Money is in minor units of the currency. Whatever is not done is answered "
    "with a problem (RFC 9457), whose `type` leads to a page about it. GET is for HEAD as well. Path parameters are percent-encoded, slashes too.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}
_TAGS: Final = {
    "orders": "Place, follow, change and read orders.",
    "products": "Read stock and move it.",
    "schemas": "The read calls of a schema registry, for clients of the topics.",
    "operation": "Health and figures of one gateway process.",
    "documentation": "This document, a page to read it, and what each problem means.",
}
_SECURITY: Final = {"type": "http", "scheme": "bearer", "description": "An API key. `holdfast keys create` makes one; it carries scopes."}
_TEXT: Final = {"type": "string"}
_LIMIT_HEADERS: Final = ("RateLimit", "RateLimit-Policy")
_HEADERS: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "Location": ("Where the order can be read.", _TEXT),
    "ETag": ("The version, as a weak validator.", {"type": "string", "pattern": '^W/"[0-9]+"$'}),
    "Preference-Applied": ("For how many seconds was waited at most; only where `Prefer: wait=N` was sent.", _TEXT),
    "Retry-After": ("Come back after so many seconds.", {"type": "integer", "minimum": 1}),
    "WWW-Authenticate": ("What kind of key is wanted (RFC 6750).", _TEXT),
    "RateLimit": ("Tokens left (`r`), and the seconds until all are back (`t`), of the key and of its user.", _TEXT),
    "RateLimit-Policy": ("Most tokens at once (`q`), and the seconds in which they come back (`w`).", _TEXT),
}
_HEADERS_OF_STATUS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    403: ("WWW-Authenticate",),
    409: ("Retry-After",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
_WORD: Final = re.compile(r"\W+")


def text_of(routes: Iterable[Route]) -> str:
    """Return the document as it is kept in docs/openapi.json."""
    return msgspec.json.format(msgspec.json.encode(document_of(routes)), indent=2).decode() + "\n"


def document_of(routes: Iterable[Route]) -> Document:
    """Return the OpenAPI 3.1 document of a table of routes."""
    listed = [route for route in routes if route.tag]
    schemas = _Schemas(listed)
    paths: dict[str, Document] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas.components, "headers": _header_components(), "securitySchemes": {"bearer": _SECURITY}},
    }


def problems_of(route: Route) -> list[ProblemType]:
    """Return every type of problem that a route may answer, in the order in which they are named."""
    found = {*route.problems, ProblemType.INTERNAL}
    if route.scopes:
        found |= {ProblemType.UNAUTHENTICATED, ProblemType.FORBIDDEN, ProblemType.TOO_MANY_REQUESTS, ProblemType.UNAVAILABLE}
    if "{" in route.path:
        found |= {ProblemType.MALFORMED_REQUEST, ProblemType.NOT_FOUND}
    if route.body is not None:
        found |= {ProblemType.MALFORMED_REQUEST}
    if route.sheds:
        found |= {ProblemType.OVERLOADED}
    return [kind for kind in ProblemType if kind in found]


class _Schemas:
    """Schemas of the routes' bodies and answers: structs by reference, JSON schemas as they are."""

    def __init__(self, routes: Iterable[Route]) -> None:
        named = [kind for route in routes for kind in (route.body, *route.answers.values()) if _is_type(kind)]
        kinds = list(dict.fromkeys((*named, ProblemBody)))
        found, self.components = msgspec.json.schema_components(kinds, ref_template=_REF)
        self._found = dict(zip(kinds, found, strict=True))
        for name, schema in self.components.items():
            schema["description"] = cleandoc(schema["description"])
            schema.update(RULES.get(name, {}))

    def of(self, kind: Any, media_type: str = "application/json") -> Any:
        """Return the schema of a body or an answer in a media type."""
        schema = self._found[kind] if _is_type(kind) else dict(kind)
        if media_type != NDJSON:
            return schema
        return {"type": "string", "description": "One JSON object a line.", "contentMediaType": NDJSON, "contentSchema": schema}


def _is_type(kind: Any) -> bool:
    return kind is not None and not isinstance(kind, Mapping)


def _operation(route: Route, schemas: _Schemas) -> Document:
    said: Document = {
        "operationId": _WORD.sub("_", f"{route.method.lower()} {route.path}").strip("_"),
        "summary": route.summary,
        "tags": [route.tag],
        "responses": _responses(route, schemas),
        # One of them is enough.
        "security": [{"bearer": [str(scope)]} for scope in route.scopes],
    }
    about = " ".join(text for text in (route.description.strip(), _scopes_text(route)) if text)
    if about:
        said["description"] = about
    if route.parameters:
        said["parameters"] = [_parameter(parameter) for parameter in route.parameters]
    if route.body is not None:
        said["requestBody"] = {"required": route.body_required, "content": {route.body_type: {"schema": schemas.of(route.body, route.body_type)}}}
    return said


def _scopes_text(route: Route) -> str:
    return f"Needs a key with the scope {' or '.join(f'`{scope}`' for scope in route.scopes)}, or `admin`." if route.scopes else ""


def _parameter(parameter: Parameter) -> Document:
    schema = dict(parameter.schema)
    return {"name": parameter.name, "in": parameter.where, "description": parameter.description, "required": parameter.required, "schema": schema}


def _responses(route: Route, schemas: _Schemas) -> Document:
    problems: dict[int, list[ProblemType]] = {}
    for kind in problems_of(route):
        problems.setdefault(kind.value.status, []).append(kind)
    return {str(status): _response(route, status, problems.get(status, []), schemas) for status in sorted({*route.answers, *problems})}


def _response(route: Route, status: int, problems: list[ProblemType], schemas: _Schemas) -> Document:
    good = route.answers.get(status)
    content: Document = {} if good is None else {route.answer_type: {"schema": schemas.of(good, route.answer_type)}}
    if problems:
        content[MEDIA_TYPE] = {"schema": _problem_schema(status, problems)}
    told = "\n".join(f"- [`{kind.slug}`]({kind.uri}): {kind.value.title}. {kind.value.advice}" for kind in problems)
    said: Document = {"description": told or HTTPStatus(status).phrase}
    if headers := _headers_of(route, status):
        said["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return said | ({"content": content} if content else {})


def _problem_schema(status: int, problems: list[ProblemType]) -> Document:
    exactly = {"type": {"enum": [kind.uri for kind in problems]}, "status": {"const": status}}
    return {"allOf": [{"$ref": _REF.format(name=ProblemBody.__name__)}, {"properties": exactly}]}


def _headers_of(route: Route, status: int) -> tuple[str, ...]:
    own = route.headers if status < 400 and status in route.answers else _HEADERS_OF_STATUS.get(status, ())
    limits = _LIMIT_HEADERS if route.scopes and status != HTTPStatus.UNAUTHORIZED else ()
    return (*own, *limits)


def _header_components() -> Document:
    return {name: {"description": text, "schema": dict(schema)} for name, (text, schema) in _HEADERS.items()}
