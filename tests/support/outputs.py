"""Records as the stages write them to the sinks' topics, what the stores must hold after them, and what they do hold."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis
from hypothesis import strategies as st

from schemas import codec, topics, views
from schemas.outcomes import MAX_ORDER_ID, MAX_TIME
from sinks.rows import Record
from tests.support.stack import connect

LINE_FIELDS = ("line", "product_id", "quantity", "unit_price", "status", "refusal", "returned")
OUTCOMES, LEVELS = topics.ORDER_OUTCOMES.name, topics.STOCK_LEVELS.name


@dataclass
class Content:
    """What a store holds, or must hold: rows as dicts, by ID; times in ms."""

    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    orders: dict[int, dict[str, Any]] = field(default_factory=dict)
    lines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)

    def without_users(self) -> "Content":
        """The part that Redis keeps, too."""
        return Content(self.products, self.orders, self.lines)


def level(product_id: str = "85123A", version: int = 1, **other: Any) -> dict[str, Any]:
    """A StockLevel; the units follow from the version, so that two versions never look alike."""
    units = {"available": 100, "reserved": version, "shipped": 0, "received": 100 + version, "written_off": 0, "returned": 0}
    return {"product_id": product_id, **units, "version": version, "tracked": True, "frozen": False, "updated_at": 1_291_200_000_000 + version, **other}


def outcome(order_id: int = 1, version: int = 1, products: Iterable[str] = ("85123A",), **other: Any) -> dict[str, Any]:
    """An OrderOutcome of one line per product."""
    lines = [
        {"line": i, "product_id": p, "quantity": i, "unit_price": 250, "status": "SHIPPED" if version > 1 else "HELD", "refusal": "", "returned": version - 1}
        for i, p in enumerate(products, 1)
    ]
    amount = sum(x["quantity"] * x["unit_price"] for x in lines)
    header = {"order_id": order_id, "version": version, "change": "DECIDED", "status": "CONFIRMED", "refusal": ""}
    header |= {"user_id": "17850", "currency": "GBP"}
    money = {"amount": amount, "charged": amount, "refunded": version - 1, "attempt": 1, "line_count": len(lines), "lines": lines}
    times = {"placed_at": 1_291_200_000_000 + order_id % 1000, "decided_at": 1_291_200_000_050, "changed_at": 1_291_200_000_050 + version}
    return header | money | times | other


def refused_command(order_id: int = 1) -> dict[str, Any]:
    """An OrderCommandRefused."""
    said = {"command_id": "c1", "kind": "SHIP", "order_id": order_id, "line": 0, "quantity": 0, "refusal": "NOT_CONFIRMED"}
    return said | {"refused_at": 1_291_200_000_000, "actor": ""}


def encoded(value: Mapping[str, Any]) -> tuple[str, bytes, bytes]:
    """The topic a record belongs on, its key and its bytes."""
    if "product_id" in value:
        return LEVELS, value["product_id"].encode(), codec.encode("StockLevel", value)
    name = "OrderCommandRefused" if "command_id" in value else "OrderOutcome"
    return OUTCOMES, str(value["order_id"]).encode(), codec.encode(name, value)


def records(values: Iterable[Mapping[str, Any] | bytes], partitions: int = 3) -> list[Record]:
    """The values as records, spread over partitions by key, with offsets as they come; bytes go to order.outcomes as they are."""
    offsets: dict[tuple[str, int], itertools.count[int]] = {}
    found = []
    for value in values:
        topic, key, data = (OUTCOMES, b"?", value) if isinstance(value, bytes) else encoded(value)
        number = sum(key) % partitions
        offset = next(offsets.setdefault((topic, number), itertools.count()))
        found.append(Record(topic, topic, number, offset, key, data))
    return found


def expected(values: Iterable[Mapping[str, Any] | bytes]) -> Content:
    """What the stores must hold after these values: of each thing its highest version, of each user the first and last time."""
    content = Content()
    newest: dict[int, Mapping[str, Any]] = {}
    for value in values:
        if isinstance(value, bytes) or "command_id" in value:
            continue
        if "product_id" in value:
            held = content.products.get(value["product_id"])
            if held is None or held["version"] < value["version"]:
                content.products[value["product_id"]] = dict(value)
            continue
        times = content.users.setdefault(value["user_id"], {"first_order_at": MAX_TIME, "last_order_at": 0})
        times["first_order_at"] = min(times["first_order_at"], value["placed_at"])
        times["last_order_at"] = max(times["last_order_at"], value["placed_at"])
        if value["order_id"] not in newest or newest[value["order_id"]]["version"] < value["version"]:
            newest[value["order_id"]] = value
    content.orders = {order_id: {c: value[c] for c in views.ORDER_COLUMNS} for order_id, value in newest.items()}
    content.lines = {order_id: [dict(x) for x in value["lines"]] for order_id, value in newest.items()}
    return content


def in_mysql(mysql_url: str) -> Content:
    """What the tables hold. Every line must carry its order's version."""
    content = Content()
    with connect(mysql_url) as connection, connection.cursor() as cursor:

        def rows(table: str, columns: Iterable[str]) -> list[dict[str, Any]]:
            names = tuple(columns)
            cursor.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY {names[0]}, {names[1]}")
            return [{n: _plain(n, v) for n, v in zip(names, row, strict=True)} for row in cursor.fetchall()]

        content.products = {row["product_id"]: row for row in rows(views.PRODUCTS, views.PRODUCT_COLUMNS)}
        content.orders = {row["order_id"]: row for row in rows(views.ORDERS, views.ORDER_COLUMNS)}
        content.users = {row.pop("user_id"): row for row in rows(views.USERS, views.USER_COLUMNS)}
        content.lines = {order_id: [] for order_id in content.orders}
        for row in rows(views.ORDER_LINES, views.ORDER_LINE_COLUMNS):
            assert row["version"] == content.orders[row["order_id"]]["version"]
            content.lines[row["order_id"]].append({f: row[f] for f in LINE_FIELDS})
    return content


