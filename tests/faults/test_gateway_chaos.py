"""Many customers who retry at random, over two gateways, while a gateway, Redis and a worker are killed: each key is one order, which is there once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import httpx
import pytest

from holdfast import audit
from tests.faults.customers import Chapters, Customer, Purchase, Seen
from tests.faults.journal import Journal, order_sent
from tests.support.gateway import GatewayProcess, patient, ready, running_gateway, start_gateway
from tests.support.pipeline import PARTITIONS, Load, Pipeline, running, until
from tests.support.read_topics import lines_of
from tests.support.servers import OwnServer, own_redis
from tests.support.stack import connect

pytestmark = [pytest.mark.faults, pytest.mark.live]
CUSTOMERS = 50
SEED = 5
DOWN_S = 1.5
"""A victim is started again within so long."""
Keys = dict[tuple[str, str], str]
"""(user, key) -> order ID."""


@dataclass
class Shop:
    pipeline: Pipeline
    gateways: list[GatewayProcess]
    redis: OwnServer
    load: Load

    @property
    def urls(self) -> list[str]:
        return [gateway.url for gateway in self.gateways]

    @property
    def key(self) -> str:
        return self.gateways[0].key


@pytest.fixture
def shop(kafka: str, topic_prefix: str, fresh_database: str, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as opened:
        redis = opened.enter_context(own_redis(tmp_path))
        pipeline = opened.enter_context(running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, fresh_database, redis.url)))
        pipeline.sinks()
        load = Load(kafka, pipeline.prefix, SEED)
        load.restock()
        gateways = [opened.enter_context(running_gateway(pipeline, gateway_claim_lease="2")) for _ in range(2)]
        yield Shop(pipeline, gateways, redis, load)


# -- what is struck --------------------------------------------------------------------------------------------------------


class Victims:
    """Kill something; what is returned starts it again. Before it is killed once more it has to be well."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._worker = shop.pipeline.worker()
        shop.pipeline.await_open(self._worker)
        self.kinds: list[Callable[[], Callable[[], None]]] = [self.first_gateway, self.redis, self.worker, self.second_gateway, self.redis]

    def first_gateway(self) -> Callable[[], None]:
        return self._gateway(self._shop.gateways[0])

    def second_gateway(self) -> Callable[[], None]:
        return self._gateway(self._shop.gateways[1])

    def redis(self) -> Callable[[], None]:
        self._shop.redis.kill()
        return self._shop.redis.start

    def worker(self) -> Callable[[], None]:
        # Its partitions: all of them, or none yet where it died before it had any.
        self._shop.pipeline.await_open(self._worker)
        self._worker.kill()
        return self._start_worker

    def _start_worker(self) -> None:
        self._worker = self._shop.pipeline.worker()

    def _gateway(self, gateway: GatewayProcess) -> Callable[[], None]:
        until(lambda: ready(gateway), 60, "a gateway that was killed is ready again", gateway.child)
        gateway.child.kill()
        return lambda: self._start_gateway(gateway)

    def _start_gateway(self, gateway: GatewayProcess) -> None:
        gateway.child = start_gateway(self._shop.pipeline, gateway.port)


async def strike(victims: Victims, chapters: Chapters) -> None:
    """Kill one after the other, as the customers come along."""
    random = Random(SEED)
    for number in range(chapters.strikes):
        await chapters.wanted(number)
        start = await asyncio.to_thread(victims.kinds[number % len(victims.kinds)])
        chapters.begun(number)
        await asyncio.sleep(random.uniform(0, DOWN_S))
        await asyncio.to_thread(start)


async def shopping(shop: Shop, customers: list[Customer], purchases: list[list[Purchase]], strikes: int) -> None:
    """Let all customers shop while the victims die."""
    victims, chapters = await asyncio.to_thread(Victims, shop), Chapters(strikes)
    async with asyncio.TaskGroup() as together:
        together.create_task(strike(victims, chapters))
        for customer, own in zip(customers, purchases, strict=True):
            together.create_task(customer.shop(own, chapters))


# -- what there is afterwards ----------------------------------------------------------------------------------------------


def one_id_each(seen: Seen) -> Keys:
    """Return the order ID of each key; no key was ever told two, no ID has two keys."""
    told_two = {key: dict(ids) for key, ids in seen.order_ids.items() if len(ids) > 1}
    assert not told_two
    found = {key: next(iter(ids)) for key, ids in seen.order_ids.items()}
    assert len(set(found.values())) == len(found)
    return found


