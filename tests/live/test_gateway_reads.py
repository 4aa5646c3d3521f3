"""Reading back over HTTP: members, versions, owners, pages, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import redis

from schemas.views import placed_key
from sinks import batch
from sinks.migrate import migrate
from sinks.mysql_sink import MysqlStore
from sinks.redis_sink import RedisStore
from tests.support.gateway import GatewayProcess, new_key, order_body, running_gateway
from tests.support.outputs import level, outcome, records
from tests.support.pipeline import Pipeline, running
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
VALUES = [level("A", 3), level("a/b ü", 1), *(outcome(n, 2, ["A", "B"], user_id="ann", placed_at=1_291_200_000_000 + n) for n in (1, 2, 3))]


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with running(Pipeline(kafka, unique_name("r"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline, module_database: str, module_redis: str) -> Iterator[GatewayProcess]:
    migrate(module_database)
    for store in (MysqlStore(module_database), RedisStore(module_redis)):
        store.write(batch.fold(records(VALUES)), {})
        store.close()
    with running_gateway(pipeline, gateway_read_wait="0.3", gateway_cache_timeout="20") as found:
        yield found


@pytest.fixture(scope="module")
def keys(gateway: GatewayProcess, module_database: str) -> dict[str, str]:
    """API keys by whose they are."""
    made = {user: new_key(module_database, "place", "read", user=user) for user in ("ann", "bob")}
    return made | {"placer": new_key(module_database, "place", user="ann"), "stock": new_key(module_database, "stock")}


def get(gateway: GatewayProcess, path: str, key: str | None = None, **headers: str) -> httpx.Response:
    with gateway.client(key) as client:
        return client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_an_order_reads_back(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    answer = get(gateway, "/v1/orders/1", keys["ann"])
    order = answer.json()
    assert (answer.status_code, answer.headers["etag"], answer.headers["cache-control"]) == (200, 'W/"2"', "private, no-cache")
    assert (order["order_id"], order["user_id"], order["status"], order["version"]) == ("1", "ann", "confirmed", 2)
    assert order["age_ms"] > 0
    assert [(x["product_id"], x["status"], x["refusal"]) for x in order["lines"]] == [("A", "shipped", ""), ("B", "shipped", "")]


def test_a_product_reads_back_and_is_not_sent_twice(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    for key in ("ann", "placer", "stock"):
        answer = get(gateway, "/v1/products/A", keys[key])
        assert (answer.status_code, answer.json()["available"], answer.json()["reserved"], answer.json()["version"]) == (200, 100, 3, 3)
    again = get(gateway, "/v1/products/A", if_none_match='"1", W/"3"')
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", 'W/"3"')
    assert get(gateway, "/v1/products/A", if_none_match='W/"2"').status_code == 200
    assert get(gateway, "/v1/products/a%2Fb%20%C3%BC").json()["version"] == 1


def test_several_products_and_those_that_are_missing(gateway: GatewayProcess) -> None:
    document = get(gateway, "/v1/products?ids=none,A,a/b%20%C3%BC,A").json()
    assert ([x["product_id"] for x in document["products"]], document["missing"]) == (["A", "a/b ü"], ["none"])


def test_others_orders_are_unknown_and_their_lists_forbidden(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    assert get(gateway, "/v1/orders/1", keys["bob"]).status_code == get(gateway, "/v1/orders/999", keys["bob"]).status_code == 404
    # With a version, too, both are answered alike.
    assert get(gateway, "/v1/orders/1?min_version=1", keys["bob"]).status_code == get(gateway, "/v1/orders/999?min_version=1", keys["bob"]).status_code == 503
    assert get(gateway, "/v1/orders?user=ann", keys["bob"]).status_code == 403
    assert get(gateway, "/v1/orders/1", keys["placer"]).status_code == 403
    assert get(gateway, "/v1/orders/1", keys["stock"]).status_code == 403
    assert get(gateway, "/v1/orders/1").status_code == 200
    assert get(gateway, "/v1/orders/1", "").status_code == get(gateway, "/v1/products/A", "").status_code == 401


def test_pages(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    first = get(gateway, "/v1/orders?limit=2", keys["ann"]).json()
    rest = get(gateway, f"/v1/orders?user=ann&limit=2&cursor={first['next_cursor']}").json()
    assert [x["order_id"] for x in (*first["orders"], *rest["orders"])] == ["3", "2", "1"]
    assert rest["next_cursor"] is None
    assert get(gateway, "/v1/orders?user=nobody").json() == {"orders": [], "next_cursor": None}


def test_an_order_that_is_not_decided_is_accepted(gateway: GatewayProcess, keys: dict[str, str]) -> None:
    with gateway.client(keys["ann"]) as client:
        path = client.post("/v1/orders", json=order_body(("A", 1), user="ann")).headers["location"]
        answer = client.get(path)
    assert (answer.status_code, answer.json()["status"], answer.json()["version"], answer.json()["lines"]) == (200, "accepted", 0, [])
    assert answer.headers["cache-control"] == "no-store"
    assert get(gateway, path, keys["bob"]).status_code == 404
    late = get(gateway, f"{path}?min_version=1", keys["ann"])
    assert (late.status_code, late.json()["type"], late.headers["retry-after"]) == (503, "/problems/not-yet", "1")


def test_it_is_accepted_at_every_gateway_until_it_is_decided(gateway: GatewayProcess, pipeline: Pipeline, keys: dict[str, str], module_redis: str) -> None:
    with running_gateway(pipeline) as other, gateway.client(keys["ann"]) as client:
        single = client.post("/v1/orders", json=order_body(("A", 1), user="ann")).json()["order_id"]
        lines = b"".join(json.dumps(order_body(("A", 1), user="ann")).encode() + b"\n" for _ in range(300))
        batch_ids = [json.loads(line)["order_id"] for line in client.post("/v1/orders:batch", content=lines).text.splitlines()]
        for order_id in (single, batch_ids[0], batch_ids[-1]):
            path = f"/v1/orders/{order_id}"
            answer = get(other, path, keys["ann"])
            assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (200, "accepted", 0)
            assert get(other, path, keys["bob"]).status_code == 404
        assert other.post(f"/v1/orders/{single}/cancel").status_code == 202
        store = RedisStore(module_redis)
        store.write(batch.fold(records([outcome(int(single), 1, ["A"], user_id="ann")])), {})
        store.close()
        for each in (gateway, other):
            decided = get(each, f"/v1/orders/{single}", keys["ann"]).json()
            assert (decided["version"], len(decided["lines"])) == (1, 1), "what is noted does not stand in the way of an outcome"
    with redis.Redis.from_url(module_redis) as cache:
        assert 0 < cache.ttl(placed_key(int(single))) <= 900


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/orders/0", "/v1/orders/x", "/v1/orders/1?min_version=-1", "/v1/orders/1?min_version=x", "/v1/orders/1?min_verison=1"),
        *("/v1/orders/1?min_version=1&min_version=2", "/v1/orders", "/v1/orders?user=", "/v1/orders?user=ann&limit=0", "/v1/orders?user=ann&limit=101"),
        *("/v1/orders?user=ann&cursor=x", "/v1/orders?user=ann&cursor=", "/v1/orders?user=%FF", f"/v1/orders?user={'u' * 65}"),
        *("/v1/products", "/v1/products?ids=", "/v1/products?ids=a,,b", f"/v1/products?ids={'p' * 65}", f"/v1/products/{'p' * 65}", "/v1/products/%FF"),
        "/v1/products?ids=" + ",".join(map(str, range(101))),
        f"/v1/products/A?min_version={2**63}",
    ],
)
def test_what_cannot_be_asked_is_400(gateway: GatewayProcess, path: str) -> None:
    answer = get(gateway, path)
    assert (answer.status_code, answer.json()["type"]) == (400, "/problems/malformed-request"), answer.text


def test_what_is_not_there_is_404(gateway: GatewayProcess) -> None:
    for path in ("/v1/orders/999", "/v1/products/none"):
        assert (get(gateway, path).status_code, get(gateway, path).json()["type"]) == (404, "/problems/not-found")
