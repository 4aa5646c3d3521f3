"""Pure: where a page of a user's orders ends, as an opaque text that is good for this user's list alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import Final

from schemas.outcomes import MAX_ORDER_ID, MAX_TIME

_PLACE: Final = struct.Struct(">qq")
_SUM: Final = 8


def cursor_of(user: str, place: tuple[int, int]) -> str:
    """Return the cursor behind the order placed at `place[0]` (ms) with the ID `place[1]`."""
    packed = _PLACE.pack(*place)
    return base64.urlsafe_b64encode(packed + _sum(user, packed)).decode()


def place_of(user: str, cursor: str) -> tuple[int, int]:
    """Return what a cursor stands for; raises ValueError for one that was not given out for this user."""
    try:
        data = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("no cursor of ours") from error
    packed, found = data[: _PLACE.size], data[_PLACE.size :]
    if len(packed) != _PLACE.size or found != _sum(user, packed):
        raise ValueError("no cursor of ours")
    placed_at, order_id = _PLACE.unpack(packed)
    if not (0 <= placed_at <= MAX_TIME and 0 < order_id <= MAX_ORDER_ID):
        raise ValueError("no cursor of ours")
    return placed_at, order_id


def _sum(user: str, packed: bytes) -> bytes:
    """Against accidents and guessing: a list shows its own user's orders, whatever a cursor says, so there is nothing to protect with a secret."""
    return hashlib.blake2b(user.encode() + packed, digest_size=_SUM, person=b"orders-cursor").digest()
