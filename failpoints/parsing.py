"""What HOLDFAST_FAILPOINTS says (pure)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from failpoints.names import NAMES

ACTIONS: Final = ("kill", "stop", "raise")
FORM: Final = "name[=kill[:SECONDS] | =stop:SECONDS | =raise][@nth]"
_ENTRY: Final = re.compile(r"(?P<name>[^=@]+)(=(?P<action>[a-z]+)(:(?P<seconds>[0-9.]+))?)?(@(?P<nth>[1-9][0-9]*))?")


class FailpointsError(Exception):
    """What HOLDFAST_FAILPOINTS says cannot be done; the text says what can."""


class Entry(NamedTuple):
    """One failpoint armed: what is done at the `nth` time that it is reached. `text` is the entry as it was written."""

    name: str
    action: str
    seconds: float
    nth: int
    text: str


def entries(text: str) -> list[Entry]:
    """Return the entries of a list; raises FailpointsError for one that has no meaning."""
    return [entry(word) for word in words(text)]


def words(text: str) -> Iterator[str]:
    """Yield the entries of a list as they are written."""
    for line in text.splitlines():
        yield from line.partition("#")[0].replace(",", " ").split()


def entry(word: str) -> Entry:
    """Return what one entry means."""
    found = _ENTRY.fullmatch(word)
    if found is None:
        raise FailpointsError(f"{word!r} is no failpoint entry: write {FORM}")
    name, action, seconds = found["name"], found["action"] or "kill", _seconds(word, found["seconds"])
    if name not in NAMES:
        raise FailpointsError(f"there is no failpoint {name!r}. There are: {', '.join(NAMES)}")
    if action not in ACTIONS:
        raise FailpointsError(f"{word!r}: there is no action {action!r}; write {FORM}")
    if (action == "stop") != (seconds is not None) and action != "kill":
        raise FailpointsError(f"{word!r}: stop takes seconds (stop:2.5), raise takes none")
    return Entry(name, action, seconds or 0.0, int(found["nth"] or 1), word)


def _seconds(word: str, text: str | None) -> float | None:
    try:
        seconds = None if text is None else float(text)
    except ValueError:
        seconds = math.inf
    if seconds == math.inf:
        raise FailpointsError(f"{word!r}: {text!r} is no number of seconds")
    return seconds


def without(text: str, word: str) -> str | None:
    """Return the list without the first entry that is written so; None if there is none."""
    for start, line in _lines(text):
        said = line.partition("#")[0]
        for found in re.finditer(r"[^\s,]+", said):
            if found[0] == word:
                return text[: start + found.start()] + text[start + found.end() :]
    return None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, line
        start += len(line)
