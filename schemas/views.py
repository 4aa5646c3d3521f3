"""What the stores hold, named once: MySQL tables and columns, Redis keys and fields."""

from __future__ import annotations

from typing import Final

PRODUCTS: Final = "products"
PRODUCT_COLUMNS: Final = ("product_id", "available", "reserved", "shipped", "received", "written_off", "returned", "version", "tracked", "frozen", "updated_at")
USERS: Final = "users"
USER_COLUMNS: Final = ("user_id", "first_order_at", "last_order_at")
ORDERS: Final = "orders"
ORDER_COLUMNS: Final = (
    *("order_id", "user_id", "status", "refusal", "version", "currency", "amount", "charged", "refunded", "attempt", "line_count"),
    *("placed_at", "decided_at", "changed_at"),
)
ORDER_LINES: Final = "order_lines"
ORDER_LINE_COLUMNS: Final = ("order_id", "line", "product_id", "quantity", "unit_price", "status", "refusal", "returned", "version")
SINK_POSITIONS: Final = "sink_positions"
"""(sink, topic, partition_no) -> position: the next offset to read, moved in the transaction that wrote the rows."""

ORDER_BINDINGS: Final = "order_bindings"
"""(source, external_id) -> order_id: one order ID for ever for an order known elsewhere under another name."""
LOADS: Final = "loads"
"""source -> progress of `holdfast load`, so that it resumes after a kill."""
WORKER_LEASES: Final = "worker_leases"
"""worker (0..1023) -> who leases that number of the order-ID generator, until when, and the last ms it used."""
API_KEYS: Final = "api_keys"
"""key_id -> the gateway's API keys: SHA-256 of the secret, user (NULL: every one), scopes, limits, when it ends."""
ORDER_KEYS: Final = "order_keys"
"""(user_id, idempotency_key) -> order_id and the hash of the body: one order ID for ever for a key."""

WEBHOOK_ENDPOINTS: Final = "webhook_endpoints"
"""endpoint_id -> the URL that is told, of whose orders (NULL: everybody's), of which events, and the secret that signs."""
WEBHOOK_NOTICES: Final = "webhook_notices"
"""(endpoint_id, order_id, version) -> one notice: due, delivered or dead."""

TIME_COLUMNS: Final = frozenset({"updated_at", "first_order_at", "last_order_at", "placed_at", "decided_at", "changed_at"})
"""Stored as DATETIME(3) in UTC."""


def stock_key(product_id: str) -> str:
    """Redis hash of a product: available, reserved, shipped, version, and PRODUCT_COLUMNS' rest; times in ms."""
    return f"stock:{product_id}"


def order_key(order_id: int) -> str:
    """Redis hash of an order: status, version, ORDER_COLUMNS' rest, and `lines` as JSON; times in ms."""
    return f"order:{order_id}"


SECOND_BITS = 32
"""What is left of an order ID without them counts about the seconds (1.024 s each)."""


def placed_key(order_id: int) -> str:
    """Return the Redis key of the hash that notes whose orders of about a second (by their IDs) are, until they are decided: order ID -> user."""
    return f"placed:{order_id >> SECOND_BITS}"


def position_key(topic: str, partition: int) -> str:
    """Redis string: the Redis sink's next offset of one partition."""
    return f"sink:position:{topic}:{partition}"


def bucket_key(kind: str, name: str) -> str:
    """Redis hash of a token bucket of the gateways: `t` tokens, `at` the server's time in s at which it had them."""
    return f"throttle:{kind}:{name}"


WRITE_NEWER: Final = """
-- KEYS: hashes. ARGV: number of fields n, place of `version` among them, n names, then n values per key.
local n, at = tonumber(ARGV[1]), tonumber(ARGV[2])
local row, first = {}, 2 + n
for f = 1, n do row[2 * f - 1] = ARGV[2 + f] end
for k = 1, #KEYS do
  local held = tonumber(redis.call('HGET', KEYS[k], 'version') or '')
  if not held or held < tonumber(ARGV[first + at]) then
    for f = 1, n do row[2 * f] = ARGV[first + f] end
    redis.call('HSET', KEYS[k], unpack(row))
  end
  first = first + n
end
"""
"""Redis script of everybody who writes rows: one whose version is not higher than the one held changes nothing."""

WRITE_NEWER_PACKED: Final = """
-- As WRITE_NEWER, with the n values of a key in one argument: an array of texts in msgpack. No key is there twice.
local n, at = tonumber(ARGV[1]), tonumber(ARGV[2])
local row, all_new = {}, redis.call('EXISTS', unpack(KEYS)) == 0
for f = 1, n do row[2 * f - 1] = ARGV[2 + f] end
for k = 1, #KEYS do
  local values = cmsgpack.unpack(ARGV[2 + n + k])
  local held = not all_new and tonumber(redis.call('HGET', KEYS[k], 'version') or '')
  if not held or held < tonumber(values[at]) then
    for f = 1, n do row[2 * f] = values[f] end
    redis.call('HSET', KEYS[k], unpack(row))
  end
end
"""
"""For many rows at once: an argument costs both sides more than what is in it."""
