"""Dead letters for people and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.table import Table

from holdfast.letters.book import Letter
from holdfast.letters.inside import look_into, readable
from holdfast.times import shown

MOST_BYTES: Final = 512
"""Bytes of a value that are shown as hex."""
MOST_DETAIL: Final = 80
_PLACE: Final = ("stage", "topic", "partition", "offset", "index", "reason", "detail")


def document(letter: Letter, *, whole: bool = False) -> dict[str, Any]:
    """Return a letter for programs; `whole`: with everything that its bytes say."""
    x = letter.fields
    found = {"id": str(letter.id), "state": letter.state, **{name: x[name] for name in _PLACE}}
    found |= {"order_id": x["order_id"] and str(x["order_id"]), "died_at": x["died_at"], "repeats": letter.repeats, "settled": letter.settled}
    return {**found, **_inside(letter)} if whole else found


def _inside(letter: Letter) -> dict[str, Any]:
    value, key = letter.fields["value"], letter.fields["key"]
    inside = look_into(value)
    return {
        "key": key and key.decode(errors="backslashreplace"),
        "bytes": len(value),
        "hex": value[:MOST_BYTES].hex(),
        "text": inside.text,
        "record": inside.record,
        "sends": inside.single,
        "items": [_with_ids_as_text(item) for item in readable(inside.items)],
        "fields": readable(inside.fields),
        "broke": inside.broke,
    }


def _with_ids_as_text(item: dict[str, Any]) -> dict[str, Any]:
    """JSON's numbers are too short for an order ID in many programs."""
    return {name: str(value) if name == "order_id" else value for name, value in item.items()}


def table(letters: Iterable[Letter]) -> Table:
    """Return letters a line each."""
    made = Table("id", "died at", "stage", "came from", "reason", "order", "state", "detail", box=None, pad_edge=False)
    for letter in letters:
        x = letter.fields
        item = f"[{x['index']}]" if x["index"] >= 0 else ""
        place = f"{x['topic']} {x['partition']}-{x['offset']}{item}"
        cells = (str(letter.id), shown(x["died_at"]), x["stage"], place, x["reason"], str(x["order_id"] or ""), letter.state.lower(), x["detail"][:MOST_DETAIL])
        made.add_row(*map(_plain, cells))
    return made


def sheet(letter: Letter) -> Table:
    """Return all that is known of one letter, a field a line."""
    made = Table("dead letter", _plain(str(letter.id)), box=None, pad_edge=False)
    for name, value in _lines(document(letter, whole=True)):
        made.add_row(name, _plain(value))
    return made


def _lines(found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in found.items():
        if name in ("id", "sends") or value in (None, "", [], {}):
            continue
        if name == "items":
            for number, item in enumerate(value):
                yield f"item {number}", _pairs(item)
        else:
            yield name.replace("_", " "), shown(value) if name == "died_at" else _pairs(value) if isinstance(value, Mapping) else str(value)


def _pairs(fields: Mapping[str, Any]) -> str:
    return "\n".join(f"{name} = {value}" for name, value in fields.items())


def _plain(text: str) -> str:
    """Texts of strangers: no markup, and nothing that a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text).replace("[", r"\[")
