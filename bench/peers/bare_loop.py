"""A consume-decide-produce loop on confluent-kafka alone, exactly once: one process, or several of one group."""

from __future__ import annotations

import struct
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from bench.peers.common import Given, encode_outcome, order_line

MOST_RECORDS: Final = 20_000
"""Per transaction: a commit costs the same for one order and for as many."""
ROW: Final = struct.Struct(">qq")


class Loop:
    """Rows are kept in a dict and in a changelog that the transactions write, as Kafka Streams does."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.rows: dict[str, tuple[int, int]] = {}
        self.consumer = Consumer(given.consumer_settings())
        ids = {"bootstrap.servers": given.kafka, "transactional.id": f"{given.group}.{given.process}", "transaction.timeout.ms": 10_000}
        queue = {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 262_144}
        self.producer = Producer({**ids, **queue, "compression.type": "lz4", "linger.ms": 5, "batch.num.messages": 10_000})
        self.producer.init_transactions()

    def run(self) -> None:
        """Decide batch after batch until killed."""
        self.consumer.subscribe([self.given.input], on_assign=self._restore)
        while True:
            records = self.consumer.consume(1, 0.5)
            if records:
                self._batch([*records, *self.consumer.consume(MOST_RECORDS, 0)])

    def _batch(self, records: list[Message]) -> None:
        touched: dict[str, int] = {}
        self.producer.begin_transaction()
        for i, record in enumerate(records):
            if record.error():
                raise RuntimeError(record.error())
            self._decide(record, touched)
            if i % 1_000 == 0:
                self.producer.poll(0)
        for product, partition in touched.items():
            self._produce(self.given.changelog, ROW.pack(*self.rows[product]), product.encode(), partition)
        self.producer.send_offsets_to_transaction(self._ends(records), self.consumer.consumer_group_metadata())
        self.producer.commit_transaction()

    def _decide(self, record: Message, touched: dict[str, int]) -> None:
        order, partition = order_line(record.value() or b""), record.partition() or 0
        available, reserved = self.rows.get(order.product_id) or (self.given.opening(order.product_id), 0)
        held = available >= order.quantity
        if held:
            available -= order.quantity
            self.rows[order.product_id] = (available, reserved + order.quantity)
            touched[order.product_id] = partition
        self._produce(self.given.output, encode_outcome(*order, held, available), record.key(), partition)

    def _produce(self, topic: str, value: bytes, key: str | bytes | None, partition: int) -> None:
        while True:
            try:
                self.producer.produce(topic, value, key, partition)
                return
            except BufferError:
                self.producer.poll(0.05)

    def _ends(self, records: list[Message]) -> list[TopicPartition]:
        ends = {record.partition() or 0: (record.offset() or 0) + 1 for record in records}
        return [TopicPartition(self.given.input, partition, offset) for partition, offset in ends.items()]

    def _restore(self, _: Consumer, assigned: list[TopicPartition]) -> None:
        """Read the changelog of the partitions that are ours now."""
        if not assigned:
            return
        settings = {**self.given.consumer_settings(), "group.id": f"{self.given.group}.restore", "enable.partition.eof": True}
        reader, open_ends = Consumer(settings), len(assigned)
        reader.assign([TopicPartition(self.given.changelog, at.partition, OFFSET_BEGINNING) for at in assigned])
        while open_ends:
            for message in reader.consume(10_000, 0.2):
                error = message.error()
                if error is None:
                    available, reserved = ROW.unpack(message.value() or b"")
                    self.rows[(message.key() or b"").decode()] = (available, reserved)
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_ends -= 1
                else:
                    raise RuntimeError(error)
        reader.close()


if __name__ == "__main__":
    Loop(Given.from_environment()).run()
