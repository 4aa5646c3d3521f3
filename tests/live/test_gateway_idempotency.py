"""Idempotency-Keys on running gateways: one order ID for a key, also when a gateway dies between the claim and the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest

from sinks.migrate import migrate
from tests.support.gateway import GatewayProcess, order_body, patient, running_gateway
from tests.support.pipeline import PARTITIONS, Pipeline, running, until
from tests.support.read_topics import lines_of
from tests.support.stack import connect, unique_name

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    migrate(module_database)
    with running(Pipeline(kafka, unique_name("i"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline, gateway_claim_lease="2") as found:
        yield found


@pytest.fixture(scope="module")
def other(pipeline: Pipeline, gateway: GatewayProcess) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline) as found:
        yield found


def place(gateway: GatewayProcess, key: str, user: str, **changed: Any) -> httpx.Response:
    return gateway.post("/v1/orders", {**order_body(("ip", 1), user=user), **changed}, Idempotency_Key=key)


def order_id_of(gateway: GatewayProcess, key: str, user: str) -> str:
    """Place an order, repeated while it is in flight; return its ID."""
    answer = patient(partial(place, gateway, key, user))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["order_id"])


def orders_in_log(pipeline: Pipeline, user: str) -> list[str]:
    """The order IDs of a user's lines, as often as they are in the log."""
    return [str(fields["order_id"]) for _, fields in lines_of(pipeline.kafka, pipeline.prefix, PARTITIONS) if fields["user_id"] == user]


