"""The OpenAPI document against the running gateway, and what no document describes: neither makes it answer 500 or hang."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.http.errors import ProblemType
from tests.support.gateway import GatewayProcess, closed_after, new_key, order_body, running_gateway
from tests.support.pipeline import Pipeline, running
from tests.support.stack import unique_name

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "tests" / "support" / "contract.toml"
SHORT = {"gateway_events_lifetime": "0.1", "gateway_events_heartbeat": "0.05", "gateway_max_wait": "0.3", "gateway_read_wait": "0.05"}
MAX_BODY = 65_536


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    found = Pipeline(kafka, unique_name("c"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)
    with running(found):
        worker = found.worker()
        found.sinks()
        found.await_open(worker)
        yield found


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    """Impatient: streams end soon, nobody is waited for, and what is slow is let go after a second."""
    impatient = {"gateway_max_body": str(MAX_BODY), "gateway_header_timeout": "1", "gateway_body_timeout": "1"}
    with running_gateway(pipeline, **SHORT, **impatient) as found:
        yield found


# -- the document --------------------------------------------------------------------------------------------------------


def contract(gateway: GatewayProcess, pipeline: Pipeline, *options: str) -> None:
    """Run every check of schemathesis on every operation; raises AssertionError with its report."""
    assert pipeline.mysql
    # Bound to a user, so that a list without `user` is theirs; an admin's, so that every operation is open to it.
    environment = {**os.environ, "HOLDFAST_TEST_KEY": new_key(pipeline.mysql, "admin", user="u1"), "COLUMNS": "160", "PYTHONPATH": str(ROOT)}
    # One worker: in threads, Python 3.11 fails now and then to parse what hypothesis shows it ("AST constructor recursion depth mismatch").
    tool = Path(sys.executable).with_name("schemathesis")
    command = [str(tool), "--config-file", str(CONFIG), "run", f"{gateway.url}/openapi.json", "--continue-on-failure", "--no-color", "--workers", "1"]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=3_600, check=False, cwd=pipeline.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    selected = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", done.stdout)
    assert selected, done.stdout
    assert len(set(selected.groups())) == 1, done.stdout


def test_the_gateway_does_what_its_document_says(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    contract(gateway, pipeline, "--phases", "examples,coverage", "--seed", "1")


def test_it_does_so_for_what_is_drawn_at_random(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    contract(gateway, pipeline, "--phases", "fuzzing,stateful", "--max-examples", "5")


@pytest.mark.long
def test_it_does_so_for_much_more(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    contract(gateway, pipeline, "--phases", "fuzzing,stateful", "--max-examples", "60")


def test_the_document_names_every_route_with_its_scopes(gateway: GatewayProcess) -> None:
    with gateway.client(key="") as client:
        document = client.get("/openapi.json").json()
        assert document["openapi"] == "3.1.0"
        for path, methods in document["paths"].items():
            for method, said in methods.items():
                answer = client.request(method, re.sub(r"\{\w+\}", "1", path))
                assert (answer.status_code == 401) == bool(said["security"]), (method, path, answer.status_code)


# -- the pages -----------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """The addresses that a page asks for, and its anchors."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.asked: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.asked |= {value for name in ("href", "src") if (value := named.get(name))}
        if anchor := named.get("id"):
            assert anchor not in self.anchors, anchor
            self.anchors.add(anchor)


@pytest.mark.parametrize("path", ["/docs", "/problems", "/problems/key-reused"])
def test_every_link_of_a_page_leads_somewhere_here(gateway: GatewayProcess, path: str) -> None:
    with gateway.client(key="", headers={"accept": "text/html"}) as client:
        page = client.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        links = Links(page.text)
        assert {x[1:] for x in links.asked if x.startswith("#")} <= links.anchors
        elsewhere = {x for x in links.asked if not x.startswith("#")} - {"data:,"}
        assert all(x.startswith("/") for x in elsewhere), elsewhere
        assert {x: client.get(x).status_code for x in elsewhere} == dict.fromkeys(elsewhere, 200)


def test_the_page_names_every_operation(gateway: GatewayProcess) -> None:
    document, page = gateway.get("/openapi.json").json(), gateway.get("/docs").text
    operations = {said["operationId"] for methods in document["paths"].values() for said in methods.values()}
    assert operations <= Links(page).anchors


