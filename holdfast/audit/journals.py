"""Reads clients' journals: what they were about to send, and what the brokers acknowledged. A reader of its own, line by line.

One JSON object a line, in UTF-8; other fields, such as `t` for the time, are passed over:

    {"send": {"order_id": "123", "lines": [[1, "p7", 2], [2, "p9", 1]]}}    before anything of it is sent
    {"send": {"command_id": "cancel-123", "kind": "CANCEL", "order_id": "123"}}
    {"send": {"command_id": "receipt-p7-4", "kind": "RESTOCK", "product_id": "p7"}}
    {"ack": {"order_id": "123", "lines": [1, 2]}}                            the brokers hold these lines
    {"ack": {"command_id": "cancel-123"}}                                    the brokers hold this command

A line that breaks off (its writer was killed) counts as not written, be it the last one or the last before the file was opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from holdfast.audit.errors import CannotCheckError


class Sent(msgspec.Struct):
    """An order with its lines as (line, product ID, quantity), or a command about a product or an order."""

    order_id: str = ""
    lines: list[tuple[int, str, int]] = []
    command_id: str = ""
    kind: str = ""
    product_id: str = ""


class Acknowledged(msgspec.Struct):
    """Lines of an order, by number, or a command."""

    order_id: str = ""
    lines: list[int] = []
    command_id: str = ""


class _Line(msgspec.Struct):
    send: Sent | None = None
    ack: Acknowledged | None = None


class Entry(NamedTuple):
    """A line of a journal. `number` counts from 1; just one of `sent` and `acknowledged` is there."""

    number: int
    sent: Sent | None
    acknowledged: Acknowledged | None


class Journal(NamedTuple):
    """A journal as far as it went when the audit began: what was acknowledged later may lie behind what was read of the topics."""

    path: Path
    size: int

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Note how far a journal goes; raises CannotCheckError where there is none."""
        try:
            return cls(path, path.stat().st_size if path.is_file() else _not_a_file(path))
        except OSError as error:
            raise CannotCheckError(f"the journal {path} cannot be read: {error.strerror}") from error

    def entries(self, progress: Callable[[int, int], None] = lambda _done, _size: None) -> Iterator[Entry]:
        """Yield every line that says something; raises CannotCheckError for one that no journal has."""
        done = 0
        try:
            with self.path.open("rb") as file:
                for number, text in enumerate(file, 1):
                    done += len(text)
                    if done > self.size:
                        return
                    if number % 10_000 == 0:
                        progress(done, self.size)
                    entry = self._entry(number, text)
                    if entry is not None:
                        yield entry
        except OSError as error:
            raise CannotCheckError(f"the journal {self.path} cannot be read: {error.strerror}") from error

    def _entry(self, number: int, text: bytes) -> Entry | None:
        if not text.strip():
            return None
        if not text.startswith(b"{"):
            raise self._wrong(number, "it is no JSON object")
        try:
            line = _decoder.decode(text)
        except msgspec.ValidationError as error:
            raise self._wrong(number, str(error)) from error
        except msgspec.DecodeError:
            return None  # it breaks off
        if (line.send is None) == (line.ack is None):
            raise self._wrong(number, 'it has not just one of "send" and "ack"')
        self._check_names(number, line.send or line.ack)
        return Entry(number, line.send, line.ack)

    def _check_names(self, number: int, thing: Sent | Acknowledged | None) -> None:
        assert thing is not None
        if not thing.order_id and not thing.command_id:
            raise self._wrong(number, "it names no order and no command")
        if thing.order_id and not _is_integer(thing.order_id):
            raise self._wrong(number, f"order_id is {thing.order_id!r}, not a whole number in a string")

    def _wrong(self, number: int, what: str) -> CannotCheckError:
        return CannotCheckError(f"{self.path} line {number} is not a journal's: {what}; `holdfast audit --help` says what a journal looks like")


_decoder: Final = msgspec.json.Decoder(_Line)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()


def _not_a_file(path: Path) -> int:
    raise CannotCheckError(f"the journal {path} is no file")
