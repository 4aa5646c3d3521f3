"""API keys of the gateway: how they look, and how MySQL keeps them.

A key is `hf_<id>_<secret>`. The ID names it in lists, logs and limits; the secret is 256 bits of the system's randomness. Only its SHA-256 is
stored: nobody finds 256 random bits by trying, so a slow password hash would cost each request something and protect nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import pymysql
from pymysql.constants import ER
from pymysql.cursors import Cursor

from ingest.config import connect, reason
from ingest.errors import StoreError
from schemas.views import API_KEYS

_FORM: Final = re.compile(r"hf_([0-9a-f]{16})_([0-9a-f]{64})")
_ID: Final = re.compile(r"[0-9a-f]{16}")


class KeyText(NamedTuple):
    """A key as its holder has it, taken apart. The secret goes nowhere from here."""

    key_id: str
    secret: str

    @property
    def text(self) -> str:
        """The whole key."""
        return f"hf_{self.key_id}_{self.secret}"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is stored. `user` None: it acts for every user. Times in UTC; `rate` in requests or orders per s, None: the gateway's."""

    key_id: str
    secret_hash: bytes
    name: str
    user: str | None
    scopes: tuple[str, ...]
    rate: float | None = None
    burst: int | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime) -> str:
        """Return `revoked`, `expired` or `active`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


def new_key_text() -> KeyText:
    """Make a key up."""
    return KeyText(secrets.token_hex(8), secrets.token_hex(32))


def parse_key(text: str) -> KeyText | None:
    """Take a key apart; None for what is no key."""
    found = _FORM.fullmatch(text)
    return KeyText(found[1], found[2]) if found else None


def key_id_in(text: str) -> str | None:
    """Return the ID that somebody names by itself or by a whole key; None for neither."""
    key = parse_key(text)
    return key.key_id if key else text if _ID.fullmatch(text) else None


def secret_hash(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


# Of the names in these statements every one is a constant of ours; every value is a parameter.
_COLUMNS: Final = "key_id, secret_hash, name, user_id, scopes, rate, burst, created_at, expires_at, revoked_at"
_CREATE: Final = f"INSERT INTO {API_KEYS} ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3), %s, NULL)"  # noqa: S608
_SELECT: Final = f"SELECT {_COLUMNS} FROM {API_KEYS}"  # noqa: S608
_REVOKE: Final = f"UPDATE {API_KEYS} SET revoked_at = COALESCE(revoked_at, UTC_TIMESTAMP(3)) WHERE key_id = %s"  # noqa: S608


def read_keys(cursor: Cursor, key_ids: Sequence[str]) -> list[ApiKey | None]:
    """Return the keys of these IDs, None for each that there is not."""
    cursor.execute(f"{_SELECT} WHERE key_id IN ({', '.join(['%s'] * len(key_ids))})", tuple(key_ids))
    found = {key.key_id: key for key in map(_key_of, cursor.fetchall())}
    return [found.get(key_id) for key_id in key_ids]


class KeyTable:
    """The keys, for those who run the shop. Every call is one short connection; all raise StoreError."""

    def __init__(self, mysql_url: str) -> None:
        self._url = mysql_url

    def create(self, key: ApiKey) -> tuple[KeyText, ApiKey]:
        """Store a new key with what `key` says (its ID and hash aside); return it, whole for the only time, and as it is stored."""
        text = new_key_text()
        stored = replace(key, key_id=text.key_id, secret_hash=secret_hash(text.secret))
        values = (stored.key_id, stored.secret_hash, stored.name, stored.user, ",".join(stored.scopes), stored.rate, stored.burst, _naive(stored.expires_at))
        self._do(lambda cursor: cursor.execute(_CREATE, values))
        return text, self.get(stored.key_id) or stored

    def get(self, key_id: str) -> ApiKey | None:
        """Return one key."""
        found: list[ApiKey | None] = self._do(lambda cursor: read_keys(cursor, [key_id]))
        return found[0]

    def all(self) -> list[ApiKey]:
        """Return every key, the oldest first."""
        return list(map(_key_of, self._do(lambda cursor: (cursor.execute(f"{_SELECT} ORDER BY created_at, key_id"), cursor.fetchall())[1])))

    def revoke(self, key_id: str) -> ApiKey | None:
        """Revoke a key and return it; one that is revoked already stays so from then. None: there is no such key."""
        self._do(lambda cursor: cursor.execute(_REVOKE, (key_id,)))
        return self.get(key_id)

    def _do(self, work: Any) -> Any:
        try:
            with closing(connect(self._url)) as connection, connection.cursor() as cursor:
                answer = work(cursor)
                connection.commit()
                return answer
        except pymysql.MySQLError as error:
            what = "it is not there: run `holdfast migrate`" if error.args and error.args[0] == ER.NO_SUCH_TABLE else reason(error)
            raise StoreError(f"the table {API_KEYS} could not be used: {what}") from error


def _key_of(row: Any) -> ApiKey:
    key_id, hashed, name, user, scopes, rate, burst, *times = row
    return ApiKey(key_id, bytes(hashed), name, user, tuple(scopes.split(",")), rate, burst, *map(_aware, times))


def _aware(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


def _naive(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC).replace(tzinfo=None)
