"""One field of a map: where its value comes from, and what is made of it (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.errors import ConfigError
from schemas.outcomes import MAX_TIME

ISO: Final = "iso"
_UNITS: Final = {"s": 1000, "ms": 1}
MISSING: Final = object()


class FieldError(ValueError):
    """A row's value that a field cannot take; the text says which column, what stood there and what was expected."""


@dataclass(frozen=True)
class Field:
    """`column`: of the row; None: `value` for every row. `values`: what stands there -> what it means; `default`: where nothing stands.

    `time`: iso, s, ms or a strptime format, in `zone` where the text names none. `digits`: of money, how many of the number are minor units.
    """

    column: str | None = None
    value: Any = None
    default: Any = MISSING
    values: Mapping[str, Any] = field(default_factory=dict)
    time: str = ISO
    zone: tzinfo = UTC
    digits: int = 0
    keep: bool = False

    def raw(self, row: Mapping[str, Any]) -> Any:
        """Return the row's value, mapped; raises FieldError where nothing stands and nothing is to stand instead."""
        if self.column is None:
            return self.value
        found = row.get(self.column)
        if found is None or found == "":
            if self.default is MISSING:
                raise FieldError(f"column {self.column} is empty")
            return self.default
        if not self.values:
            return found
        if str(found) not in self.values:
            raise FieldError(f"column {self.column} is {_shown(found)}, which `values` does not name: {', '.join(self.values)}")
        return self.values[str(found)]

    def text(self, row: Mapping[str, Any]) -> str:
        """Return it as text; a number is written out."""
        found = self.raw(row)
        text = str(found).strip() if not isinstance(found, bytes) else found.decode("utf-8", "surrogateescape")
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise FieldError(f"column {self.column} is {_shown(text)}: no UTF-8")
        return text

    def number(self, row: Mapping[str, Any]) -> int:
        """Return it as a whole number."""
        return self._scaled(row, 0, exact=True)

    def money(self, row: Mapping[str, Any]) -> int:
        """Return it in minor units; half of one is rounded up."""
        return self._scaled(row, self.digits, exact=False)

    def _scaled(self, row: Mapping[str, Any], digits: int, *, exact: bool) -> int:
        found = self.raw(row)
        try:
            number = Decimal(str(found).strip()).scaleb(digits)
            whole = int(number.quantize(Decimal(1), ROUND_HALF_UP))
        except (InvalidOperation, ValueError, OverflowError):
            raise FieldError(f"column {self.column} is {_shown(found)}: no number") from None
        if exact and whole != number:
            raise FieldError(f"column {self.column} is {_shown(found)}: no whole number")
        return whole

    def ms(self, row: Mapping[str, Any]) -> int:
        """Return it as a time, ms since 1970 UTC."""
        found = self.raw(row)
        try:
            ms = _ms_of(found, self.time, self.zone)
        except (ValueError, InvalidOperation, OverflowError):
            raise FieldError(f"column {self.column} is {_shown(found)}: no time of the form {self.time}") from None
        if not 0 <= ms <= MAX_TIME:
            raise FieldError(f"column {self.column} is {_shown(found)}: not in 1970 to 2100")
        return ms


def _ms_of(found: Any, form: str, zone: tzinfo) -> int:
    if isinstance(found, datetime):
        at = found
    elif isinstance(found, date):
        at = datetime(found.year, found.month, found.day)
    elif form in _UNITS:
        return int(Decimal(str(found).strip()) * _UNITS[form])
    else:
        text = str(found).strip()
        at = datetime.fromisoformat(text) if form == ISO else datetime.strptime(text, form)
    return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def field_of(where: str, said: Any) -> Field:
    """Return the field that a map says: a column's name, or a table; raises ConfigError."""
    if isinstance(said, str):
        return Field(column=said)
    if not isinstance(said, dict):
        raise ConfigError(f"{where} is {_shown(said)}: say a column's name, or a table such as {{ column = ... }} or {{ value = ... }}")
    unknown = said.keys() - _SETTINGS.keys()
    if unknown:
        raise ConfigError(f"{where} has {', '.join(sorted(unknown))}, which is none of {', '.join(_SETTINGS)}")
    if ("column" in said) == ("value" in said):
        raise ConfigError(f"{where} needs either `column` or `value`")
    settings: dict[str, Any] = {}
    for name, value in said.items():
        settings |= _SETTINGS[name](where, value)
    return Field(**settings)


def _plain(name: str, kind: type | tuple[type, ...]) -> Callable[[str, Any], dict[str, Any]]:
    def take(where: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, kind):
            raise ConfigError(f"{where}.{name} is {_shown(value)}: it must be {'a table' if kind is dict else 'a text' if kind is str else 'of another kind'}")
        return {name: value}

    return take


def _zone(where: str, value: Any) -> dict[str, Any]:
    try:
        return {"zone": ZoneInfo(value)}
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise ConfigError(f"{where}.zone is {_shown(value)}: use a name such as UTC or Europe/London") from None


def _money(where: str, value: Any) -> dict[str, Any]:
    if value == "minor":
        return {"digits": 0}
    if value == "major":
        return {"digits": 2}
    raise ConfigError(f"{where}.money is {_shown(value)}: `minor` (pence, cents) or `major` (pounds, dollars; with `digits` where they are not 2)")


def _digits(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, int) or not 0 <= value <= 4:
        raise ConfigError(f"{where}.digits is {_shown(value)}: 0 to 4")
    return {"digits": value}


_SETTINGS: Final[Mapping[str, Callable[[str, Any], dict[str, Any]]]] = {
    "column": _plain("column", str),
    "value": _plain("value", (str, int, float)),
    "default": _plain("default", (str, int, float)),
    "values": _plain("values", dict),
    "time": _plain("time", str),
    "zone": _zone,
    "money": _money,
    "digits": _digits,
    "keep": _plain("keep", bool),
}