def asked_again(shop: Shop, purchases: list[Purchase], keys: Keys) -> None:
    """When all is calm, every key still has its order, and none takes another body."""
    for gateway in shop.gateways:
        until(lambda gateway=gateway: ready(gateway), 60, "the gateway is ready", gateway.child)
    with shop.gateways[0].client() as one, shop.gateways[1].client() as other:
        for number, purchase in enumerate(purchases):
            answer = patiently((one, other)[number % 2], purchase)
            assert (answer.status_code, answer.json()["order_id"]) == (202, keys[purchase.user, purchase.key])
            if number % 10 == 0:
                changed = patiently(other, purchase._replace(body={**purchase.body, "currency": "EUR"}))
                assert (changed.status_code, changed.json()["type"]) == (422, "/problems/key-reused")


def patiently(client: httpx.Client, purchase: Purchase) -> httpx.Response:
    """Ask until the lease of whoever died with the key is over."""
    send = partial(client.post, "/v1/orders", json=purchase.body, headers={"idempotency-key": purchase.key})
    return patient(send, f"{purchase.user} {purchase.key}")


def write_journal(path: Path, purchases: list[Purchase], keys: Keys, load: Load) -> None:
    """What the customers sent and were acknowledged, and the restocks before: all that anybody sent."""
    with Journal(path) as journal:
        opening = ({"command_id": f"opening-p{n}", "kind": "RESTOCK", "product_id": f"p{n}", "quantity": load.units} for n in range(load.products))
        named = [(int(keys[each.user, each.key]), each.lines) for each in purchases]
        journal.send([*opening, *(order_sent(order_id, lines) for order_id, lines in named)])
        for order_id, lines in named:
            journal.ack({"order_id": str(order_id), "lines": [number for number, _, _ in lines]})


def stored(shop: Shop) -> tuple[list[str], Keys, dict[str, list[tuple[int, str, int]]]]:
    """Return what MySQL has: every order's ID, every key's order ID, the lines of every order."""
    assert shop.pipeline.mysql
    with connect(shop.pipeline.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CAST(order_id AS CHAR) FROM orders")
        orders = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT user_id, idempotency_key, CAST(order_id AS CHAR) FROM order_keys")
        keys = {(user, key): order_id for user, key, order_id in cursor.fetchall()}
        cursor.execute("SELECT CAST(order_id AS CHAR), line, product_id, quantity FROM order_lines ORDER BY order_id, line")
        lines: dict[str, list[tuple[int, str, int]]] = {}
        for order_id, *line in cursor.fetchall():
            lines.setdefault(order_id, []).append((line[0], line[1], line[2]))
    return orders, keys, lines


def check_all_there(shop: Shop, purchases: list[Purchase], keys: Keys, journal: Path) -> None:
    """Exactly the orders of the keys are in the log and in MySQL, with the lines that were asked for, and the audit finds nothing."""
    in_log = {str(line["order_id"]) for _, line in lines_of(shop.pipeline.kafka, shop.pipeline.prefix, PARTITIONS)}
    assert in_log == set(keys.values())
    orders, in_keys, lines = stored(shop)
    assert sorted(orders) == sorted(keys.values())
    assert in_keys == keys
    assert lines == {keys[each.user, each.key]: each.lines for each in purchases}
    write_journal(journal, purchases, keys, shop.load)
    found = audit.run(shop.pipeline.kafka, shop.pipeline.mysql, shop.pipeline.redis, shop.pipeline.prefix, [journal], complete=True)
    assert found.ok, f"{found.text()}\n{shop.pipeline.last_words()}"


@pytest.mark.parametrize(("orders", "strikes"), [pytest.param(1_000, 10, id="1000"), pytest.param(10_000, 40, id="10000", marks=pytest.mark.long)])
def test_each_key_is_one_order_whatever_dies(shop: Shop, tmp_path: Path, orders: int, strikes: int) -> None:
    seen, products = Seen(), [f"p{n}" for n in range(shop.load.products)]
    customers = [Customer(number, shop.urls, shop.key, SEED, seen) for number in range(CUSTOMERS)]
    purchases = [customer.purchases(orders // CUSTOMERS, products) for customer in customers]
    asyncio.run(shopping(shop, customers, purchases, strikes))
    print(f"answers {dict(seen.statuses)}, none {dict(seen.unanswered)}")
    assert not seen.odd
    assert seen.statuses[202] > orders, "customers ask again what was answered"
    assert seen.unanswered, "nothing that died was missed by anybody"
    everything, keys = [each for own in purchases for each in own], one_id_each(seen)
    assert len(keys) == len(everything) == orders
    asked_again(shop, everything, keys)
    shop.pipeline.drain()
    check_all_there(shop, everything, keys, tmp_path / "journal")
