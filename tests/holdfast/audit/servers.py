"""A correct history in Kafka, MySQL and Redis."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from holdfast import audit, topics
from holdfast.cli import main
from schemas.views import SINK_POSITIONS, TIME_COLUMNS, position_key
from sinks.migrate import migrate
from tests.support.correct_history import correct_shop
from tests.support.history import Shop
from tests.support.history_records import Rec
from tests.support.history_stores import StoreContents
from tests.support.stack import connect


class Servers:
    """One shop's history on the servers, under its own prefix."""

    def __init__(self, kafka: str, mysql_url: str, redis_url: str, shop: Shop) -> None:
        self.kafka, self.mysql_url, self.redis_url, self.shop = kafka, mysql_url, redis_url, shop
        self.producer = Producer({"bootstrap.servers": kafka, "transactional.id": shop.prefix, "transaction.timeout.ms": 10_000, "log_level": 2})
        self.producer.init_transactions(30)

    def environment(self) -> dict[str, str]:
        return {"HOLDFAST_KAFKA": self.kafka, "HOLDFAST_MYSQL": self.mysql_url, "HOLDFAST_REDIS": self.redis_url, "HOLDFAST_TOPIC_PREFIX": self.shop.prefix}

    def command(self, *options: str, **environment: str) -> Result:
        return CliRunner().invoke(main, ["audit", *options], env=self.environment() | environment)

    def run(self, **options: bool) -> audit.Report:
        return audit.run(self.kafka, self.mysql_url, self.redis_url, self.shop.prefix, **options)

    def execute(self, statement: str) -> int:
        """Run one statement on MySQL; returns how many rows it changed."""
        with connect(self.mysql_url) as connection, connection.cursor() as cursor:
            changed = cursor.execute(statement)
            connection.commit()
        return changed

    def cache(self) -> redis.Redis:
        """A connection to Redis; the caller closes it."""
        return redis.Redis.from_url(self.redis_url, decode_responses=True)

    def write_topics(self) -> None:
        """Two records of a partition to a transaction, so that offsets come out as the shop gave them."""
        waiting: defaultdict[tuple[str, int], list[Rec]] = defaultdict(list)
        for rec in self.shop.records:
            waiting[rec.topic.name, rec.partition].append(rec)
        while any(waiting.values()):
            self.producer.begin_transaction()
            for records in waiting.values():
                for rec in records[:2]:
                    self.produce(rec)
                del records[:2]
            self.producer.commit_transaction(30)

    def produce(self, rec: Rec) -> None:
        self.producer.produce(rec.topic.named(self.shop.prefix), rec.encoded(), rec.key, partition=rec.partition)

    def write_stores(self, contents: StoreContents) -> None:
        """Make both stores what correct sinks make of the history."""
        migrate(self.mysql_url)
        for table in (*contents.mysql, SINK_POSITIONS):
            self.execute(f"DELETE FROM {table}")
        for table, rows in contents.mysql.items():
            self._insert(table, rows)
        positions = ((sink, topic, number, at) for sink, held in contents.positions.items() for (topic, number), at in held.items())
        self._insert(SINK_POSITIONS, [dict(zip(("sink", "topic", "partition_no", "position"), row, strict=True)) for row in positions if row[0] == "mysql"])
        with self.cache() as client:
            client.flushdb()
            for key, fields in contents.redis.items():
                client.hset(key, mapping=fields)
            for place, position in contents.positions["redis"].items():
                client.set(position_key(*place), position)

    def _insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        columns = list(rows[0])
        values = [[_stored(name, row[name]) for name in columns] for row in rows]
        with connect(self.mysql_url) as connection, connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", values)
            connection.commit()


def _stored(name: str, value: object) -> object:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value) if name in TIME_COLUMNS and isinstance(value, int) else value


def correct_servers(kafka: str, mysql_url: str, redis_url: str, prefix: str) -> Servers:
    """Write a correct history to the servers."""
    shop = correct_shop(prefix)
    topics.create(kafka, shop.prefix, shop.partitions)
    made = Servers(kafka, mysql_url, redis_url, shop)
    made.write_topics()
    made.write_stores(StoreContents(shop))
    return made
