"""`Prefer: wait=N` on the whole pipeline: what the agents decide is what the gateway answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway import GatewayProcess, order_body, running_gateway
from tests.support.pipeline import Pipeline, running
from tests.support.sse import following
from tests.support.stack import unique_name

pytestmark = pytest.mark.live

WAIT = "wait=30"


@pytest.fixture(scope="module")
def gateway(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    pipeline = Pipeline(kafka, unique_name("d"), tmp_path_factory.mktemp("gateway"), module_database, module_redis)
    with running(pipeline):
        worker = pipeline.worker()
        pipeline.run("holdfast", "migrate")
        with running_gateway(pipeline) as found:
            pipeline.await_open(worker)
            yield found


def product(gateway: GatewayProcess, units: int = 10) -> str:
    """A product of the test's own, with units on the shelf."""
    name = f"p-{uuid.uuid4().hex[:12]}"
    assert command(gateway, f"/v1/products/{name}/restock", {"quantity": units})["available"] == units
    return name


def command(gateway: GatewayProcess, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    answer = gateway.post(path, body, prefer=WAIT, **headers)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, WAIT), answer.text
    return dict(answer.json())


def decided(gateway: GatewayProcess, *lines: tuple[str, int], token: str = "tok_ok") -> dict[str, Any]:
    answer = gateway.post("/v1/orders", order_body(*lines, token=token), prefer=WAIT)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, WAIT), answer.text
    assert answer.headers["location"] == f"/v1/orders/{answer.json()['order_id']}"
    return dict(answer.json())


def lines_of(order: dict[str, Any]) -> list[tuple[str, int, str, str]]:
    return [(x["product_id"], x["quantity"], x["status"], x["refusal"]) for x in order["lines"]]


def test_an_order_is_confirmed(gateway: GatewayProcess) -> None:
    a, b = product(gateway), product(gateway)
    order = decided(gateway, (a, 2), (b, 1))
    assert (order["status"], order["refusal"], order["version"], order["amount"], order["charged"]) == ("confirmed", "", 1, 3825, 3825)
    assert lines_of(order) == [(a, 2, "held", ""), (b, 1, "held", "")]


def test_an_order_repeated_under_its_key_is_the_same_order(gateway: GatewayProcess) -> None:
    body, key = order_body((product(gateway, 1), 1)), f"k-{uuid.uuid4().hex}"
    first = gateway.post("/v1/orders", body, prefer=WAIT, idempotency_key=key)
    assert (first.status_code, first.json()["status"]) == (200, "confirmed")
    again = [gateway.post("/v1/orders", body, prefer="wait=1", idempotency_key=key) for _ in range(2)]
    assert [answer.json()["order_id"] for answer in again] == [first.json()["order_id"]] * 2


def test_a_rejected_order_says_why_per_line(gateway: GatewayProcess) -> None:
    scarce = product(gateway, 1)
    order = decided(gateway, (scarce, 2))
    assert (order["status"], order["refusal"], order["charged"]) == ("rejected", "INSUFFICIENT_STOCK", 0)
    assert lines_of(order) == [(scarce, 2, "refused", "INSUFFICIENT_STOCK")]


def test_a_declined_payment(gateway: GatewayProcess) -> None:
    order = decided(gateway, (product(gateway), 1), token="tok_declined")
    assert (order["status"], order["refusal"]) == ("payment_failed", "PAYMENT_DECLINED")


def test_an_order_that_is_not_decided_in_time_is_accepted(gateway: GatewayProcess) -> None:
    # A wait of no time at all is none.
    answer = gateway.post("/v1/orders", order_body((product(gateway), 1)), prefer="wait=0")
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")


