"""The documentation, for people and for programs: `/docs`, `/openapi.json`, `/problems/{type}`. No key is needed, and nothing comes from elsewhere."""

from __future__ import annotations

from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec

from ingest.http.errors import PREFIX, Problem, ProblemType, json_body
from ingest.http.html import page_of, problem_page, problems_page
from ingest.http.messages import JSON, Answer, Headers, Request, Response
from ingest.http.openapi import document_of
from ingest.http.routes import Handler, Parameter, Route

if TYPE_CHECKING:
    from ingest.gateway import Gateway

HTML: Final = ("content-type", "text/html; charset=utf-8")
_POLICY: Final = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_FRESH: Final = ("cache-control", "no-cache")
_PAGE: Final[Headers] = [HTML, _FRESH, ("content-security-policy", _POLICY), ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")]
_DOCUMENT: Final[Headers] = [JSON, _FRESH, ("access-control-allow-origin", "*")]
_VARY: Final = ("vary", "accept")
_BY_SLUG: Final = {kind.slug: kind for kind in ProblemType}


class ProblemKind(msgspec.Struct, frozen=True):
    """A type of problem: what `type` of an answer refers to."""

    type: str
    status: int
    title: str
    advice: str


class Documentation:
    """The documents of one table of routes, each made when it is first asked for."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._routes = routes

    @cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document, as JSON."""
        return json_body(document_of(self._routes))

    @cached_property
    def page(self) -> bytes:
        """The same to read, as HTML."""
        return page_of(document_of(self._routes)).encode()


async def openapi(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001 (every handler takes both)
    """The OpenAPI document of this gateway."""
    return Response(200, gateway.documentation.openapi, _DOCUMENT)


async def docs(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
    """The same, as a page."""
    return Response(200, gateway.documentation.page, _PAGE)


async def home(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
    """Lead people to the page."""
    return Response(302, b"", [("location", "/docs")])


async def problems(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
    """Every type of problem."""
    if wants_page(request.headers.get("accept")):
        return Response(200, problems_page(ProblemType).encode(), [*_PAGE, _VARY])
    return Response(200, json_body([_kind(each) for each in ProblemType]), [*_DOCUMENT, _VARY])


async def problem(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
    """One type of problem; raises Problem (404)."""
    kind = _BY_SLUG.get(request.params["problem"])
    if kind is None:
        raise Problem(ProblemType.NOT_FOUND, f"there is no such type of problem; {PREFIX.rstrip('/')} lists those there are")
    if wants_page(request.headers.get("accept")):
        return Response(200, problem_page(kind).encode(), [*_PAGE, _VARY])
    return Response(200, json_body(_kind(kind)), [*_DOCUMENT, _VARY])


def wants_page(accept: str | None) -> bool:
    """Say whether who asks is a browser: those name HTML, programs do not."""
    return accept is not None and "text/html" in accept.lower()


def _kind(kind: ProblemType) -> ProblemKind:
    return ProblemKind(kind.uri, kind.value.status, kind.value.title, kind.value.advice)


def _file(name: str, media_type: str) -> Handler:
    body = resources.files(__package__).joinpath("static", name).read_bytes()
    headers: Headers = [("content-type", f"{media_type}; charset=utf-8"), _FRESH, ("x-content-type-options", "nosniff")]

    async def handle(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
        return Response(200, body, headers)

    return handle


_SLUG: Final = Parameter("problem", "path", "The last part of a problem's `type`.", {"type": "string", "enum": list(_BY_SLUG)}, required=True)
_AS_PAGE: Final = "A page, where `Accept` names `text/html`."
_TAG: Final = "documentation"
ROUTES: Final = (
    Route("GET", "/openapi.json", openapi, "This document", answers={200: {"type": "object"}}, tag=_TAG),
    Route("GET", "/docs", docs, "This document, to read", answers={200: {"type": "string"}}, answer_type="text/html", tag=_TAG),
    Route("GET", "/problems", problems, "Every type of problem", description=_AS_PAGE, answers={200: list[ProblemKind]}, tag=_TAG),
    Route("GET", "/problems/{problem}", problem, "One type of problem", description=_AS_PAGE, answers={200: ProblemKind}, parameters=(_SLUG,), tag=_TAG),
    Route("GET", "/", home, "To the documentation", tag=""),
    Route("GET", "/docs/page.css", _file("page.css", "text/css"), "How the pages look", tag=""),
    Route("GET", "/docs/page.js", _file("page.js", "text/javascript"), "The page's filter", tag=""),
)
