"""An order that goes the short way (`ingest/http/plain_orders.py`) is answered as one that goes the long way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from ingest.http.plain_orders import PATIENCE_S
from schemas.outcomes import MAX_PRICE, MAX_QUANTITY
from sinks.migrate import migrate
from tests.support.gateway import GatewayProcess, bearer, new_key, order_body, running_gateway
from tests.support.pipeline import PARTITIONS, Pipeline, running
from tests.support.read_topics import lines_of
from tests.support.stack import unique_name

pytestmark = pytest.mark.live

SHORT, LONG = "application/json", "application/json; charset=utf-8"
VARIES = {"location", "date", "ratelimit", "content-length"}
CLOSES = "connection"
"""The server closes a connection whose body nobody read; on the short way it is read before anything is refused."""


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    migrate(module_database)
    with running(Pipeline(kafka, unique_name("sw"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline, gateway_body_timeout="1", gateway_key_cache="600") as found:
        yield found


def post(client: httpx.Client, media: str, body: bytes) -> httpx.Response:
    return client.post("/v1/orders", content=body, headers={"content-type": media})


def took_the_short_way(gateway: GatewayProcess) -> int:
    (line,) = [line for line in gateway.get("/metrics").text.splitlines() if line.startswith("holdfast_gateway_plain_orders_total ")]
    return int(float(line.split()[1]))


def told(answer: httpx.Response) -> tuple[int, dict[str, str], dict[str, object]]:
    """What two answers have to agree in."""
    headers = {name: "" if name in VARIES else value for name, value in answer.headers.items() if name != CLOSES}
    return answer.status_code, headers, {name: "" if name in ("order_id", "trace_id") else said for name, said in answer.json().items()}


GOOD = json.dumps(order_body(("short", 1), ("b/ü", 2))).encode()
BODIES = {
    "good": GOOD,
    "of somebody else": json.dumps(order_body(user="somebody-else")).encode(),
    "empty": b"",
    "no JSON": b"{",
    "a member too many": json.dumps({**order_body(), "more": 1}).encode(),
    "an unknown currency": json.dumps({**order_body(), "currency": "XXQ"}).encode(),
    "a zero byte": json.dumps(order_body(("a\0", 1))).encode(),
    "too dear": json.dumps(order_body(("a", MAX_QUANTITY), price=MAX_PRICE)).encode(),
}


@pytest.mark.parametrize("of_user", ["u1", None])
def test_both_ways_answer_alike(gateway: GatewayProcess, pipeline: Pipeline, of_user: str | None) -> None:
    assert pipeline.mysql
    for scope in ("place", "read"):
        with gateway.client(new_key(pipeline.mysql, scope, user=of_user)) as client:
            post(client, SHORT, GOOD)  # the key is known here from now on
            for name, body in BODIES.items():
                before = took_the_short_way(gateway)
                short = post(client, SHORT, body)
                went_short = took_the_short_way(gateway) - before
                assert told(short) == told(post(client, LONG, body)), name
                assert took_the_short_way(gateway) - before == went_short == (short.status_code == 202) == may_be_placed(name, scope, of_user), name


def may_be_placed(name: str, scope: str, of_user: str | None) -> bool:
    return scope == "place" and name in ({"good"} if of_user else {"good", "of somebody else"})


def test_what_goes_the_short_way_is_in_the_log_whole_and_is_its_user_s(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    assert pipeline.mysql
    with gateway.client(new_key(pipeline.mysql, "place", "read", user="owner")) as client:
        body = json.dumps(order_body(("whole", 1), ("whole-2", 2), user="owner")).encode()
        post(client, SHORT, body)
        before = took_the_short_way(gateway)
        order_id = post(client, SHORT, body).json()["order_id"]
        assert took_the_short_way(gateway) == before + 1
        assert client.post(f"/v1/orders/{order_id}/cancel").status_code == 202
    assert gateway.post(f"/v1/orders/{order_id}/cancel").status_code == 202
    found = [fields for _, fields in lines_of(pipeline.kafka, pipeline.prefix, PARTITIONS) if fields["order_id"] == int(order_id)]
    assert sorted((x["line"], x["product_id"], x["quantity"], x["user_id"]) for x in found) == [(1, "whole", 1, "owner"), (2, "whole-2", 2, "owner")]


def test_a_body_that_is_late_goes_the_long_way(gateway: GatewayProcess) -> None:
    gateway.post("/v1/orders", order_body())
    before = took_the_short_way(gateway)
    head = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(GOOD)
    with gateway.connect() as connection:
        for late_s, status in ((4 * PATIENCE_S, b"202"), (3.0, b"408")):
            connection.sendall(head + gateway.authorization + b"\r\n" + GOOD[:10])
            time.sleep(late_s)
            if status == b"202":
                connection.sendall(GOOD[10:])
            assert connection.recv(65_536).split()[1] == status
    assert took_the_short_way(gateway) == before


def test_a_client_that_goes_away_in_its_body_harms_nobody(gateway: GatewayProcess) -> None:
    gateway.post("/v1/orders", order_body())
    head = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"
    for _ in range(3):
        with gateway.connect() as connection:
            connection.sendall(head + gateway.authorization + b"\r\n{")
    answer = gateway.post("/v1/orders", order_body())
    assert answer.status_code == 202
    with gateway.client("nobody's") as client:
        assert post(client, SHORT, GOOD).status_code == 401
    assert httpx.post(f"{gateway.url}/v1/orders", content=GOOD, headers={**bearer(gateway.key), "content-type": SHORT}).status_code == 202
