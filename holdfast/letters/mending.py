"""Corrections: what a person says is to be sent in a dead letter's stead. Pure, but for the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.letters.book import Letter, LetterId
from holdfast.letters.errors import LetterError
from holdfast.letters.inside import TOPIC_OF, Inside, Item, completed, fields_of, look_into


@dataclass(frozen=True)
class Correction:
    """`items`: what to send instead, each a `record`; None: what the letter holds. `fields`: texts to set in each of them."""

    record: str | None = None
    items: tuple[Item, ...] | None = None
    fields: tuple[tuple[str, Any], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fields) or self.items is not None


class UnmendableError(ValueError):
    """A letter that cannot be sent so; the text says why, and what would do."""


def assignments(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return field and value of each `field=value`; raises LetterError."""
    known = {name for single in TOPIC_OF for name in fields_of(single)}
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise LetterError(f"--set {text!r}: write field=value, with one of {', '.join(sorted(known))}")
        found.append((name, value))
    return tuple(found)


def read_corrections(path: Path) -> dict[LetterId, Correction]:
    """Return the corrections of a file: objects with `id` and `set`, or `id` and `items` (as `show --json` prints them).

    A JSON array, an object with `letters`, or one object a line. Raises LetterError, naming the entry.
    """
    try:
        entries = _entries(path.read_text())
    except (OSError, ValueError) as error:
        raise LetterError(f"{path} cannot be read as JSON: {error}") from error
    found: dict[LetterId, Correction] = {}
    for number, entry in enumerate(entries, 1):
        try:
            letter_id, correction = _correction(entry)
        except ValueError as error:
            raise LetterError(f"{path}, entry {number}: {error}") from error
        if letter_id in found:
            raise LetterError(f"{path}, entry {number}: {letter_id} is there twice")
        found[letter_id] = correction
    return found


def _entries(text: str) -> Sequence[Any]:
    try:
        whole = json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    whole = whole.get("letters", [whole]) if isinstance(whole, dict) else whole
    if not isinstance(whole, list):
        raise ValueError("an array of objects with `id` is wanted")
    return whole


def _correction(entry: Any) -> tuple[LetterId, Correction]:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
        raise ValueError('an object such as {"id": "3-17", "set": {"quantity": 1}} is wanted')
    fields, items, record = entry.get("set", {}), entry.get("items"), entry.get("sends") or entry.get("record")
    if not isinstance(fields, dict):
        raise ValueError("`set` must be an object of fields and their values")
    if items is not None and not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        raise ValueError("`items` must be an array of objects")
    return LetterId.parse(entry["id"]), Correction(record, None if not items else tuple(items), tuple(fields.items()))


def mended(letter: Letter, correction: Correction, common: Correction) -> tuple[str, tuple[Item, ...]]:
    """Return the record to send and the fields of each; `common` is set in every letter. Raises UnmendableError."""
    inside = look_into(letter.fields["value"])
    record, items = _chosen(inside, correction, common)
    texts = (*common.fields, *correction.fields)
    return record, tuple(_set(record, item, texts) for item in items)


def _chosen(inside: Inside, correction: Correction, common: Correction) -> tuple[str, tuple[Item, ...]]:
    record = correction.record if correction.items is not None and correction.record in TOPIC_OF else inside.single
    if record is None:
        what = f"a {inside.record}, which only a stage may send" if inside.record else "not bytes that can be read"
        raise UnmendableError(f'it is {what}: give the whole record in --corrections ({{"id", "record": "OrderLine", "items": [...]}}), or discard it')
    items = inside.items if correction.items is None else correction.items
    if not items:
        raise UnmendableError(f"nothing of its items can be read ({inside.broke}): give them in --corrections, or discard it")
    if inside.broke and inside.text is None and not correction and not common:
        raise UnmendableError(f"its bytes are not whole ({inside.broke}): say with --set or --corrections what is right")
    return record, items


def _set(record: str, item: Item, texts: Sequence[tuple[str, Any]]) -> Item:
    kinds = fields_of(record)
    strange = [name for name in (*item, *(name for name, _ in texts)) if name not in kinds]
    if strange:
        raise UnmendableError(f"a {record} has no field {strange[0]!r}: it has {', '.join(kinds)}")
    whole = completed(record, {**item, **{name: _typed(name, kinds[name], value) for name, value in texts}})
    missing = [name for name in kinds if whole.get(name) is None]
    if missing:
        raise UnmendableError(f"field {missing[0]!r} is missing: --set {missing[0]}=...")
    return {name: _checked(name, kinds[name], whole[name]) for name in kinds}


def _typed(name: str, kind: Any, value: Any) -> Any:
    """A value from the command line is text; one from a file is already what it is."""
    if kind not in ("int", "long") or not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        raise UnmendableError(f"{name} must be a whole number, not {value!r}") from None


def _checked(name: str, kind: Any, value: Any) -> Any:
    if kind in ("int", "long"):
        bits = 31 if kind == "int" else 63
        if type(value) is str and value.removeprefix("-").isdecimal():  # JSON carries IDs as strings
            value = int(value)
        if type(value) is not int or not -(2**bits) <= value < 2**bits:
            raise UnmendableError(f"{name} must be a whole number of {bits + 1} bits, not {value!r:.100}")
    elif isinstance(kind, Mapping):
        if value not in kind["symbols"]:
            raise UnmendableError(f"{name} {value!r:.100} cannot be sent: use one of {', '.join(kind['symbols'])}")
    elif not isinstance(value, str):
        raise UnmendableError(f"{name} must be text, not {value!r:.100}")
    return value
