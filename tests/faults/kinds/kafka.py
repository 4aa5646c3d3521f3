"""Kafka killed, kept away, frozen; transactions left open where only stages write."""

from __future__ import annotations

import signal
import threading
from random import Random
from typing import Final

from confluent_kafka import Producer

from schemas.topics import ORDER_STATE, PAYMENT_STATE, STOCK_STATE, Topic
from tests.faults.fault import CannotStrikeError, Fault, Heal
from tests.faults.site import Site

AWAY_S: Final = 60.0
FROZEN_S: Final = 8.0
OPEN_MS: Final = 6_000
CHANGELOGS: Final[tuple[Topic, ...]] = (STOCK_STATE, ORDER_STATE, PAYMENT_STATE)


def kill(site: Site, _random: Random) -> None:
    if not site.signal("kafka", signal.SIGKILL):
        raise CannotStrikeError("Kafka is not running just now")


class Absence:
    """Kafka is killed as soon as the supervisor has started it, until it may come back."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_away, daemon=True)
        self._thread.start()

    def _keep_away(self) -> None:
        while not self._over.wait(0.1):
            self._site.signal("kafka", signal.SIGKILL)

    def end(self) -> None:
        self._over.set()
        self._thread.join(10)


def keep_away(site: Site, random: Random) -> Heal:
    kill(site, random)
    return Absence(site).end


def freeze(site: Site, _random: Random) -> Heal:
    """Every connection stays open and nothing answers."""
    if not site.signal("kafka", signal.SIGSTOP):
        raise CannotStrikeError("Kafka is not running just now")
    return lambda: _wake(site)


def _wake(site: Site) -> None:
    site.signal("kafka", signal.SIGCONT)


def open_on_changelogs(site: Site, random: Random) -> None:
    """Hold up every reader of a changelog's last rows by a stranger's transaction, and kill the workers, which have to read them."""
    producer = Producer(
        {
            **{"bootstrap.servers": site.endpoints.kafka, "transactional.id": f"{site.prefix}stranger.{random.getrandbits(32)}", "log_level": 2},
            **{"transaction.timeout.ms": OPEN_MS},
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    for topic in CHANGELOGS:
        for partition in range(site.partitions):
            producer.produce(topic.named(site.prefix), None, b"nobody's", partition)
    producer.flush(30)
    del producer  # it dies with its transaction open
    site.signal("worker", signal.SIGKILL)


FAULTS = (
    Fault("Kafka killed", "kill -9 of the broker; the supervisor starts it again", kill),
    Fault("Kafka away for a minute", f"kill -9 of the broker, and again as soon as it comes up, for {AWAY_S:.0f} s", keep_away, AWAY_S, withholds=True),
    Fault("Kafka frozen", f"SIGSTOP of the broker for {FROZEN_S:.0f} s, then SIGCONT", freeze, FROZEN_S, withholds=True),
    Fault("transaction left open on the changelogs", "a stranger's transaction holds up what the workers have to read when they open", open_on_changelogs),
)
