"""Pure: the statements of a rebuild beside MySQL tables, in what MariaDB 10.11 and MySQL 8.4 and 9 have in common.

Names come from schemas/views.py and from the address; values are parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from schemas import views

KEYS: Final = {
    views.PRODUCTS: ("product_id",),
    views.USERS: ("user_id",),
    views.ORDERS: ("order_id",),
    views.ORDER_LINES: ("order_id", "line"),
}
COLUMNS: Final = {
    views.PRODUCTS: views.PRODUCT_COLUMNS,
    views.USERS: views.USER_COLUMNS,
    views.ORDERS: views.ORDER_COLUMNS,
    views.ORDER_LINES: views.ORDER_LINE_COLUMNS,
}
CHOSEN: Final = {
    views.PRODUCTS: ("product_id", "chosen_products"),
    views.ORDERS: ("order_id", "chosen_orders"),
    views.ORDER_LINES: ("order_id", "chosen_orders"),
}
"""Of a selection: the column by which a table's rows are chosen, and the table beside that names the chosen ones. Users have none:
when one ordered first and last hangs on all of their orders."""
_SECONDARY: Final = re.compile(r"^\s*((?:UNIQUE |FULLTEXT |SPATIAL )?KEY (`(?:[^`]|``)+`) .*?),?$")
REPLACED: Final = "replaced_"
"""Before the names of the live tables that a rebuilt one took the place of."""


def quoted(name: str) -> str:
    """Return a name as a statement may hold it."""
    return "`" + name.replace("`", "``") + "`"


def secondary_keys(create_table: str) -> dict[str, str]:
    """Return each secondary index of a SHOW CREATE TABLE: quoted name -> its definition."""
    found = (_SECONDARY.match(line) for line in create_table.splitlines())
    return {match[2]: match[1] for match in found if match}


def differing(live: str, beside: str, table: str, *, chosen: bool) -> str:
    """Return the query of all rows that differ: what ("changed", "missing", "extra"), and the key's columns.

    `live` and `beside` are quoted database names; `chosen`: only those of the selection.
    """
    keys = KEYS[table]
    named = ", ".join(f"{{0}}.{key}" for key in keys)
    on = " AND ".join(f"l.{key} = r.{key}" for key in keys)
    same = " AND ".join(f"l.{column} <=> r.{column}" for column in COLUMNS[table])
    within = _within(beside, table, "l") if chosen else ""
    return (
        f"SELECT IF(l.{keys[0]} IS NULL, 'missing', 'changed'), {named.format('r')} FROM {beside}.{table} r LEFT JOIN {live}.{table} l ON {on}"  # noqa: S608
        f" WHERE l.{keys[0]} IS NULL OR NOT ({same})"
        f" UNION ALL SELECT 'extra', {named.format('l')} FROM {live}.{table} l{within} LEFT JOIN {beside}.{table} r ON {on} WHERE r.{keys[0]} IS NULL"
    )


def mending(live: str, beside: str, table: str) -> Iterator[str]:
    """Yield the statements that make the selection's live rows of a table what the rebuilt ones are."""
    keys = KEYS[table]
    on = " AND ".join(f"l.{key} = r.{key}" for key in keys)
    columns = ", ".join(COLUMNS[table])
    rebuilt = ", ".join(f"r.{column}" for column in COLUMNS[table])
    same = " AND ".join(f"l.{column} <=> r.{column}" for column in COLUMNS[table])
    yield f"DELETE l FROM {live}.{table} l{_within(beside, table, 'l')} LEFT JOIN {beside}.{table} r ON {on} WHERE r.{keys[0]} IS NULL"
    yield (
        f"REPLACE INTO {live}.{table} ({columns}) SELECT {rebuilt} FROM {beside}.{table} r LEFT JOIN {live}.{table} l ON {on}"  # noqa: S608
        f" WHERE l.{keys[0]} IS NULL OR NOT ({same})"
    )


def renaming(live: str, beside: str, tables: Sequence[str]) -> str:
    """Return the one statement that puts the rebuilt tables in the place of the live ones."""
    steps = [f"{live}.{t} TO {beside}.{REPLACED}{t}, {beside}.{t} TO {live}.{t}" for t in tables]
    return "RENAME TABLE " + ", ".join(steps)


def _within(beside: str, table: str, alias: str) -> str:
    column, names = CHOSEN[table]
    return f" JOIN {beside}.{names} c ON c.{column} = {alias}.{column}"
