"""Token buckets on running gateways: two of them share one Redis, which dies, freezes and comes back."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from sinks.migrate import migrate
from tests.support.gateway import GatewayProcess, new_key, order_body, running_gateway
from tests.support.pipeline import Pipeline, running, until
from tests.support.servers import OwnServer, own_redis
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
BURST = 10
SLOW = 0.01
"""Tokens per s: none comes back while a test runs."""
USER_BURST = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="module")
def gateways(kafka: str, module_database: str, server: OwnServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[GatewayProcess]]:
    migrate(module_database)
    folder: Path = tmp_path_factory.mktemp("gateway")
    with running(Pipeline(kafka, unique_name("t"), folder, module_database, server.url)) as pipeline:
        # A busy machine is not a Redis that does not answer.
        limits = {"gateway_throttle_timeout": "3", "gateway_user_rate": str(SLOW), "gateway_user_burst": str(USER_BURST)}
        with running_gateway(pipeline, **limits) as one, running_gateway(pipeline, **limits) as two:
            yield [one, two]


@pytest.fixture
def key(module_database: str) -> str:
    return slow_key(module_database)


def slow_key(mysql: str, **wished: object) -> str:
    return new_key(mysql, "place", **{"rate": SLOW, "burst": BURST, **wished})


def ask(gateway: GatewayProcess, key: str, times: int) -> list[httpx.Response]:
    """Requests that cost a token and nothing else: their path has no order ID."""
    with gateway.client(key) as client:
        return [client.post("/v1/orders/0/cancel") for _ in range(times)]


def admitted(answers: list[httpx.Response]) -> int:
    assert {answer.status_code for answer in answers} <= {400, 429}
    return sum(answer.status_code != 429 for answer in answers)


def test_who_asks_too_often_is_told_when_to_come_back(gateways: list[GatewayProcess], key: str) -> None:
    answers = ask(gateways[0], key, BURST + 2)
    assert [answer.status_code for answer in answers] == [400] * BURST + [429] * 2
    refused = answers[-1]
    assert (refused.json()["type"], refused.headers["content-type"]) == ("/problems/too-many-requests", "application/problem+json")
    assert 1 <= int(refused.headers["retry-after"]) <= 1 / SLOW
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {f'"key";q={BURST};w={round(BURST / SLOW)}'}
    states = [re.fullmatch(r'"key";r=(\d+);t=(\d+)', answer.headers["ratelimit"]) for answer in answers]
    assert [int(state[1]) for state in states if state] == [*range(BURST - 1, -1, -1), 0, 0]


def test_success_says_what_is_left_of_both_limits(gateways: list[GatewayProcess], module_database: str) -> None:
    with gateways[0].client(slow_key(module_database, user="both")) as client:
        answer = client.post("/v1/orders", json=order_body(user="both"))
    assert answer.status_code == 202
    assert answer.headers["ratelimit-policy"] == f'"key";q={BURST};w={round(BURST / SLOW)}, "user";q={USER_BURST};w={round(USER_BURST / SLOW)}'
    assert re.fullmatch(rf'"key";r={BURST - 1};t=\d+, "user";r={USER_BURST - 1};t=\d+', answer.headers["ratelimit"])


def test_gateways_share_what_a_key_may(gateways: list[GatewayProcess], key: str) -> None:
    assert admitted(ask(gateways[0], key, BURST + 1)) == BURST
    # One token is given out before the other gateway has asked how many there are.
    assert admitted(ask(gateways[1], key, BURST)) <= 1


def test_a_crowd_at_both_gets_little_more_than_there_is(gateways: list[GatewayProcess], key: str) -> None:
    with ThreadPoolExecutor(16) as threads:
        counts = list(threads.map(lambda n: admitted(ask(gateways[n % 2], key, 5)), range(16)))
    assert BURST <= sum(counts) <= BURST + 2


def test_all_keys_of_a_user_share_the_users_limit(gateways: list[GatewayProcess], module_database: str) -> None:
    first, second = (slow_key(module_database, user="shared") for _ in range(2))
    assert admitted(ask(gateways[0], first, 4)) == 4
    assert admitted(ask(gateways[0], second, 4)) == USER_BURST - 4
    other = ask(gateways[0], slow_key(module_database, user="another"), 1)
    assert admitted(other) == 1


def test_a_key_for_every_user_is_limited_by_the_bodys_user(gateways: list[GatewayProcess], module_database: str) -> None:
    with gateways[0].client(new_key(module_database, "place")) as client:
        answers = [client.post("/v1/orders", json=order_body(user="heavy")) for _ in range(USER_BURST + 1)]
        other = client.post("/v1/orders", json=order_body(user="light"))
    assert [answer.status_code for answer in answers] == [202] * USER_BURST + [429]
    assert answers[-1].headers["ratelimit"].startswith('"user";r=0;t=')
    assert other.status_code == 202


def test_a_batch_is_slowed_down_and_not_refused(gateways: list[GatewayProcess], module_database: str) -> None:
    key = slow_key(module_database, rate=100.0)
    orders = [json.dumps(order_body(user=f"slow{n}")).encode() + b"\n" for n in range(40)]
    with gateways[0].client(key) as client:
        answer = client.post("/v1/orders:batch", content=iter(orders))
    assert [json.loads(line)["status"] for line in answer.text.splitlines()] == ["accepted"] * 40


def test_lines_that_would_wait_for_minutes_are_refused(gateways: list[GatewayProcess], key: str) -> None:
    orders = [json.dumps(order_body(user=f"long{n}")).encode() + b"\n" for n in range(3 * BURST)]
    with gateways[0].client(key) as client:
        answers = [json.loads(line) for line in client.post("/v1/orders:batch", content=iter(orders)).text.splitlines()]
    assert [answer["line"] for answer in answers] == list(range(1, 3 * BURST + 1))
    refused = [answer for answer in answers if answer["status"] == "error"]
    assert len(refused) >= BURST
    assert {answer["problem"]["type"] for answer in refused} == {"/problems/too-many-requests"}


def test_with_redis_frozen_nobody_is_kept_waiting_for_good(gateways: list[GatewayProcess], server: OwnServer, module_database: str) -> None:
    server.signal(signal.SIGSTOP)
    try:
        assert [admitted(ask(gateway, slow_key(module_database), BURST + 1)) for gateway in gateways] == [BURST, BURST]
    finally:
        server.signal(signal.SIGCONT)
    until(lambda: shared(gateways, module_database), 60, "the gateways share again")


def test_with_redis_dead_each_gives_out_its_own(gateways: list[GatewayProcess], server: OwnServer, key: str, module_database: str) -> None:
    server.kill()
    try:
        assert [admitted(ask(gateway, key, BURST + 1)) for gateway in gateways] == [BURST, BURST]
        with gateways[0].client(slow_key(module_database)) as client:
            assert client.post("/v1/orders", json=order_body(user="meanwhile")).status_code == 202
    finally:
        server.start()
    until(lambda: shared(gateways, module_database), 60, "the gateways share again")


def shared(gateways: list[GatewayProcess], mysql: str) -> bool:
    """Whether a new key gets from both together what it may."""
    key = slow_key(mysql)
    return sum(admitted(ask(gateway, key, BURST)) for gateway in gateways) <= BURST + 1
