"""Stock in Redis, decided by a Lua script per order, pipelined; the outcome is kept in Redis under the order's ID.

Exactly once: an order that already has its outcome changes nothing; the position in the log is committed afterwards.
"""

from __future__ import annotations

from typing import Final

import redis
from confluent_kafka import Consumer, Message

from bench.peers.common import Commits, Given, order_line

PIPELINED: Final = 1_000
STOCK: Final = "bench:stock"
OUTCOMES: Final = "bench:outcomes:%d"
"""By the hundredth of the order ID's range: hashes of moderate size are cheaper to grow."""
RESERVE: Final = """
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
local available = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or ARGV[4])
local quantity = tonumber(ARGV[3])
local held = available >= quantity
if held then
  available = available - quantity
  redis.call('HSET', KEYS[1], ARGV[2], available)
end
redis.call('HSET', KEYS[2], ARGV[1], (held and '1:' or '0:') .. ARGV[2] .. ':' .. ARGV[3] .. ':' .. available)
return 1
"""


def run(given: Given) -> None:
    """Decide until killed."""
    client = redis.Redis.from_url(given.redis)
    script = client.script_load(RESERVE)
    consumer, commits = Consumer(given.consumer_settings()), Commits(given)
    consumer.subscribe([given.input])
    while True:
        records = consumer.consume(PIPELINED, 0.05)
        if records:
            _batch(given, client, script, records)
            consumer.commit(asynchronous=True)
            commits.note(len(records))


def _batch(given: Given, client: redis.Redis, script: str, records: list[Message]) -> None:
    pipeline = client.pipeline(transaction=False)
    for record in records:
        order = order_line(record.value() or b"")
        shard = OUTCOMES % (order.order_id % 100)
        pipeline.evalsha(script, 2, STOCK, shard, order.order_id, order.product_id, order.quantity, given.opening(order.product_id))
    pipeline.execute()


if __name__ == "__main__":
    run(Given.from_environment())