@pytest.mark.parametrize("kind", list(ProblemType), ids=lambda kind: kind.slug)
def test_the_type_of_a_problem_leads_to_what_it_means(gateway: GatewayProcess, kind: ProblemType) -> None:
    with gateway.client(key="") as client:
        said = client.get(kind.uri)
        assert said.json() == {"type": kind.uri, "status": kind.value.status, "title": kind.value.title, "advice": kind.value.advice}
        assert kind.value.title in client.get(kind.uri, headers={"accept": "text/html,*/*"}).text


def test_the_root_leads_to_the_documentation(gateway: GatewayProcess) -> None:
    answer = gateway.get("/")
    assert (answer.status_code, answer.headers["location"]) == (302, "/docs")


# -- what no document describes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"cl\xe9", "clé".encode(), b"", b"a b", b"\xff"])
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/products/p/restock"])
def test_a_key_that_cannot_be_is_never_taken_for_none(gateway: GatewayProcess, key: bytes, path: str) -> None:
    body = json.dumps(order_body() if path == "/v1/orders" else {"quantity": 1}).encode()
    said = sent(gateway, head("POST", path, gateway.authorization + b"Idempotency-Key: %s\r\nContent-Length: %d\r\n" % (key, len(body))) + body)
    assert b" 400 " in said.splitlines()[0]
    assert b"idempotency-key" in said.lower()


METHODS = ["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW", "get", ""]
PATHS = ["/v1/orders", "/v1/orders/7", "/v1/orders/7/cancel", "/v1/orders/7/events", "/v1/orders:batch", "/v1/products/p/restock", "/v1/products"]
PATHS += ["/subjects/x/versions", "/problems/x", "/", "*", "//", "/%00", "/%ff%fe", "/v1/products/%2e%2e/%00", "/v1/orders/9" + "9" * 400, "http://x/v1/orders"]
NAMES = [b"Content-Type", b"Content-Length", b"Transfer-Encoding", b"Idempotency-Key", b"Prefer", b"Authorization", b"If-None-Match", b"Accept"]
NAMES += [b"Last-Event-ID", b"traceparent", b"Expect", b"Upgrade", b"Connection", b"Host", b"X-\xff", b"Content-Encoding", b"Range", b"Cookie"]
VALUES = [
    b"",
    b"0",
    b"-1",
    b"9" * 40,
    b"chunked",
    b"gzip, chunked",
    b"application/json",
    b"100-continue",
    b"h2c",
    b"wait=5",
    b"wait=9999999999",
    b"\xff\x00",
    b"*",
]
VALUES += [
    b"Bearer hf_",
    b"Bearer " + b"x" * 5_000,
    b"text/html",
    b"bytes=0-1",
    b"1.2.3",
    b"close",
    b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01",
    b"\t",
    b'W/"1"',
]
header_lines = st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(VALUES), st.binary(max_size=60))), max_size=5)
bodies = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(
        [b"{}", b"[" * 60_000, b'"' + b"\\ud800" * 10, b'{"quantity": 1e400}', b"\n" * 1_000, b"\x00", b"5\r\n{}", b"0\r\n\r\n", b"fffffffffffffffff\r\n"]
    ),
    st.just(json.dumps(order_body()).encode()),
)
queries = st.one_of(
    st.just(""), st.sampled_from(["?ids=%00", "?min_version=1e9", "?user=%ff", "?" + "&".join(["a=b"] * 2_000), "?limit=0&cursor=%F0%9F", "?=", "?#"])
)


def head(method: str, path: str, headers: bytes) -> bytes:
    return b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n" % (method.encode(), path.encode(), headers)


def sent(gateway: GatewayProcess, data: bytes) -> bytes:
    """Send bytes on a connection of their own and return all that comes back; raises TimeoutError where it is never closed."""
    with gateway.connect() as connection:
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        return closed_after(connection)[0]


def check_answers(said: bytes) -> None:
    for line in re.findall(rb"HTTP/1\.[01] (\d{3})", said):
        assert int(line) < 500 or int(line) == 503, said[:2_000]


