"""Pure: the statements of the MySQL sink, in what MariaDB 10.11 and MySQL 8.4 and 9 have in common.

Rows go in as literals, many to a statement: building them here takes a sixth of the CPU that the driver's
`executemany` needs for the same text. Every string passes through the driver's own escape function, as a parameter
would (the connection's sql_mode has no NO_BACKSLASH_ESCAPES); everything else is an int or a time formatted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias, TypeGuard

from pymysql.converters import escape_string as escape

from schemas import views
from schemas.shards import shard_of
from sinks import plain
from sinks.batch import Batch
from sinks.rows import Level, Outcome, datetime_text

ROWS_PER_STATEMENT: Final = 2_000
ORDERS_PER_UPDATE: Final = 200


class Update(NamedTuple):
    """A statement that changes so many rows where the table is as the batch expects it; where it is not, `otherwise` is to be carried out too."""

    text: str
    rows: int
    otherwise: Callable[[], Iterator[str]]


Statement: TypeAlias = str | Update


def upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> tuple[str, str]:
    """Return what goes before and behind the rows: a row whose version is not higher than the stored one changes nothing."""
    rest = [c for c in columns if c not in key and c != "version"]
    # Assignments are made from left to right: `version` is compared until it is set itself, last.
    newer = [f"{c} = IF(VALUES(version) > version, VALUES({c}), {c})" for c in rest]
    return _insert(table, columns), " ON DUPLICATE KEY UPDATE " + ", ".join([*newer, "version = GREATEST(version, VALUES(version))"])


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES "  # noqa: S608 (names of schemas/views.py)


PRODUCTS: Final = upsert(views.PRODUCTS, views.PRODUCT_COLUMNS, ("product_id",))
ORDERS: Final = upsert(views.ORDERS, views.ORDER_COLUMNS, ("order_id",))
LINES: Final = upsert(views.ORDER_LINES, views.ORDER_LINE_COLUMNS, ("order_id", "line"))
USERS: Final = (
    _insert(views.USERS, views.USER_COLUMNS),
    " ON DUPLICATE KEY UPDATE first_order_at = LEAST(first_order_at, VALUES(first_order_at)), last_order_at = GREATEST(last_order_at, VALUES(last_order_at))",
)

SHIP_LINES: Final = f"UPDATE {views.ORDER_LINES} FORCE INDEX (PRIMARY) SET status = 'SHIPPED', refusal = '', returned = 0"  # noqa: S608
"""The index is named because its statistics may be of a table that was small."""

ADD_POSITION: Final = f"INSERT IGNORE INTO {views.SINK_POSITIONS} (sink, topic, partition_no, position) VALUES (%s, %s, %s, 0)"  # noqa: S608
READ_POSITIONS: Final = f"SELECT topic, partition_no, position FROM {views.SINK_POSITIONS} WHERE sink = %s"  # noqa: S608
MOVE_POSITION: Final = f"UPDATE {views.SINK_POSITIONS} SET position = %s WHERE sink = %s AND topic = %s AND partition_no = %s AND position = %s"  # noqa: S608

PROBES: Final = tuple(
    f"SELECT {', '.join(columns)} FROM {table} LIMIT 0"  # noqa: S608
    for table, columns in (
        (views.PRODUCTS, views.PRODUCT_COLUMNS),
        (views.USERS, views.USER_COLUMNS),
        (views.ORDERS, views.ORDER_COLUMNS),
        (views.ORDER_LINES, views.ORDER_LINE_COLUMNS),
    )
)
"""They fail where a table or a column that the sink writes is missing."""


def statements(batch: Batch, largest: int) -> Iterator[Statement]:
    """Return the statements that write a batch, of `largest` bytes at most (but of one row at least).

    Shared rows go in the order of their keys, so that two writers rarely deadlock.
    """
    yield from header_statements(batch, largest)
    yield from line_statements(batch, largest)


def header_statements(batch: Batch, largest: int) -> Iterator[str]:
    """Return those of `statements` that are not about order lines."""
    yield from _statements(PRODUCTS, [_product(batch.products[key]) for key in sorted(batch.products)], largest)
    yield from _statements(USERS, [_user(user_id, *times) for user_id, times in sorted(batch.users.items())], largest)
    yield from _statements(ORDERS, [_order(batch.orders[key]) for key in sorted(batch.orders)], largest)


def line_statements(batch: Batch, largest: int, shard: int = 0, shards: int = 1) -> Iterator[Statement]:
    """Return those of `statements` that are about order lines, of those that one of several shards holds.

    A shipped order's lines are what they were but for their state, which is the same for all: that is one statement for many orders.
    """
    shipped: list[plain.Order] = []
    whole: list[Outcome] = []
    for outcome in (batch.orders[key] for key in sorted(batch.orders)):
        if shards == 1 and _is_shipped(outcome, batch):
            shipped.append(outcome)
        else:
            whole.append(outcome)
    yield from _shipping(shipped, largest)
    yield from _statements(LINES, list(_lines(whole, shard, shards)), largest)


def _is_shipped(outcome: Outcome, batch: Batch) -> TypeGuard[plain.Order]:
    return isinstance(outcome, plain.Order) and outcome.is_shipped and outcome.order_id not in batch.merged


def _shipping(orders: Sequence[plain.Order], largest: int) -> Iterator[Update]:
    for version, some in groupby(sorted(orders, key=attrgetter("version")), attrgetter("version")):
        same = list(some)
        for start in range(0, len(same), ORDERS_PER_UPDATE):
            yield _update(version, same[start : start + ORDERS_PER_UPDATE], largest)


def _update(version: int, orders: Sequence[plain.Order], largest: int) -> Update:
    """Return what ships the lines that stand one version before: the log says that nothing else of them changed since."""
    ids = ",".join(str(x.order_id) for x in orders)
    text = f"{SHIP_LINES}, version = {version} WHERE order_id IN ({ids}) AND version = {version - 1}"
    return Update(text, sum(x.lines for x in orders), lambda: _statements(LINES, list(_lines(orders, 0, 1)), largest))


def _statements(around: tuple[str, str], rows: Sequence[str], largest: int) -> Iterator[str]:
    before, behind = around
    room = largest - len(before) - len(behind)
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        for text in _fitting(rows[start : start + ROWS_PER_STATEMENT], room):
            yield before + text + behind


def _fitting(rows: Sequence[str], room: int) -> Iterator[str]:
    """Join the rows into as few texts as fit into `room` bytes each: nearly always one."""
    text = ",".join(rows)
    if _most_bytes(text) <= room:
        yield text
        return
    for some in _cut(rows, room):
        yield ",".join(some)


def _cut(rows: Sequence[str], room: int) -> Iterator[Sequence[str]]:
    """Cut the rows into runs, which fit into `room` bytes with a comma behind each."""
    start = used = 0
    for i, row in enumerate(rows):
        size = _most_bytes(row) + 1
        if i > start and used + size > room:
            yield rows[start:i]
            start, used = i, 0
        used += size
    yield rows[start:]


def _most_bytes(text: str) -> int:
    """UTF-8 needs four bytes a character at most; the few rows that are not ASCII are not worth an exact count."""
    return len(text) if text.isascii() else 4 * len(text)


def _product(x: Level) -> str:
    if isinstance(x, plain.Product):
        return x.sql()
    units = f"{x['available']},{x['reserved']},{x['shipped']},{x['received']},{x['written_off']},{x['returned']}"
    return f"({_quoted(x['product_id'])},{units},{x['version']},{x['tracked']:d},{x['frozen']:d},'{datetime_text(x['updated_at'])}')"


def _user(user_id: str, first: int, last: int) -> str:
    return f"({_quoted(user_id)},'{datetime_text(first)}','{datetime_text(last)}')"


def _quoted(text: str) -> str:
    """Return a string as a literal. Nearly all are letters and digits alone, which escape to themselves."""
    return f"'{text}'" if text.isalnum() else f"'{escape(text)}'"


def _order(x: Outcome) -> str:
    """`status` is one of Avro's enum symbols, so it needs no escaping."""
    if isinstance(x, plain.Order):
        return x.sql()
    texts = f"{_quoted(x['user_id'])},'{x['status']}',{_quoted(x['refusal'])},{x['version']},{_quoted(x['currency'])}"
    numbers = f"{x['amount']},{x['charged']},{x['refunded']},{x['attempt']},{x['line_count']}"
    times = f"'{datetime_text(x['placed_at'])}','{datetime_text(x['decided_at'])}','{datetime_text(x['changed_at'])}'"
    return f"({x['order_id']},{texts},{numbers},{times})"


def _lines(outcomes: Iterable[Outcome], shard: int, shards: int) -> Iterator[str]:
    """One text per line. `status` is one of Avro's enum symbols, so it needs no escaping."""
    for outcome in outcomes:
        if isinstance(outcome, plain.Order):
            yield from outcome.lines_sql(shard, shards)
            continue
        order_id, version = outcome["order_id"], outcome["version"]
        for x in outcome["lines"]:
            product, refusal = x["product_id"], x["refusal"]
            if shards > 1 and shard_of(product, shards) != shard:
                continue
            texts = f"{x['quantity']},{x['unit_price']},'{x['status']}',{_quoted(refusal) if refusal else _EMPTY}"
            yield f"({order_id},{x['line']},{_quoted(product)},{texts},{x['returned']},{version})"


_EMPTY: Final = "''"
