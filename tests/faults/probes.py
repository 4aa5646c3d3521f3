"""Probe orders: every partition of every stage is asked all the time, and the answer is looked for in the log and in both stores."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import pymysql
import redis
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from holdfast.stack.addresses import Endpoints, MysqlAddress
from schemas import codec
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_OUTCOMES, ORDERS
from schemas.views import order_key
from tests.faults.silence import LOG, Probe

EVERY_S: Final = 0.3
LOOK_S: Final = 0.4
PLACES: Final = (LOG, "mysql", "redis")


def probe_products(partitions: int) -> list[str]:
    """Return a product for each partition, by its number."""
    found: dict[int, str] = {}
    for number in itertools.count():
        product = f"probe{number}"
        found.setdefault(product_partition(product, partitions), product)
        if len(found) == partitions:
            return [found[n] for n in range(partitions)]
    raise AssertionError


def order_ids(start: int, partition: int, partitions: int) -> Iterator[int]:
    """Yield order IDs whose orders live on one partition."""
    return (order_id for order_id in itertools.count(start) if order_partition(order_id, partitions) == partition)


class Probes:
    """Sends probes and reads the answers, until stopped. `probes`, `decided` (order ID -> time) and `sent` only grow."""

    def __init__(self, endpoints: Endpoints, partitions: int, prefix: str = "") -> None:
        self.probes: list[Probe] = []
        self.decided: dict[int, float] = {}
        self._by_id: dict[int, Probe] = {}
        self._endpoints, self._partitions, self._prefix = endpoints, partitions, prefix
        start = int(time.time() * 1000) << 22 | 1 << 21
        self._products = probe_products(partitions)
        self._ids = [order_ids(start + (p << 17), p, partitions) for p in range(partitions)]
        self._stop = threading.Event()
        stores = {"mysql": self._in_mysql, "redis": self._in_redis}
        works: list[Callable[[], None]] = [self._ask, self._hear, *(lambda place=place, look=look: self._look(place, look) for place, look in stores.items())]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send no more, hear no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    # -- asking --------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        # Never given up: what the brokers cannot take now they take later, and the wait for it counts.
        producer = Producer(
            {
                **{"bootstrap.servers": self._endpoints.kafka, "enable.idempotence": True, "linger.ms": 0, "message.timeout.ms": 0, "log_level": 2},
                **{"reconnect.backoff.max.ms": 500, "request.timeout.ms": 5_000},
            }
        )
        while not self._stop.wait(EVERY_S):
            for partition in range(self._partitions):
                self._probe(producer, partition)
            producer.poll(0)
        producer.flush(10)

    def _probe(self, producer: Producer, partition: int) -> None:
        product, order_id = self._products[partition], next(self._ids[partition])
        value = {"order_id": order_id, "line": 1, "line_count": 1, "product_id": product, "quantity": 1, "unit_price": 1, "currency": "GBP"}
        value |= {"user_id": "probe", "payment_token": "tok_ok", "placed_at": int(time.time() * 1000)}
        self._by_id[order_id] = probe = Probe(order_id, partition, time.monotonic())
        self.probes.append(probe)
        producer.produce(ORDERS.named(self._prefix), codec.encode("OrderLine", value), product.encode(), partition)

    # -- hearing -------------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        consumer = Consumer(
            {
                **{"bootstrap.servers": self._endpoints.kafka, "group.id": "faults.probes", "enable.auto.commit": False, "log_level": 2},
                **{"isolation.level": "read_committed", "fetch.wait.max.ms": 50, "reconnect.backoff.max.ms": 500},
            }
        )
        consumer.assign([TopicPartition(ORDER_OUTCOMES.named(self._prefix), p, OFFSET_BEGINNING) for p in range(self._partitions)])
        while not self._stop.is_set():
            for message in consumer.consume(500, 0.1):
                if message.error() is None:
                    self._take(message.value())
        consumer.close()

    def _take(self, value: bytes | None) -> None:
        try:
            found = codec.decode(value)
        except codec.UndecodableError:
            return  # poison is the audit's business
        if found.name != "OrderOutcome" or found.value["change"] != "DECIDED":
            return
        order_id, now = found.value["order_id"], time.monotonic()
        self.decided.setdefault(order_id, now)
        if order_id in self._by_id:
            self._by_id[order_id].expired = found.value["status"] == "EXPIRED"
            self._by_id[order_id].seen.setdefault(LOG, now)

    # -- looking into the stores ---------------------------------------------------------------------------------------

    def _look(self, place: str, look: Callable[[list[int]], Iterable[int]]) -> None:
        while not self._stop.wait(LOOK_S):
            wanted = [probe.order_id for probe in self.probes[-4_000:] if LOG in probe.seen and place not in probe.seen]
            try:
                found = list(look(wanted)) if wanted else []
            except (pymysql.MySQLError, redis.RedisError, OSError):
                continue
            now = time.monotonic()
            for order_id in found:
                self._by_id[order_id].seen[place] = now

    def _in_mysql(self, wanted: list[int]) -> list[int]:
        at = MysqlAddress.parse(self._endpoints.mysql)
        login: dict[str, Any] = {"host": at.host, "port": at.port, "user": at.user, "password": at.password, "database": at.database}
        with pymysql.connect(**login, connect_timeout=2, read_timeout=5) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT order_id FROM orders WHERE order_id IN %s", (wanted,))
            return [int(row[0]) for row in cursor.fetchall()]

    def _in_redis(self, wanted: list[int]) -> list[int]:
        with redis.Redis.from_url(self._endpoints.redis, socket_timeout=5, socket_connect_timeout=2) as client:
            pipeline = client.pipeline(transaction=False)
            for order_id in wanted:
                pipeline.exists(order_key(order_id))
            return [order_id for order_id, exists in zip(wanted, pipeline.execute(), strict=True) if exists]