def in_redis(redis_url: str) -> Content:
    """What the hashes hold."""
    content = Content()
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for key in client.scan_iter("stock:*", count=10_000):
            content.products[key.removeprefix("stock:")] = _typed(client.hgetall(key), views.PRODUCT_COLUMNS)
        for key in client.scan_iter("order:*", count=10_000):
            held = client.hgetall(key)
            order_id = int(key.removeprefix("order:"))
            content.lines[order_id] = msgspec.json.decode(held.pop("lines"))
            content.orders[order_id] = _typed(held, views.ORDER_COLUMNS)
    return content


TEXTS = {"product_id", "user_id", "status", "refusal", "currency"}
FLAGS = {"tracked", "frozen"}


def _typed(held: dict[str, str], columns: Iterable[str]) -> dict[str, Any]:
    assert held.keys() == set(columns)
    return {c: _plain(c, held[c] if c in TEXTS else int(held[c])) for c in columns}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.replace(tzinfo=UTC).timestamp() * 1000)
    return bool(value) if name in FLAGS else value


# Few IDs and versions, so that things meet; IDs that a store might confuse.
PRODUCT_IDS = st.sampled_from(["A", "a", "A ", "85123A", "85123a", "é", "e\u0301", "'); --", "\\", "%s", '"', "\U0001f9f8" * 64, "x" * 64])
USER_IDS = st.sampled_from(["17850", "17850 ", "Ann", "ann", "O'Hara"])
TIMES = st.integers(0, MAX_TIME)
LONGS = st.integers(-(2**63), 2**63 - 1)
INTS = st.integers(-(2**31), 2**31 - 1)


@st.composite
def levels(draw: st.DrawFn) -> dict[str, Any]:
    """StockLevels with every value that Avro lets through; the same product and version is always the same level."""
    product_id, version = draw(PRODUCT_IDS), draw(st.integers(1, 4))
    made = level(product_id, version, tracked=version != 2, frozen=version == 3)
    if product_id in {"A", "A "}:
        return made
    return made | {"available": (-1) ** version * (2**63 - version), "updated_at": MAX_TIME * (version - 1) // 3}


@st.composite
def outcomes(draw: st.DrawFn) -> dict[str, Any]:
    """OrderOutcomes; the same order and version is always the same outcome, and a later one has all the lines of an earlier."""
    order_id, version = draw(st.sampled_from([1, 2, 2, 3, 4_194_304, MAX_ORDER_ID])), draw(st.integers(1, 4))
    ids = ["A", "a", "A ", "\\'", "\U0001f9f8" * 64]
    made = outcome(order_id, version, ids[: min(version + order_id % 2, 5)], refusal="CANCELLED_ON_REQUEST" if version == 4 else "")
    user = ["17850", "17850 ", "O'Hara"][order_id % 3]
    made |= {"user_id": user, "placed_at": order_id % MAX_TIME}
    if order_id == 1:
        return made | {"change": "DECIDED" if version == 1 else "AMENDED"}
    if order_id == 2:
        lines = [line | {"returned": 0} for line in made["lines"]]
        return made | ({"lines": lines} if version == 1 else {"lines": lines, "change": "SHIPPED", "status": "SHIPPED"})
    return made | {"charged": -(2**63), "attempt": 2**31 - 1}


VALUES = st.lists(st.one_of(levels(), outcomes(), st.builds(refused_command), st.binary(max_size=9)), max_size=24)
