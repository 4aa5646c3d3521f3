"""`GET /v1/orders/{id}/events`: nothing is lost and nothing told twice, whichever gateway is asked, and after a kill."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ingest.order_ids import clock_ms, compose
from schemas.partitions import order_partition
from tests.support.gateway import GatewayProcess, new_key, order_body, running_gateway
from tests.support.outputs import outcome, refused_command
from tests.support.pipeline import PARTITIONS, Pipeline, until
from tests.support.sink_processes import Log
from tests.support.sse import following
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
_numbers = itertools.count()


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    found = Pipeline(kafka, unique_name("e"), tmp_path_factory.mktemp("events"), module_database, module_redis)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def log(pipeline: Pipeline) -> Log:
    return Log(pipeline.kafka, pipeline.prefix)


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline, log: Log) -> Iterator[GatewayProcess]:
    pipeline.sinks()
    with running_gateway(pipeline, gateway_events_heartbeat="1") as found:
        yield found


def new_id() -> int:
    return compose(clock_ms(), 1, next(_numbers))


def confirmed(order_id: int, **other: Any) -> dict[str, Any]:
    return outcome(order_id, 1, user_id="u1", **other)


def shipped(order_id: int, version: int = 2) -> dict[str, Any]:
    return outcome(order_id, version, user_id="u1", change="SHIPPED", status="SHIPPED")


def returned(order_id: int, version: int) -> dict[str, Any]:
    return outcome(order_id, version, user_id="u1", change="RETURNED", status="RETURNED", refunded=250)


def test_an_order_is_followed_from_its_acceptance_to_its_end(gateway: GatewayProcess, log: Log) -> None:
    order_id = int(gateway.post("/v1/orders", order_body()).json()["order_id"])
    with following(gateway, order_id) as stream:
        assert next(stream).said == ("accepted", 0)
        log.write([confirmed(order_id)])
        told = next(stream)
        assert (told.said, told.data["order_id"], told.data["status"]) == (("confirmed", 1), str(order_id), "confirmed")
        log.write([shipped(order_id), refused_command(order_id), returned(order_id, 3)])
        assert [each.said for each in stream] == [("shipped", 2), ("command_refused", 0), ("returned", 3)]


def test_what_was_said_before_is_told_and_then_what_comes(gateway: GatewayProcess, log: Log) -> None:
    order_id = new_id()
    log.write([confirmed(order_id), confirmed(new_id()), shipped(order_id)])
    with following(gateway, order_id) as stream:
        assert [each.said for each in stream.take(2)] == [("confirmed", 1), ("shipped", 2)]
        log.write([returned(order_id, 3)])
        assert [each.said for each in stream] == [("returned", 3)]


def test_a_client_goes_on_at_any_gateway_also_after_a_kill(gateway: GatewayProcess, log: Log, pipeline: Pipeline) -> None:
    order_id = new_id()
    log.write([confirmed(order_id)])
    with running_gateway(pipeline) as second:
        with following(second, order_id) as stream:
            (seen,) = stream.take(1)
            second.child.kill()
            with pytest.raises((httpx.TransportError, StopIteration)):
                next(stream)
        log.write([shipped(order_id), refused_command(order_id)])
        with following(gateway, order_id, seen.id) as stream:
            missed = stream.take(2)
            assert [each.name for each in missed] == ["shipped", "command_refused"]
            log.write([returned(order_id, 3)])
            assert [each.said for each in stream] == [("returned", 3)]
        with following(gateway, order_id, missed[0].id) as stream:
            assert [each.name for each in stream] == ["command_refused", "returned"]


def test_streams_opened_while_it_happens_lose_nothing_and_double_nothing(gateway: GatewayProcess, log: Log) -> None:
    order_id, versions = new_id(), 40
    log.write([confirmed(order_id)])
    for version in range(2, versions):
        log.write([shipped(order_id, version)])
        if version % 4 == 0:
            with following(gateway, order_id) as stream:
                log.write([outcome(new_id())])
                assert [each.data["version"] for each in stream.take(version)] == list(range(1, version + 1))
    with following(gateway, order_id) as stream:
        log.write([returned(order_id, versions)])
        assert [each.data["version"] for each in stream] == list(range(1, versions + 1))


def test_who_knows_the_end_is_told_not_to_come_back(gateway: GatewayProcess, log: Log) -> None:
    order_id = new_id()
    log.write([confirmed(order_id, status="REJECTED", charged=0)])
    with following(gateway, order_id) as stream:
        (end,) = list(stream)
    assert end.name == "rejected"
    with gateway.client(headers={"last-event-id": end.id}) as client:
        assert client.get(f"/v1/orders/{order_id}/events").status_code == 204
        assert client.head(f"/v1/orders/{order_id}/events").status_code == 204


def test_what_is_too_far_back_in_the_log_is_told_as_the_stores_have_it(gateway: GatewayProcess, log: Log, pipeline: Pipeline) -> None:
    order_id = new_id()
    log.write([confirmed(order_id), shipped(order_id)])
    log.write([outcome(other) for other in (new_id() for _ in range(60)) if order_partition(other, PARTITIONS) == order_partition(order_id, PARTITIONS)])
    until(lambda: gateway.get(f"/v1/orders/{order_id}").json().get("version") == 2, 30, "the sinks have the order")
    with running_gateway(pipeline, gateway_events_history="1", gateway_events_heartbeat="1") as near:
        with following(near, order_id) as stream:
            told = next(stream)
            assert (told.said, told.id) == (("shipped", 2), "2")
            log.write([returned(order_id, 3)])
            assert [each.said for each in stream] == [("returned", 3)]
        with following(near, order_id, "1") as stream:
            assert [each.said for each in stream] == [("returned", 3)]


def test_an_order_is_told_to_its_owner_alone(gateway: GatewayProcess, log: Log, pipeline: Pipeline) -> None:
    assert pipeline.mysql
    mine, theirs = new_key(pipeline.mysql, "read", user="u1"), new_key(pipeline.mysql, "read", user="u2")
    order_id = new_id()
    log.write([confirmed(order_id)])
    with following(gateway, order_id, key=mine) as stream:
        assert next(stream).said == ("confirmed", 1)
    for path in (f"/v1/orders/{order_id}/events", "/v1/orders/77/events"):
        with gateway.client(theirs) as client:
            answer = client.get(path)
        assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


def test_an_owner_may_follow_at_another_gateway_before_the_decision(gateway: GatewayProcess, log: Log, pipeline: Pipeline) -> None:
    assert pipeline.mysql
    mine, order_id = new_key(pipeline.mysql, "read", user="u1"), new_id()
    with gateway.client(mine) as client, client.stream("GET", f"/v1/orders/{order_id}/events") as refused:
        assert refused.status_code == 404
    log.write([confirmed(order_id)])
    with following(gateway, order_id, key=mine) as stream:
        assert next(stream).said == ("confirmed", 1)


@pytest.mark.parametrize("last", ["x", "1.2", "-1", "1.2.3.4", "1.2.3.end.end", "9" * 30])
def test_an_id_that_is_none_of_ours_is_refused(gateway: GatewayProcess, last: str) -> None:
    with gateway.client(headers={"last-event-id": last}) as client:
        answer = client.get(f"/v1/orders/{new_id()}/events")
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-request")


def test_an_id_from_elsewhere_loses_nothing(gateway: GatewayProcess, log: Log) -> None:
    order_id = new_id()
    log.write([confirmed(order_id), shipped(order_id)])
    wrong = (order_partition(order_id, PARTITIONS) + 1) % PARTITIONS
    for last in (f"1.{wrong}.0", "1.0.999999999", "1"):
        with following(gateway, order_id, last) as stream:
            assert next(stream).said == ("shipped", 2)


def test_a_silent_stream_shows_that_it_lives_and_ends_with_the_gateway(log: Log, pipeline: Pipeline) -> None:
    order_id = new_id()
    with running_gateway(pipeline, gateway_events_heartbeat="0.2") as found, following(found, order_id) as stream:
        lines = stream.answer.iter_lines()
        assert [line for line in itertools.islice(lines, 5) if line][:2] == ["retry: 2000", ": still here"]
        found.child.popen.terminate()
        assert set(lines) <= {"", ": still here"}
        assert found.child.popen.wait(30) == 0


def test_streams_are_bounded_and_given_back(log: Log, pipeline: Pipeline) -> None:
    order_id = new_id()
    with running_gateway(pipeline, gateway_events_streams="2", gateway_events_heartbeat="0.2") as found:
        with following(found, order_id), following(found, order_id):
            with found.client() as client:
                answer = client.get(f"/v1/orders/{order_id}/events")
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/overloaded")
            assert int(answer.headers["retry-after"]) > 0

        def is_open() -> bool:
            with found.client() as client, client.stream("GET", f"/v1/orders/{order_id}/events") as answer:
                return answer.status_code == 200

        until(is_open, 30, "a place is free again", found.child)


def test_a_stream_ends_after_its_time(log: Log, pipeline: Pipeline) -> None:
    with running_gateway(pipeline, gateway_events_lifetime="0.5") as found, following(found, new_id()) as stream:
        assert list(stream) == []
