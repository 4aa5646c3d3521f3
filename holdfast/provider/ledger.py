"""What the provider did, once per key, in a file that outlives a kill: one JSON object a line, appended, never changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

import msgspec

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Request
from streams.payments.sandbox import Sandbox

Result = Literal["paid", "declined", "refunded", "rejected"]


class Entry(msgspec.Struct, frozen=True):
    """One request and what became of it. `charge` is the key of what a refund gives back; amounts in minor units, `at` in ms."""

    key: str
    kind: Literal["charge", "refund"]
    order_id: str
    attempt: int
    amount: int
    currency: str
    result: Result
    at: int
    reason: str = ""
    charge: str = ""
    token: str = ""
    user: str = ""

    def asks_the_same(self, other: Entry) -> bool:
        """Whether both are one request: a key belongs to one."""
        return all(getattr(self, name) == getattr(other, name) for name in _ASKED)


_ASKED: Final = ("key", "kind", "order_id", "attempt", "amount", "currency", "charge", "token", "user")
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Entry).decode


class Ledger:
    """The entries by key, in memory and in the file. One process writes it, from one event loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b", buffering=0)
        self._entries: dict[str, Entry] = {}
        self._left: dict[str, int] = {}
        """What is left of each paid charge, by its key."""
        self._written = self._synced = 0
        self._syncing: asyncio.Future[None] | None = None
        self._read()

    def _read(self) -> None:
        """Take what the file has; its last line may be half of one."""
        self._file.seek(0)
        whole, _, torn = self._file.read().rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + 1 if whole else 0)
        for line in whole.splitlines():
            self._enter(_decode(line))

    def _enter(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if entry.result == "paid":
            self._left[entry.key] = entry.amount
        elif entry.result == "refunded":
            self._left[entry.charge] -= entry.amount

    def find(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def left(self, charge: str) -> int:
        """Return what a charge has taken and not given back."""
        return self._left.get(charge, 0)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Enter what was done; nobody may be told before it is `synced`."""
        assert entry.key not in self._entries, f"key {entry.key} is in the ledger"
        self._file.write(_encode(entry) + b"\n")
        self._enter(entry)
        self._written += 1

    async def synced(self) -> None:
        """Wait until all that was entered so far is on disk; those who wait at the same moment share one sync."""
        wanted = self._written
        while self._synced < wanted:
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        written = self._written
        try:
            await asyncio.to_thread(os.fsync, self._file.fileno())
            self._synced = written
        finally:
            self._syncing = None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None) -> None:
        self.close()


def decided(asked: Entry, ledger: Ledger, sandbox: Sandbox) -> Entry:
    """Return the request with what becomes of it, for the first time its key is seen. Pure."""
    if asked.kind == "charge":
        answer = sandbox.decide(Request(PaymentKind.CHARGE, int(asked.order_id), asked.attempt, 0, asked.amount, asked.currency, asked.token, asked.user))
        return msgspec.structs.replace(asked, result=_RESULTS[answer.result], reason=answer.reason)
    left = ledger.left(asked.charge)
    if asked.amount <= left:
        return msgspec.structs.replace(asked, result="refunded")
    return msgspec.structs.replace(asked, result="rejected", reason=f"charge {asked.charge} has {left} left, not {asked.amount}")


_RESULTS: Final[dict[PaymentResult, Result]] = {PaymentResult.PAID: "paid", PaymentResult.DECLINED: "declined"}