def test_shipped_and_taken_back_line_by_line(gateway: GatewayProcess) -> None:
    a, b = product(gateway), product(gateway)
    order_id = decided(gateway, (a, 2), (b, 1))["order_id"]
    path = f"/v1/orders/{order_id}"
    first = command(gateway, f"{path}/ship", {"line": 1})
    assert (first["status"], first["order"]["status"], lines_of(first["order"])[0][2]) == ("done", "confirmed", "shipped")
    rest = command(gateway, f"{path}/ship")
    assert (rest["status"], rest["order"]["status"]) == ("done", "shipped")
    again = command(gateway, f"{path}/ship", {"line": 2})
    assert (again["status"], again["refusal"]) == ("refused", "ALREADY_SHIPPED")
    back = command(gateway, f"{path}/return", {"line": 1, "quantity": 1})
    assert (back["status"], back["order"]["lines"][0]["returned"]) == ("done", 1)
    most = command(gateway, f"{path}/return", {"line": 1, "quantity": 5})
    assert (most["status"], most["refusal"]) == ("refused", "RETURN_EXCEEDS_SHIPPED")
    assert command(gateway, f"{path}/return")["order"]["status"] == "returned"


def test_an_order_is_followed_through_the_pipeline(gateway: GatewayProcess) -> None:
    order_id = gateway.post("/v1/orders", order_body((product(gateway), 1))).json()["order_id"]
    with following(gateway, order_id) as stream:
        # It may be decided before we come.
        assert next(each.said for each in stream if each.name != "accepted") == ("confirmed", 1)
        command(gateway, f"/v1/orders/{order_id}/ship")
        command(gateway, f"/v1/orders/{order_id}/return")
        assert [each.name for each in stream] == ["shipped", "returned", "amended"]


def test_a_decided_order_cannot_be_cancelled(gateway: GatewayProcess) -> None:
    order_id = decided(gateway, (product(gateway), 1))["order_id"]
    answer = command(gateway, f"/v1/orders/{order_id}/cancel", idempotency_key=f"c-{order_id}")
    assert answer == {"command_id": f"c-{order_id}", "status": "refused", "refusal": "ALREADY_DECIDED"}


def test_an_unknown_order_cannot_be_shipped(gateway: GatewayProcess) -> None:
    assert command(gateway, "/v1/orders/77/ship")["refusal"] == "UNKNOWN_ORDER"


def test_stock_commands_and_their_refusals(gateway: GatewayProcess) -> None:
    name = product(gateway, 10)
    path = f"/v1/products/{name}"
    lost = command(gateway, f"{path}/write-off", {"quantity": 3, "note": "broken"}, idempotency_key="loss-1")
    assert lost == {"command_id": "loss-1", "status": "done", "product_id": name, "available": 7, "reserved": 0, "shipped": 0, "version": 2}
    assert command(gateway, f"{path}/write-off", {"quantity": 8})["refusal"] == "INSUFFICIENT_STOCK"
    assert command(gateway, f"{path}/count", {"quantity": 9})["available"] == 9
    assert command(gateway, f"{path}/freeze")["status"] == "done"
    assert decided(gateway, (name, 1))["refusal"] == "PRODUCT_FROZEN"
    assert command(gateway, f"{path}/freeze", {"frozen": False})["status"] == "done"
    assert decided(gateway, (name, 1))["status"] == "confirmed"


def test_a_repeated_command_is_carried_out_once(gateway: GatewayProcess) -> None:
    name = product(gateway, 1)
    path = f"/v1/products/{name}/restock"
    assert command(gateway, path, {"quantity": 5}, idempotency_key="receipt-9")["available"] == 6
    repeated = gateway.post(path, {"quantity": 5}, prefer="wait=2", idempotency_key="receipt-9")
    assert (repeated.status_code, repeated.json()["status"]) == (202, "accepted")
    assert command(gateway, path, {"quantity": 1})["available"] == 7


def test_a_product_id_may_hold_anything_printable(gateway: GatewayProcess) -> None:
    name = f"a/b c%ü?{uuid.uuid4().hex[:8]}"
    quoted = name.replace("%", "%25").replace("/", "%2F").replace(" ", "%20").replace("?", "%3F")
    assert command(gateway, f"/v1/products/{quoted}/restock", {"quantity": 2})["product_id"] == name
    assert decided(gateway, (name, 2))["status"] == "confirmed"
