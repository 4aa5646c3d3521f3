"""The map that a user writes: which columns of a row are which fields of an order and its line (pure)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from ingest.errors import ConfigError
from ingest.history.fields import Field, FieldError, field_of
from schemas.outcomes import MAX_ORDER_ID, OrderStatus, Refusal

SOURCE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
STATUSES: Final = frozenset(status.name for status in OrderStatus if OrderStatus.CONFIRMED <= status <= OrderStatus.RETURNED)
KEPT: Final = frozenset({"CONFIRMED", "SHIPPED", "RETURNED"})
REASONS: Final = {
    "REJECTED": Refusal.INSUFFICIENT_STOCK.name,
    "PAYMENT_FAILED": Refusal.PAYMENT_DECLINED.name,
    "EXPIRED": Refusal.DEADLINE_PASSED.name,
    "CANCELLED": Refusal.CANCELLED_ON_REQUEST.name,
}
"""Why an order of such a status ended; of a rejected one a map may say another reason."""
_NEEDED: Final = {"order": ("id", "user", "currency", "placed_at"), "line": ("product", "quantity", "price")}
_MORE: Final = {"order": ("status", "refusal", "decided_at", "changed_at", "charged", "refunded", "payment_token"), "line": ("returned",)}
_TABLES: Final = frozenset({"source", "order", "line", "skip", "csv", "mysql"})
MAX_NAME: Final = 128
REST: Final = "(more columns)"
"""Under this name a source gives what stands behind the last column."""


class Header(NamedTuple):
    """What every row of an order says alike. Times in ms; `charged` and `refunded` in minor units, None: as its lines give it."""

    external_id: str
    order_id: int
    """0: to be bound to one of ours."""
    user_id: str
    currency: str
    payment_token: str
    placed_at: int
    status: str
    refusal: str
    decided_at: int
    changed_at: int
    charged: int | None
    refunded: int | None


class HistoryLine(NamedTuple):
    """One row: a line of an order."""

    header: Header
    product_id: str
    quantity: int
    unit_price: int
    returned: int


@dataclass(frozen=True)
class Map:
    """`skip`: rows that are left out: a column, and what the whole of its text must match."""

    source: str
    order: Mapping[str, Field]
    line: Mapping[str, Field]
    skip: tuple[tuple[str, re.Pattern[str]], ...] = ()
    csv: Mapping[str, str] = field(default_factory=dict)
    query: str = ""

    def columns(self) -> set[str]:
        """Return every column that a row must have."""
        fields = [*self.order.values(), *self.line.values()]
        return {f.column for f in fields if f.column is not None} | {column for column, _ in self.skip}

    def is_skipped(self, row: Mapping[str, Any]) -> bool:
        """Say whether a row is none of ours."""
        return any(pattern.fullmatch(str(row.get(column) or "")) for column, pattern in self.skip)

    def name_of(self, row: Mapping[str, Any]) -> str:
        """Return the name that the row's order has in its system; raises FieldError."""
        name = self.order["id"].text(row)
        if not 0 < len(name) <= MAX_NAME:
            raise FieldError(f"column {self.order['id'].column} has {len(name)} characters: an order's name has 1 to {MAX_NAME}")
        return name

    def line_of(self, row: Mapping[str, Any], *, decided: bool) -> HistoryLine:
        """Return what a row says; raises FieldError."""
        line = self.line
        returned = line["returned"].number(row) if "returned" in line and decided else 0
        return HistoryLine(self._header(row, decided=decided), line["product"].text(row), line["quantity"].number(row), line["price"].money(row), returned)

    def _header(self, row: Mapping[str, Any], *, decided: bool) -> Header:
        order, name = self.order, self.name_of(row)
        placed_at = order["placed_at"].ms(row)
        plain = (name, self._kept_id(row), order["user"].text(row), order["currency"].text(row), self._token(row), placed_at)
        if not decided:
            return Header(*plain, "", "", placed_at, placed_at, None, None)
        status = order["status"].text(row)
        if status not in STATUSES:
            raise FieldError(f"status {status!r} is none of {', '.join(sorted(STATUSES))}: say in `values` what it means")
        decided_at = order["decided_at"].ms(row) if "decided_at" in order else placed_at
        changed_at = order["changed_at"].ms(row) if "changed_at" in order else decided_at
        money = (order[name].money(row) if name in order else None for name in ("charged", "refunded"))
        return Header(*plain, status, self._refusal(row, status), decided_at, changed_at, *money)

    def _kept_id(self, row: Mapping[str, Any]) -> int:
        if not self.order["id"].keep:
            return 0
        number = self.order["id"].number(row)
        if not 0 < number <= MAX_ORDER_ID:
            raise FieldError(f"order ID {number} cannot be kept: 1 to 2^63 - 1")
        return number

    def _token(self, row: Mapping[str, Any]) -> str:
        return self.order["payment_token"].text(row) if "payment_token" in self.order else ""

    def _refusal(self, row: Mapping[str, Any], status: str) -> str:
        if status != "REJECTED" or "refusal" not in self.order:
            return REASONS.get(status, "")
        refusal = self.order["refusal"].text(row)
        if refusal not in Refusal.__members__ or refusal == "NONE":
            raise FieldError(f"refusal {refusal!r} is none of docs/outcomes.md: say in `values` what it means")
        return refusal


