"""The pure parts of the gateway: traces, lines, waits, routes, shedding, who may do what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.gateway import ROUTES
from ingest.http.errors import Problem, ProblemType, pointer_of
from ingest.http.messages import Request
from ingest.http.ndjson import parts_of
from ingest.http.routes import RouteTable
from ingest.http.seams import Caller, Scope
from ingest.http.shedding import SLOW_S, shed
from ingest.http.trace import sent_trace, trace_of
from ingest.http.waiting import wait_of
from telemetry.context import carried_headers

SENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("header", [SENT, "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later"])
def test_a_trace_goes_on_under_a_span_of_our_own(header: str) -> None:
    trace = trace_of(header)
    version, trace_id, span, flags = trace.parent.split("-")
    assert (version, trace_id, flags, trace.trace_id) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01", trace_id)
    assert len(span) == 16
    assert span != "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "state", "expected"),
    [
        (SENT, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (SENT, None, ""),
        (SENT, "", ""),
        (SENT, "a=1\nb", ""),
        (SENT, "a=\u00e9", ""),
        (SENT, "a=" + "1" * 510, "a=" + "1" * 510),
        (SENT, "a=" + "1" * 511, ""),
        ("nonsense", "rojo=1", ""),
        (None, "rojo=1", ""),
    ],
)
def test_a_tracestate_goes_along_with_its_trace_alone(header: str | None, state: str | None, expected: str) -> None:
    trace = trace_of(sent_trace({"traceparent": header, "tracestate": state}.get))
    assert trace.parent.partition("\n")[2] == expected
    assert [name for name, _ in carried_headers([trace.parent])] == ["traceparent"] + ["tracestate"] * bool(expected)


@pytest.mark.parametrize("header", [None, "", SENT.upper(), SENT + "-more", SENT[:-1], "ff" + SENT[2:], f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_what_is_no_trace_begins_one(header: str | None) -> None:
    trace = trace_of(header)
    assert trace.trace_id != "4bf92f3577b34da6a3ce929d0e0e4736"
    assert trace_of(trace.parent).trace_id == trace.trace_id


def read(pieces: list[bytes], most: int) -> list[bytes]:
    async def incoming() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def all_parts() -> list[bytes]:
        return [part async for part in parts_of(incoming(), most)]

    return asyncio.run(all_parts())


@given(st.lists(st.binary(max_size=6).map(lambda b: b.replace(b"x", b"\n")), max_size=12))
def test_parts_are_whole_lines_and_nothing_is_lost(pieces: list[bytes]) -> None:
    parts = read(pieces, 1_000)
    assert b"".join(parts) == b"".join(pieces)
    assert all(part.endswith(b"\n") for part in parts[:-1])
    assert len(parts) <= sum(b"\n" in piece for piece in pieces) + 1


def test_a_line_is_bounded_before_it_ends() -> None:
    with pytest.raises(Problem) as caught:
        read([b"ok\n", b"x" * 60, b"x" * 60, b"\n"], 100)
    assert caught.value.kind is ProblemType.TOO_LARGE


def request(**headers: str) -> Request:
    return Request("POST", "/", "", headers, "", None, trace_of(None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("wait=5", 5),
        ("respond-async, wait=7", 7),
        ("Wait = 3; x=y", 3),
        ('wait="4"', 4),
        ("wait=99999", 30),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("nowait=3", 0),
        ("", 0),
    ],
)
def test_waits(said: str, seconds: float) -> None:
    assert wait_of(request(prefer=said), 30) == seconds
    assert wait_of(request(), 30) == 0


@pytest.mark.parametrize(
    ("method", "path", "name", "params"),
    [
        ("POST", "/v1/orders", "POST /v1/orders", {}),
        ("POST", "/v1/orders:batch", "POST /v1/orders:batch", {}),
        ("POST", "/v1/orders/7/cancel", "POST /v1/orders/{order_id}/cancel", {"order_id": "7"}),
        ("POST", "/v1/products/a/b/restock", "POST /v1/products/{product_id}/restock", {"product_id": "a/b"}),
        ("POST", "/v1/products/restock/restock", "POST /v1/products/{product_id}/restock", {"product_id": "restock"}),
        ("POST", "/v1/products/a\nb/freeze", "POST /v1/products/{product_id}/freeze", {"product_id": "a\nb"}),
        ("HEAD", "/livez", "GET /livez", {}),
    ],
)
def test_routes_are_found(method: str, path: str, name: str, params: dict[str, str]) -> None:
    route, found = RouteTable(ROUTES).find(method, path)
    assert (route.name, dict(found)) == (name, params)


@pytest.mark.parametrize(
    ("method", "path", "kind"), [("GET", "/v2", "NOT_FOUND"), ("POST", "/v1/orders/", "NOT_FOUND"), ("DELETE", "/v1/orders", "METHOD_NOT_ALLOWED")]
)
def test_routes_that_are_not_there(method: str, path: str, kind: str) -> None:
    with pytest.raises(Problem) as caught:
        RouteTable(ROUTES).find(method, path)
    assert caught.value.kind.name == kind


def test_every_operation_is_named_once_and_every_route_of_the_api_needs_a_scope() -> None:
    names = [route.name for route in ROUTES]
    assert len(names) == len(set(names))
    assert [route.name for route in ROUTES if route.path.startswith("/v1/") and not route.scopes] == []


@given(st.integers(0, 1_000), st.floats(0, 100), st.integers(1, 1_000))
def test_shedding_begins_where_it_should(size: int, oldest_s: float, most: int) -> None:
    after_s = shed(size, oldest_s, most)
    assert (after_s is None) == (size < most and oldest_s < SLOW_S)
    assert after_s is None or after_s > 0


@pytest.mark.parametrize(("path", "pointer"), [("$", ""), ("$.lines[2].quantity", "/lines/2/quantity"), ("lines[0]", "/lines/0"), ("a~b", "/a~0b")])
def test_pointers(path: str, pointer: str) -> None:
    assert pointer_of(path) == pointer


def test_who_may_do_what() -> None:
    own, admin = Caller("u1", frozenset({Scope.PLACE})), Caller("root", frozenset({Scope.ADMIN}))
    own.check_user("u1")
    own.check_scopes((Scope.STOCK, Scope.PLACE))
    admin.check_user("u2")
    admin.check_scopes((Scope.STOCK,))
    for wrong in (lambda: own.check_user("u2"), lambda: own.check_scopes((Scope.READ,))):
        with pytest.raises(Problem) as caught:
            wrong()
        assert caught.value.kind is ProblemType.FORBIDDEN
