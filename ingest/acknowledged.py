"""Up to which row everything is acknowledged (pure): records are acknowledged in any order, progress may only say what is whole."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Pending:
    """The records of one chunk of rows: how many are not acknowledged; `closed` once all have been sent."""

    last_row: int
    records: int = 0
    closed: bool = False


class Acknowledged:
    """Counts each chunk's records out and in again."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        """Every row up to this number is acknowledged, and so is every row before it."""
        self._chunks: deque[Pending] = deque()

    def open(self, last_row: int) -> Pending:
        """Begin a chunk of rows up to number `last_row`."""
        pending = Pending(last_row)
        self._chunks.append(pending)
        return pending

    def sent(self, pending: Pending) -> None:
        """Count one record out."""
        pending.records += 1

    def acked(self, pending: Pending) -> None:
        """Count one record in."""
        pending.records -= 1
        self._advance()

    def close(self, pending: Pending) -> None:
        """Say that no more records of a chunk follow."""
        pending.closed = True
        self._advance()

    def _advance(self) -> None:
        while self._chunks and self._chunks[0].closed and not self._chunks[0].records:
            self.rows = self._chunks.popleft().last_row
