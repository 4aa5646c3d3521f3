"""The small warehouse through the generations of the topics: what is left of an earlier one is shipped first."""

import threading
import time
from collections.abc import Callable
from dataclasses import fields, replace

import structlog
from confluent_kafka import KafkaException

from generations import History, Watch
from holdfast.warehouse import Orders, Shipped, Warehouse, WarehouseError

LOOK_EVERY_S = 1.0
WAIT_S = 0.5

log = structlog.get_logger(__name__)


class Ended:
    """Set when the warehouse is to stop, or when the topics begin to move on to another generation than `begun`."""

    def __init__(self, stopping: threading.Event, watch: Watch, begun: History) -> None:
        self._stopping = stopping
        self._watch = watch
        self._begun = begun
        self._looked_at = time.monotonic()
        self.moved = False

    def is_set(self) -> bool:
        """Return whether to end; asks the brokers now and then."""
        if not self.moved and time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self.look()
        return self.moved or self._stopping.is_set()

    def look(self) -> bool:
        """Ask the brokers now whether the topics move."""
        try:
            now = self._watch.look()
        except KafkaException as error:
            log.info("the brokers do not say which generation of the topics is in use", error=str(error))
        else:
            self.moved = self.moved or now.moving is not None or now.number != self._begun.number
        return self.moved


def ship_all(kafka: str, root: str, orders: Orders, stopping: threading.Event, progress: Callable[[Shipped], None] = lambda _: None) -> Shipped:
    """Ship until told to stop, or without `follow` until the log's end is shipped; waits while the topics move. Raises WarehouseError."""
    watch, done = Watch(kafka, root), Shipped()
    while True:
        history = _at_rest(watch, stopping)
        ended = Ended(stopping, watch, history)
        for prefix in history.prefixes:
            last = prefix == history.prefix
            done = _added(done, _ship_one(kafka, (prefix, history.prefix), orders if last else replace(orders, follow=False), ended, progress))
        if not ended.moved:
            return done


def _at_rest(watch: Watch, stopping: threading.Event) -> History:
    while True:
        try:
            history = watch.look()
        except KafkaException as error:
            raise WarehouseError(f"the warehouse cannot begin without Kafka: {error.args[0].str()}") from error
        if history.moving is None or stopping.wait(WAIT_S):
            return history


def _ship_one(kafka: str, prefixes: tuple[str, str], orders: Orders, ended: Ended, progress: Callable[[Shipped], None]) -> Shipped:
    """Ship what one generation's outcomes ask for; commands that were refused because the topics move are sent again after it."""
    if ended.is_set():
        return Shipped()
    warehouse = Warehouse(kafka, prefixes[0], orders, progress, commands_prefix=prefixes[1])
    try:
        return warehouse.run(ended)
    except WarehouseError:
        if not ended.look():
            raise
        return warehouse.shipped


def _added(one: Shipped, other: Shipped) -> Shipped:
    return Shipped(**{field.name: getattr(one, field.name) + getattr(other, field.name) for field in fields(Shipped)})