@settings(max_examples=150)
@given(st.sampled_from(METHODS), st.sampled_from(PATHS), queries, header_lines, bodies, st.booleans())
def test_odd_requests_are_answered(
    gateway: GatewayProcess, method: str, path: str, query: str, lines: list[tuple[bytes, bytes]], body: bytes, known: bool
) -> None:
    own = gateway.authorization if known else b""
    length = b"" if any(name in (b"Content-Length", b"Transfer-Encoding") for name, _ in lines) else b"Content-Length: %d\r\n" % len(body)
    check_answers(sent(gateway, head(method, path + query, own + length + b"".join(b"%s: %s\r\n" % line for line in lines)) + body))


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=400))
def test_bytes_that_are_no_request_are_let_go(gateway: GatewayProcess, data: bytes) -> None:
    check_answers(sent(gateway, data))


def _flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.randint(1, 6)):
        changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


@settings(max_examples=100)
@given(st.randoms(use_true_random=False))
def test_a_good_request_with_a_few_wrong_bytes_is_answered(gateway: GatewayProcess, draw: random.Random) -> None:
    body = json.dumps(order_body()).encode()
    good = head("POST", "/v1/orders", gateway.authorization + b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)) + body
    check_answers(sent(gateway, _flipped(good, draw)))


HUGE: dict[str, Callable[[bytes], bytes]] = {
    "a header": lambda key: head("GET", "/v1/products/p", key + b"X-Huge: " + b"x" * 1_000_000 + b"\r\n"),
    "many headers": lambda key: head("GET", "/v1/products/p", key + b"X-N: 1\r\n" * 20_000),
    "a path": lambda key: head("GET", "/v1/products/" + "x" * 1_000_000, key),
    "a length": lambda key: head("POST", "/v1/orders", key + b"Content-Length: 99999999999999\r\n") + b"{",
    "a body": lambda key: head("POST", "/v1/orders", key + b"Content-Length: 5000000\r\n") + b" " * 5_000_000,
    "a chunk": lambda key: head("POST", "/v1/orders", key + b"Transfer-Encoding: chunked\r\n") + b"4c4b40\r\n" + b" " * 5_000_000,
    "a batch's line": lambda key: head("POST", "/v1/orders:batch", key + b"Content-Length: 5000000\r\n") + b" " * 5_000_000,
    "a schema": lambda key: head("POST", "/subjects/x", b"Content-Length: 5000000\r\n") + b" " * 5_000_000,
}
SLOW: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda key: b"",
    "half a line": lambda key: b"POST /v1/or",
    "half a head": lambda key: b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nX: ",
    "half a body": lambda key: head("POST", "/v1/orders", key + b"Content-Length: 50\r\n") + b"{",
    "half a chunk": lambda key: head("POST", "/v1/orders", key + b"Transfer-Encoding: chunked\r\n") + b"5\r\n{",
    "half a batch": lambda key: head("POST", "/v1/orders:batch", key + b"Content-Length: 50\r\n") + b"{",
    "half a command": lambda key: head("POST", "/v1/orders/7/cancel", key + b"Content-Length: 50\r\n") + b"{",
    "half a schema": lambda key: head("POST", "/subjects/x", b"Content-Length: 50\r\n") + b"{",
}


@pytest.mark.parametrize(
    "request_of", [pytest.param(x, id=f"huge {name}") for name, x in HUGE.items()] + [pytest.param(x, id=name) for name, x in SLOW.items()]
)
def test_what_is_huge_or_never_ends_is_let_go(gateway: GatewayProcess, request_of: Callable[[bytes], bytes]) -> None:
    check_answers(sent(gateway, request_of(gateway.authorization)))


def test_after_all_that_it_works_and_nothing_was_a_fault_of_ours(gateway: GatewayProcess) -> None:
    """The last test of this file: it looks back at all the others."""
    figures: dict[str, Any] = dict(re.findall(r"holdfast_gateway_requests_total\{(.*?)\} ([0-9.]+)", gateway.get("/metrics").text))
    assert any('status="202"' in labels for labels in figures)
    assert not [labels for labels in figures if 'status="500"' in labels]
    assert "Traceback" not in gateway.child.log.read_text(errors="replace")
    assert gateway.post("/v1/orders", order_body()).status_code == 202
