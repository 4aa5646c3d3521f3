"""The gateway on a real broker and database: what it answers is in the log; what it refuses, it says why."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.codec import decode
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDERS
from sinks.migrate import migrate
from tests.support.gateway import GatewayProcess, closed_after, order_body, running_gateway
from tests.support.pipeline import PARTITIONS, Pipeline, running
from tests.support.read_topics import lines_of
from tests.support.stack import unique_name

pytestmark = pytest.mark.live

MAX_BODY = 65_536


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    migrate(module_database)
    with running(Pipeline(kafka, unique_name("g"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline, gateway_max_body=str(MAX_BODY), gateway_header_timeout="1", gateway_body_timeout="1") as found:
        yield found


def lines_in_log(pipeline: Pipeline, order_id: str) -> list[dict[str, Any]]:
    found = [
        {**fields, "partition": partition} for partition, fields in lines_of(pipeline.kafka, pipeline.prefix, PARTITIONS) if fields["order_id"] == int(order_id)
    ]
    return sorted(found, key=lambda line: line["line"])


# -- placing -------------------------------------------------------------------------------------------------------------


def test_an_accepted_order_is_in_the_log_whole(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    answer = gateway.post("/v1/orders", order_body(("a", 2), ("b/ü", 1), ("a", 3), user="ann"))
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    order_id = answer.json()["order_id"]
    assert answer.headers["location"] == f"/v1/orders/{order_id}"
    lines = lines_in_log(pipeline, order_id)
    assert [(x["line"], x["line_count"], x["product_id"], x["quantity"], x["unit_price"], x["currency"], x["user_id"], x["payment_token"]) for x in lines] == [
        (1, 3, "a", 2, 1275, "GBP", "ann", "tok_ok"),
        (2, 3, "b/ü", 1, 1275, "GBP", "ann", "tok_ok"),
        (3, 3, "a", 3, 1275, "GBP", "ann", "tok_ok"),
    ]
    assert all(x["partition"] == product_partition(x["product_id"], PARTITIONS) for x in lines)


def test_every_one_of_many_at_once_gets_an_order_of_its_own(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    def post_some(n: int) -> list[tuple[str, str]]:
        with gateway.client() as client:
            users = [f"crowd-{n}-{i}" for i in range(20)]
            return [(client.post("/v1/orders", json=order_body(("crowd", 1), user=user)).json()["order_id"], user) for user in users]

    with ThreadPoolExecutor(16) as threads:
        answered = dict(pair for some in threads.map(post_some, range(16)) for pair in some)
    in_log = {str(f["order_id"]): f["user_id"] for _, f in lines_of(pipeline.kafka, pipeline.prefix, PARTITIONS) if f["user_id"].startswith("crowd-")}
    assert len(answered) == 320
    assert in_log == answered


def test_a_trace_goes_on_into_the_record_and_the_access_log(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    trace_id = os.urandom(16).hex()
    sent = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "tracestate": "rojo=1,congo=t61"}
    order_id = gateway.post("/v1/orders", order_body(("traced", 1)), **sent).json()["order_id"]
    *headers, state = record_headers(pipeline, int(order_id), product_partition("traced", PARTITIONS))
    assert [(name, value.decode().split("-")[1], value[-2:]) for name, value in headers] == [("traceparent", trace_id, b"01")]
    assert state == ("tracestate", b"rojo=1,congo=t61")
    (line,) = gateway.access_lines(trace_id)
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/orders", 202)


def test_what_is_no_trace_gets_a_new_one(gateway: GatewayProcess) -> None:
    for sent in ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", "nonsense", "ff-" + "1" * 32 + "-00f067aa0ba902b7-01"):
        answer = gateway.post("/v1/orders", {"user": 1}, traceparent=sent)
        assert answer.status_code == 422
        assert int(answer.json()["trace_id"], 16) > 0
        assert answer.json()["trace_id"] not in sent


def record_headers(pipeline: Pipeline, order_id: int, partition: int) -> list[tuple[str, bytes]]:
    consumer = Consumer({"bootstrap.servers": pipeline.kafka, "group.id": unique_name("h"), "enable.partition.eof": True})
    consumer.assign([TopicPartition(ORDERS.named(pipeline.prefix), partition, 0)])
    try:
        while (message := consumer.poll(20)) is not None and message.error() is None:
            if order_id in decode(message.value()).value["order_id"]:
                return message.headers() or []
    finally:
        consumer.close()
    raise AssertionError(f"order {order_id} is not on partition {partition}")


# -- what is refused -----------------------------------------------------------------------------------------------------

GOOD = order_body()


def changed(**members: Any) -> bytes:
    return json.dumps({**GOOD, **members}).encode()


def line(**members: Any) -> bytes:
    return changed(lines=[{"product_id": "p", "quantity": 1, "unit_price": 1, **members}])


PLACE = ("POST", "/v1/orders", {"content-type": "application/json"})
REFUSED = [
    (PLACE, b"", 422, "invalid-request", "/user", "INVALID_USER"),
    (PLACE, b"{", 400, "malformed-request", None, ""),
    (PLACE, b"\xff", 400, "malformed-request", None, ""),
    (PLACE, b'{"user": "\xff"}', 400, "malformed-request", None, ""),
    (PLACE, b'{"user": "\\ud800"}', 400, "malformed-request", None, ""),
    (PLACE, b"[" * 20_000, 422, "invalid-request", "", ""),
    (PLACE, b"[]", 422, "invalid-request", "", ""),
    (PLACE, changed(user=""), 422, "invalid-request", "/user", "INVALID_USER"),
    (PLACE, changed(user="x" * 65), 422, "invalid-request", "/user", "INVALID_USER"),
    (PLACE, changed(currency="gbp"), 422, "invalid-request", "/currency", "UNKNOWN_CURRENCY"),
    (PLACE, changed(lines=[]), 422, "invalid-request", "/lines", "INVALID_LINE"),
    (PLACE, changed(lines=[GOOD["lines"][0]] * 1_001), 422, "invalid-request", "/lines", "INVALID_LINE"),
    (PLACE, line(quantity=0), 422, "invalid-request", "/lines/0/quantity", "INVALID_QUANTITY"),
    (PLACE, line(quantity=1.5), 422, "invalid-request", "/lines/0/quantity", "INVALID_QUANTITY"),
    (PLACE, line(quantity=True), 422, "invalid-request", "/lines/0/quantity", "INVALID_QUANTITY"),
    (PLACE, line(quantity=10**30), 422, "invalid-request", "/lines/0/quantity", "INVALID_QUANTITY"),
    (PLACE, line(unit_price=-1), 422, "invalid-request", "/lines/0/unit_price", "INVALID_PRICE"),
    (PLACE, line(unit_price=10**9, quantity=10**9), 422, "invalid-request", "/lines/0/unit_price", "INVALID_PRICE"),
    (PLACE, line(product_id="a\0b"), 422, "invalid-request", "/lines/0/product_id", "INVALID_PRODUCT"),
    (PLACE, line(colour="red"), 422, "invalid-request", "/lines/0/colour", "INVALID_LINE"),
    (PLACE, changed(payment={}), 422, "invalid-request", "/payment/token", "INVALID_TOKEN"),
    (PLACE, changed(payment={"token": "t" * 256}), 422, "invalid-request", "/payment/token", "INVALID_TOKEN"),
    (PLACE, b"x" * (MAX_BODY + 1), 413, "too-large", None, ""),
    (("POST", "/v1/orders", {"content-type": "text/html"}), b"{}", 415, "unsupported-media-type", None, ""),
    (("POST", "/v1/orders:batch", {"content-type": "application/xml"}), b"{}", 415, "unsupported-media-type", None, ""),
    (("POST", "/v1/orders", {"idempotency-key": "with space"}), json.dumps(GOOD).encode(), 400, "malformed-request", None, ""),
    (("POST", "/v1/orders", {"idempotency-key": "x" * 129}), json.dumps(GOOD).encode(), 400, "malformed-request", None, ""),
    (("GET", "/v1/nothing", {}), b"", 404, "not-found", None, ""),
    (("PUT", "/v1/orders", {}), b"", 405, "method-not-allowed", None, ""),
    (("POST", "/v1/orders/0/cancel", {}), b"", 400, "malformed-request", None, ""),
    (("POST", f"/v1/orders/{2**63}/cancel", {}), b"", 400, "malformed-request", None, ""),
    (("POST", "/v1/orders/x/ship", {}), b"", 400, "malformed-request", None, ""),
    (("POST", "/v1/orders/7/return", {}), b'{"quantity": 2}', 422, "invalid-request", "/quantity", "INVALID_COMMAND"),
    (("POST", "/v1/orders/7/cancel", {}), b'{"line": 2}', 422, "invalid-request", "/line", ""),
    (("POST", "/v1/products/%FF/restock", {}), b'{"quantity": 2}', 400, "malformed-request", None, ""),
    (("POST", f"/v1/products/{'x' * 65}/restock", {}), b'{"quantity": 2}', 400, "malformed-request", None, ""),
    (("POST", "/v1/products/p/restock", {}), b'{"quantity": 0}', 422, "invalid-request", "/quantity", "INVALID_QUANTITY"),
    (("POST", "/v1/products/p/count", {}), b'{"quantity": 1, "as_of": -1}', 422, "invalid-request", "/as_of", ""),
]


@pytest.mark.parametrize(("request_line", "body", "status", "kind", "pointer", "code"), REFUSED)
def test_refusals_say_what_where_and_what_to_do(
    gateway: GatewayProcess, request_line: tuple[str, str, dict[str, str]], body: bytes, status: int, kind: str, pointer: str | None, code: str
) -> None:
    method, path, headers = request_line
    with gateway.client() as client:
        answer = client.request(method, path, headers=headers, content=body)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"/problems/{kind}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["title"]
    assert problem["detail"]
    assert len(problem["trace_id"]) == 32
    wrong = [(error["pointer"], error["code"]) for error in problem.get("errors", ())]
    assert wrong == ([] if pointer is None else [(pointer, code)])


def test_a_body_of_unknown_length_is_bounded_too(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/orders", content=iter([b" " * 40_000] * 3), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/too-large")


# -- slow clients --------------------------------------------------------------------------------------------------------


def head(gateway: GatewayProcess, path: str, headers: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n" % (path.encode(), gateway.authorization, headers)


def test_a_client_that_never_ends_its_headers_is_let_go(gateway: GatewayProcess) -> None:
    with gateway.connect() as connection:
        connection.sendall(b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        said, _ = closed_after(connection)
    assert said == b"" or b" 408 " in said.splitlines()[0]


def test_a_client_that_never_ends_its_body_gets_a_408(gateway: GatewayProcess) -> None:
    with gateway.connect() as connection:
        connection.sendall(head(gateway, "/v1/orders", b"Content-Type: application/json\r\nContent-Length: 100\r\n") + b"{")
        said, _ = closed_after(connection)
    assert said.splitlines()[0] == b"HTTP/1.1 408 Request Timeout"
    assert b"/problems/request-timeout" in said
    assert gateway.post("/v1/orders", GOOD).status_code == 202


# -- batches -------------------------------------------------------------------------------------------------------------


def ndjson(*bodies: dict[str, Any] | bytes) -> bytes:
    return b"\n".join(body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies) + b"\n"


def batch(gateway: GatewayProcess, content: Any) -> list[dict[str, Any]]:
    with gateway.client() as client:
        answer = client.post("/v1/orders:batch", content=content, headers={"content-type": "application/x-ndjson"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_batch_is_answered_line_by_line_in_order(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    users = [f"batch-{n}" for n in range(1_000)]
    answers = batch(gateway, ndjson(*(order_body((f"bp{n % 30}", 1), ("bq", 2), user=user) for n, user in enumerate(users))))
    assert [a["line"] for a in answers] == list(range(1, 1_001))
    assert {a["status"] for a in answers} == {"accepted"}
    in_log = {
        (str(f["order_id"]), f["line"]): f["user_id"] for _, f in lines_of(pipeline.kafka, pipeline.prefix, PARTITIONS) if f["user_id"].startswith("batch-")
    }
    assert in_log == {(a["order_id"], line): user for a, user in zip(answers, users, strict=True) for line in (1, 2)}


def test_an_order_lies_where_its_first_product_s_stock_does(gateway: GatewayProcess) -> None:
    bodies = [order_body((f"sku-{n}", 1), (f"sku-{n + 1}", 1)) for n in range(30)]
    homes = [product_partition(f"sku-{n}", PARTITIONS) for n in range(30)]
    singles = [gateway.post("/v1/orders", body).json() for body in bodies]
    for answers in (singles, batch(gateway, ndjson(*bodies))):
        assert [order_partition(int(answer["order_id"]), PARTITIONS) for answer in answers] == homes


def test_a_wrong_line_is_wrong_alone(gateway: GatewayProcess) -> None:
    content = ndjson(GOOD, b'{"user": 1}', GOOD, b"", b"nonsense", changed(currency="XXQ"), GOOD)
    answers = batch(gateway, content)
    assert [(a["line"], a["status"], a.get("problem", {}).get("type")) for a in answers] == [
        (1, "accepted", None),
        (2, "error", "/problems/invalid-request"),
        (3, "accepted", None),
        (4, "error", "/problems/malformed-request"),
        (5, "error", "/problems/invalid-request"),
        (6, "accepted", None),
    ]
    assert answers[4]["problem"]["errors"][0]["pointer"] == "/currency"


def test_lines_may_be_cut_anywhere(gateway: GatewayProcess) -> None:
    content = ndjson(*[GOOD] * 20).rstrip(b"\n")
    answers = batch(gateway, (content[at : at + 37] for at in range(0, len(content), 37)))
    assert [a["line"] for a in answers if a["status"] == "accepted"] == list(range(1, 21))


def test_an_empty_batch_has_no_answers(gateway: GatewayProcess) -> None:
    assert batch(gateway, b"") == batch(gateway, b"\n\n") == []


def test_a_line_without_end_ends_the_batch(gateway: GatewayProcess) -> None:
    answers = batch(gateway, iter([ndjson(GOOD), b" " * MAX_BODY, b" " * MAX_BODY, ndjson(GOOD)]))
    assert [(a["line"], a["status"]) for a in answers] == [(1, "accepted"), (2, "error")]
    assert answers[1]["problem"]["type"] == "/problems/too-large"


def test_answers_come_while_the_rest_is_still_to_be_sent(gateway: GatewayProcess) -> None:
    order = ndjson(GOOD)
    chunk = b"%x\r\n%s\r\n" % (len(order), order)
    with gateway.connect() as connection:
        connection.sendall(head(gateway, "/v1/orders:batch", b"Transfer-Encoding: chunked\r\n") + chunk)
        said = b""
        while b'"line":1,' not in said:
            said += connection.recv(65_536)
        connection.sendall(chunk)
        while b'"line":2,' not in said:
            said += connection.recv(65_536)
        # And whoever then falls silent is told so, on the line that did not come.
        rest, _ = closed_after(connection)
    assert b'"line":3,"status":"error"' in rest
    assert b"/problems/request-timeout" in rest


# -- the process ---------------------------------------------------------------------------------------------------------


def test_figures_are_kept(gateway: GatewayProcess) -> None:
    gateway.post("/v1/orders", GOOD)
    gateway.get("/v1/products/never-seen")
    text = gateway.get("/metrics").text
    assert 'holdfast_gateway_cache_misses_total{kind="product"}' in text
    assert "holdfast_gateway_cache_away 0.0" in text
    assert 'holdfast_gateway_requests_total{route="POST /v1/orders",status="202"}' in text
    assert "holdfast_gateway_lines_sent_total" in text


def test_asked_to_stop_it_answers_what_is_in_hand(pipeline: Pipeline) -> None:
    body = json.dumps(GOOD).encode()
    with running_gateway(pipeline) as gateway:
        run_file: Path = gateway.run_file
        assert json.loads(run_file.read_text())["url"] == gateway.url
        with gateway.connect() as connection:
            connection.sendall(head(gateway, "/v1/orders", b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)))
            connection.sendall(body[:10])
            gateway.get("/livez")  # by now the first request has been taken in
            gateway.child.signal(signal.SIGTERM)
            while run_file.exists():
                pass
            connection.sendall(body[10:])
            said, _ = closed_after(connection)
        assert said.splitlines()[0] == b"HTTP/1.1 202 Accepted"
        assert gateway.child.popen.wait(60) == 0
        with pytest.raises(httpx.TransportError):
            gateway.get("/livez")


def test_settings_that_cannot_be_are_refused_without_their_values(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pipeline.settings, "HOLDFAST_GATEWAY_MAX_BODY", "secret-3")
    child = pipeline.start("gateway", "holdfast", "gateway")
    assert child.popen.wait(60) == 1
    assert child.said("HOLDFAST_GATEWAY_MAX_BODY")
    assert not child.said("secret-3")
