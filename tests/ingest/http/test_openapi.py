"""The document of the route table, and the page of the document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway import ROUTES
from ingest.http.errors import ProblemBody, ProblemType, json_body
from ingest.http.html import page_of
from ingest.http.openapi import document_of, problems_of, text_of
from ingest.http.pages import wants_page
from ingest.http.routes import Route, up_to
from ingest.http.seams import Scope

DOCUMENT = document_of(ROUTES)
KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"
OPERATIONS = {(method.upper(), path): said for path, methods in DOCUMENT["paths"].items() for method, said in methods.items()}


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def test_the_kept_document_is_what_the_routes_say() -> None:
    assert KEPT.read_text() == text_of(ROUTES), "run `holdfast gateway --openapi > docs/openapi.json`"


def test_every_route_with_a_tag_is_there_under_a_name_of_its_own() -> None:
    assert set(OPERATIONS) == {(route.method, route.path) for route in ROUTES if route.tag}
    assert len({said["operationId"] for said in OPERATIONS.values()}) == len(OPERATIONS)
    assert {tag for said in OPERATIONS.values() for tag in said["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}


def test_every_parameter_of_a_path_is_described_and_required() -> None:
    for (method, path), said in OPERATIONS.items():
        described = [p["name"] for p in said.get("parameters", ()) if p["in"] == "path" and p["required"]]
        assert sorted(described) == sorted(re.findall(r"\{(\w+)\}", path)), (method, path)


def test_every_reference_leads_to_a_component() -> None:
    for reference in set(references(DOCUMENT)):
        _, components, kind, name = reference.split("/")
        assert name in DOCUMENT[components][kind], reference


def test_one_of_the_scopes_is_enough_and_none_is_no_key() -> None:
    route = next(route for route in ROUTES if len(route.scopes) > 1)
    assert OPERATIONS[route.method, route.path]["security"] == [{"bearer": [scope]} for scope in route.scopes]
    assert OPERATIONS["GET", "/livez"]["security"] == []
    closed = document_of([replace(route, scopes=(Scope.ADMIN,)) for route in ROUTES if route.path == "/metrics"])
    assert closed["paths"]["/metrics"]["get"]["security"] == [{"bearer": ["admin"]}]
    assert "401" in closed["paths"]["/metrics"]["get"]["responses"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.tag], ids=lambda route: route.name)
def test_every_problem_of_a_route_is_there_and_no_other(route: Route) -> None:
    responses = OPERATIONS[route.method, route.path]["responses"]
    expected = {kind: responses[str(kind.value.status)]["content"]["application/problem+json"]["schema"] for kind in problems_of(route)}
    for kind in ProblemType:
        body = ProblemBody(kind.uri, kind.value.title, kind.value.status, "because", "t" * 32)
        fits = [x for x in expected.values() if fits_schema(x, body)]
        assert bool(fits) == (kind in expected), kind


def fits_schema(schema: Any, body: ProblemBody) -> bool:
    rooted = {**schema, "components": DOCUMENT["components"]}
    return bool(jsonschema_rs.Draft202012Validator(rooted).is_valid(json.loads(json_body(body))))


def test_headers_stand_where_they_are_sent() -> None:
    answers = OPERATIONS["POST", "/v1/orders"]["responses"]
    assert {"Location", "Preference-Applied", "RateLimit", "RateLimit-Policy"} == set(answers["202"]["headers"])
    assert "Retry-After" in answers["429"]["headers"]
    assert "Retry-After" in answers["503"]["headers"]
    assert set(answers["401"]["headers"]) == {"WWW-Authenticate"}
    assert "ETag" in OPERATIONS["GET", "/v1/orders/{order_id}"]["responses"]["304"]["headers"]


@given(st.integers(10, 10**20), st.integers(0, 10**21))
def test_a_pattern_up_to_a_number_takes_what_is_not_over_it(most: int, number: int) -> None:
    pattern = re.compile(up_to(most))
    for each in (number, number % (most + 2), most, most + 1, 0):
        assert bool(pattern.fullmatch(str(each))) == (1 <= each <= most)
    assert not pattern.fullmatch(f"0{number}")


def test_a_page_escapes_what_a_document_says() -> None:
    route = replace(ROUTES[0], summary="<script>alert(1)</script>", description="a `<b>` & [x](javascript:alert(1))")
    page = page_of(document_of([route]))
    assert "<script>alert" not in page
    assert "<code>&lt;b&gt;</code> &amp;" in page
    assert 'href="javascript' not in page


@pytest.mark.parametrize(
    ("accept", "page"), [(None, False), ("*/*", False), ("application/json", False), ("text/html,application/xhtml+xml,*/*;q=0.8", True), ("Text/HTML", True)]
)
def test_a_browser_gets_a_page(accept: str | None, page: bool) -> None:
    assert wants_page(accept) == page