def stored(pipeline: Pipeline, user: str) -> list[tuple[str, str, int]]:
    assert pipeline.mysql
    with connect(pipeline.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT idempotency_key, CAST(order_id AS CHAR), acknowledged FROM order_keys WHERE user_id = %s ORDER BY 1", (user,))
        return list(cursor.fetchall())


def test_the_same_key_and_body_is_the_same_order(gateway: GatewayProcess, other: GatewayProcess, pipeline: Pipeline) -> None:
    answers = [patient(partial(place, each, "k", "same")) for each in (gateway, gateway, other, other, gateway)]
    assert [answer.status_code for answer in answers] == [202] * 5
    (order_id,) = {answer.json()["order_id"] for answer in answers}
    assert {answer.headers["location"] for answer in answers} == {f"/v1/orders/{order_id}"}
    assert set(orders_in_log(pipeline, "same")) == {order_id}
    until(lambda: stored(pipeline, "same") == [("k", order_id, 1)], 30, "the key's row says that the order is acknowledged")
    with running_gateway(pipeline) as third:
        assert place(third, "k", "same").json()["order_id"] == order_id
    assert orders_in_log(pipeline, "same").count(order_id) <= 2


def test_what_is_acknowledged_is_not_sent_again(gateway: GatewayProcess, other: GatewayProcess, pipeline: Pipeline) -> None:
    order_id = place(gateway, "k", "sent").json()["order_id"]
    until(lambda: stored(pipeline, "sent") == [("k", order_id, 1)], 30, "the key's row says that the order is acknowledged")
    assert [place(each, "k", "sent").json()["order_id"] for each in (gateway, other)] == [order_id] * 2
    assert orders_in_log(pipeline, "sent") == [order_id]


def test_a_body_written_otherwise_is_the_same(gateway: GatewayProcess, other: GatewayProcess) -> None:
    body = order_body(user="spelled")
    written = [json.dumps(body), json.dumps(dict(reversed(body.items())), indent=3), json.dumps(body).replace("spelled", "\\u0073pelled")]
    ids = set()
    for each in (gateway, other):
        with each.client() as client:
            for text in written:
                headers = {"content-type": "application/json", "idempotency-key": "k"}
                answer = patient(partial(client.post, "/v1/orders", content=text, headers=headers))
                assert answer.status_code == 202, answer.text
                ids.add(answer.json()["order_id"])
    assert len(ids) == 1


def test_another_body_is_refused(gateway: GatewayProcess, other: GatewayProcess, pipeline: Pipeline) -> None:
    order_id = place(gateway, "k", "changed").json()["order_id"]
    for each in (gateway, other):
        answer = place(each, "k", "changed", currency="EUR")
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/key-reused")
    assert set(orders_in_log(pipeline, "changed")) == {order_id}


def test_keys_differ_by_user_and_by_case(gateway: GatewayProcess) -> None:
    ids = [place(gateway, key, user).json()["order_id"] for key, user in (("k", "ann"), ("k", "bob"), ("K", "ann"), ("k", "Ann"))]
    assert len(set(ids)) == 4


def test_a_crowd_with_one_key_makes_one_order(gateway: GatewayProcess, other: GatewayProcess, pipeline: Pipeline) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: place((gateway, other)[n % 2], "k", "crowd"), range(64)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    (order_id,) = {answer.json()["order_id"] for answer in answers if answer.status_code == 202}
    assert set(orders_in_log(pipeline, "crowd")) == {order_id}


def test_many_keys_at_once_each_make_one_order(gateway: GatewayProcess, other: GatewayProcess, pipeline: Pipeline) -> None:
    def post_some(n: int) -> dict[str, str]:
        with (gateway, other)[n % 2].client() as client:
            keys = [f"k{i}" for i in range(n // 2 * 15, n // 2 * 15 + 15)]
            return {key: id_of(client, key) for key in keys}

    def id_of(client: httpx.Client, key: str) -> str:
        answer = patient(partial(client.post, "/v1/orders", json=order_body(user="many"), headers={"idempotency-key": key}))
        return str(answer.json()["order_id"])

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(post_some, range(12)))
    # Each key was posted to either gateway.
    assert found[::2] == found[1::2]
    ids = {key: order_id for some in found for key, order_id in some.items()}
    assert len(set(ids.values())) == len(ids) == 90
    assert set(orders_in_log(pipeline, "many")) == set(ids.values())


# -- batches -------------------------------------------------------------------------------------------------------------


def batch(gateway: GatewayProcess, key: str, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    with gateway.client() as client:
        answer = client.post("/v1/orders:batch", content="".join(json.dumps(body) + "\n" for body in bodies), headers={"idempotency-key": key})
    return [json.loads(line) for line in answer.text.splitlines()]


def test_each_line_of_a_batch_has_a_key_of_its_own(gateway: GatewayProcess, other: GatewayProcess, pipeline: Pipeline) -> None:
    bodies = [order_body(("bp", n + 1), user=f"b{n % 2}") for n in range(20)]
    first = batch(gateway, "B", *bodies)
    assert {answer["status"] for answer in first} == {"accepted"}
    until(lambda: all(row[2] for row in stored(pipeline, "b0") + stored(pipeline, "b1")), 30, "every row says that its order is acknowledged")
    assert batch(gateway, "B", *bodies) == batch(other, "B", *bodies) == first
    assert {row[0] for row in stored(pipeline, "b1")} == {f"B/{n}" for n in range(2, 21, 2)}
    changed = batch(other, "B", *bodies[:3], order_body(("bp", 99), user="b1"), order_body(user="b7"))
    assert [answer["status"] for answer in changed] == ["accepted"] * 3 + ["error", "accepted"]
    assert changed[3]["problem"]["type"] == "/problems/key-reused"
    in_log = orders_in_log(pipeline, "b0") + orders_in_log(pipeline, "b1")
    assert sorted(in_log) == sorted(answer["order_id"] for answer in first)


def test_a_client_that_leaves_its_batch_leaves_no_key_behind(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    body = json.dumps(order_body(user="left")).encode()
    chunk = b"%x\r\n%s\n\r\n" % (len(body) + 1, body)
    headers = gateway.authorization + b"Idempotency-Key: L\r\nTransfer-Encoding: chunked\r\n\r\n"
    with gateway.connect() as connection:
        connection.sendall(b"POST /v1/orders:batch HTTP/1.1\r\nHost: x\r\n" + headers + chunk * 3)
        until(lambda: len(stored(pipeline, "left")) == 3, 30, "the lines are claimed")
    until(lambda: {answer["status"] for answer in batch(gateway, "L", *[order_body(user="left")] * 3)} == {"accepted"}, 30, "the keys are free")
    assert len(set(orders_in_log(pipeline, "left"))) == 3


# -- a gateway that dies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["gateway.claimed", "gateway.sent"])
def test_a_key_of_a_gateway_that_died_keeps_its_order(gateway: GatewayProcess, pipeline: Pipeline, step: str) -> None:
    with running_gateway(pipeline, failpoints=f"{step}=kill", gateway_claim_lease="2") as dying:
        pipeline.settings["HOLDFAST_FAILPOINTS"] = ""
        with pytest.raises(httpx.TransportError):
            place(dying, "k", step)
        dying.child.popen.wait(60)
    ((_, claimed, acknowledged),) = stored(pipeline, step)
    assert not acknowledged
    assert orders_in_log(pipeline, step) == ([] if step == "gateway.claimed" else [claimed])
    assert order_id_of(gateway, "k", step) == claimed
    assert set(orders_in_log(pipeline, step)) == {claimed}
    until(lambda: stored(pipeline, step) == [("k", claimed, 1)], 30, "the key's row says that the order is acknowledged")


def test_a_batch_of_a_gateway_that_died_keeps_its_orders(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    bodies = [order_body(user="dead-batch") for _ in range(5)]
    with running_gateway(pipeline, failpoints="gateway.claimed=kill", gateway_claim_lease="2") as dying:
        pipeline.settings["HOLDFAST_FAILPOINTS"] = ""
        with pytest.raises(httpx.TransportError):
            batch(dying, "B", *bodies)
    claimed = [row[1] for row in stored(pipeline, "dead-batch")]
    assert len(claimed) == 5
    until(lambda: all(answer["status"] == "accepted" for answer in batch(gateway, "B", *bodies)), 60, "the keys are in flight no more")
    assert sorted(answer["order_id"] for answer in batch(gateway, "B", *bodies)) == sorted(claimed)
    assert set(orders_in_log(pipeline, "dead-batch")) == set(claimed)


def test_a_key_in_flight_is_said_to_be(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    with running_gateway(pipeline, failpoints="gateway.claimed=stop:6", gateway_claim_lease="60") as slow, ThreadPoolExecutor(1) as threads:
        pipeline.settings["HOLDFAST_FAILPOINTS"] = ""
        held: Future[httpx.Response] = threads.submit(place, slow, "k", "held")
        until(lambda: stored(pipeline, "held"), 30, "the key is claimed")
        answer = place(gateway, "k", "held")
        other_body = place(gateway, "k", "held", currency="EUR")
        order_id = held.result().json()["order_id"]
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/request-in-flight")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert other_body.status_code == 422
    assert order_id_of(gateway, "k", "held") == order_id
    assert orders_in_log(pipeline, "held") == [order_id]


def test_an_order_that_is_decided_is_not_sent_again_whatever_its_key_says(gateway: GatewayProcess, pipeline: Pipeline) -> None:
    """Years later the stages have forgotten the order, and a second sending would be a second order."""
    assert pipeline.mysql
    columns = "user_id, status, refusal, version, currency, amount, charged, refunded, attempt, line_count, placed_at, decided_at, changed_at"
    order_id = place(gateway, "k", "old").json()["order_id"]
    until(lambda: stored(pipeline, "old") == [("k", order_id, 1)], 30, "the key's row says that the order is acknowledged")
    with connect(pipeline.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE order_keys SET acknowledged = FALSE, leased_until = 1 WHERE user_id = 'old'")
        times = "UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)"
        cursor.execute(f"INSERT INTO orders (order_id, {columns}) VALUES (%s, 'old', 'CONFIRMED', '', 1, 'GBP', 1, 1, 0, 1, 1, {times})", (order_id,))
        connection.commit()
    with running_gateway(pipeline) as fresh:
        assert place(fresh, "k", "old").json()["order_id"] == order_id
    assert orders_in_log(pipeline, "old") == [order_id]
    assert stored(pipeline, "old") == [("k", order_id, 1)]


def test_asked_to_stop_right_after_a_key_it_writes_it_down_and_ends_well(pipeline: Pipeline) -> None:
    with running_gateway(pipeline) as stopped:
        order_id = place(stopped, "last", "leaving").json()["order_id"]
        stopped.child.popen.terminate()
        assert stopped.child.popen.wait(60) == 0, stopped.child.log.read_text()[-2000:]
    assert stored(pipeline, "leaving") == [("last", order_id, 1)]