def read_map(path: Path, *, decided: bool) -> Map:
    """Read a map; raises ConfigError that says what in it is wrong."""
    try:
        return parse_map(path.read_text(), decided=decided)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def parse_map(text: str, *, decided: bool) -> Map:
    """Return the map that a text in TOML says; raises ConfigError."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"it is no TOML: {error}") from error
    return _map(said, decided=decided)


def _map(said: dict[str, Any], *, decided: bool) -> Map:
    unknown = said.keys() - _TABLES
    if unknown:
        raise ConfigError(f"{', '.join(sorted(unknown))}: known are {', '.join(sorted(_TABLES))}")
    source = said.get("source", "")
    if not isinstance(source, str) or not SOURCE.fullmatch(source):
        raise ConfigError(f"source is {source!r}: name the system with up to 32 letters, digits, dots, dashes and underscores")
    order, line = _fields("order", said), _fields("line", said)
    if decided and "status" not in order:
        raise ConfigError('order.status is missing: decided orders have one, such as { value = "SHIPPED" }')
    settings = {"delimiter": ",", "encoding": "utf-8", **_texts("csv", said, frozenset({"delimiter", "encoding"}))}
    return Map(source, order, line, tuple(_skips(said.get("skip", []))), settings, _texts("mysql", said, frozenset({"query"})).get("query", ""))


def _fields(table: str, said: dict[str, Any]) -> dict[str, Field]:
    values = said.get(table)
    if not isinstance(values, dict):
        raise ConfigError(f"[{table}] is missing")
    known = (*_NEEDED[table], *_MORE[table])
    unknown, missing = values.keys() - set(known), set(_NEEDED[table]) - values.keys()
    if unknown:
        raise ConfigError(f"{table}.{sorted(unknown)[0]} is no field of it: {', '.join(known)}")
    if missing:
        raise ConfigError(f"{table}.{sorted(missing)[0]} is missing")
    return {name: field_of(f"{table}.{name}", value) for name, value in values.items()}


def _texts(table: str, said: dict[str, Any], known: frozenset[str]) -> dict[str, str]:
    values = said.get(table, {})
    if not isinstance(values, dict) or values.keys() - known or not all(isinstance(value, str) for value in values.values()):
        raise ConfigError(f"[{table}] has texts {', '.join(sorted(known))}, and nothing else")
    return values


def _skips(said: Any) -> list[tuple[str, re.Pattern[str]]]:
    try:
        return [(str(one["column"]), re.compile(one["matches"])) for one in said]
    except (KeyError, TypeError, re.error) as error:
        raise ConfigError(f'[[skip]] needs column = "..." and matches = "a regular expression": {error}') from error
