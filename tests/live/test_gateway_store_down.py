"""What goes on while MySQL is dead or frozen: keys seen lately, orders without a key; and what is refused, with when to come back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from ingest.api_keys import new_key_text
from sinks.migrate import migrate
from tests.support.gateway import GatewayProcess, new_key, order_body, running_gateway
from tests.support.pipeline import Pipeline, running, until
from tests.support.servers import OwnServer, own_database
from tests.support.stack import unique_name

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_database(tmp_path_factory.mktemp("mariadb")) as found:
        migrate(found.url)
        yield found


@pytest.fixture(scope="module")
def gateway(kafka: str, server: OwnServer, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with (
        running(Pipeline(kafka, unique_name("m"), tmp_path_factory.mktemp("gateway"), server.url, module_redis)) as pipeline,
        running_gateway(pipeline, gateway_key_cache="0.5") as found,
    ):
        yield found


def place(gateway: GatewayProcess, key: str | None = None, idempotency_key: str = "", user: str = "u1") -> httpx.Response:
    with gateway.client(key) as client:
        headers = {"idempotency-key": idempotency_key} if idempotency_key else {}
        return client.post("/v1/orders", json=order_body(user=user), headers=headers)


@contextmanager
def dead(server: OwnServer) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: OwnServer) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


@pytest.mark.parametrize("strike", [dead, frozen])
def test_what_goes_on_without_mysql(gateway: GatewayProcess, server: OwnServer, strike) -> None:
    user = strike.__name__
    unseen = new_key(server.url, "place")
    settled = place(gateway, None, "settled", user).json()["order_id"]
    with strike(server):
        # Long enough that the key is no longer taken on trust.
        with ThreadPoolExecutor(4) as threads:
            assert {answer.status_code for answer in threads.map(lambda _: place(gateway, None, "", user), range(40))} == {202}
        keyed = place(gateway, None, "new", user)
        assert (keyed.status_code, keyed.json()["type"], keyed.headers["retry-after"]) == (503, "/problems/unavailable", "2")
        assert "Idempotency-Key" in keyed.json()["detail"]
        assert place(gateway, None, "settled", user).json()["order_id"] == settled
        for key in (unseen, new_key_text().text):
            unknown = place(gateway, key)
            assert (unknown.status_code, unknown.json()["type"]) == (503, "/problems/unavailable")
            assert int(unknown.headers["retry-after"]) >= 1
        assert place(gateway, "nonsense").status_code == 401
        batch = gateway.client().post("/v1/orders:batch", json=order_body(), headers={"idempotency-key": "b", "content-type": "application/x-ndjson"})
        assert (batch.status_code, batch.json()["problem"]["type"]) == (200, "/problems/unavailable")
    until(lambda: place(gateway, None, "new", user).status_code == 202, 60, "orders with keys are taken again")
    until(lambda: place(gateway, unseen).status_code == 202, 60, "keys are known again")
    assert place(gateway, new_key_text().text).status_code == 401


def test_a_key_is_good_for_no_longer_than_the_grace(kafka: str, server: OwnServer, module_redis: str, tmp_path: object, gateway: GatewayProcess) -> None:
    pipeline = Pipeline(kafka, unique_name("m"), gateway.run_dir, server.url, module_redis)
    with running(pipeline), running_gateway(pipeline, gateway_key_cache="0.2", gateway_key_grace="1") as strict:
        assert place(strict).status_code == 202
        with dead(server):
            until(lambda: place(strict).status_code == 503, 60, "the key is good no longer")
        until(lambda: place(strict).status_code == 202, 60, "the key is good again")
