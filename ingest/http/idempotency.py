"""`Idempotency-Key`: reading the header, and what there is while no store of keys is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from ingest.http.errors import Problem, ProblemType, malformed
from ingest.http.messages import Request
from ingest.http.routes import Parameter
from ingest.http.seams import MAX_KEY_LENGTH, Asked, Claim

HEADER: Final = "idempotency-key"
KEY_PARAMETER: Final = Parameter(
    "Idempotency-Key",
    "header",
    f"1 to {MAX_KEY_LENGTH} visible ASCII characters, made up by the client. The same key and body gives the same order or command for ever.",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
)


def key_of(request: Request) -> str | None:
    """Return the request's key, None where it has none; raises Problem for one that cannot be."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all("!" <= c <= "~" for c in key):
        raise malformed(f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} visible ASCII characters")
    return key


def body_hash(canonical: bytes) -> bytes:
    """Return 16 bytes that differ where bodies do."""
    return hashlib.blake2b(canonical, digest_size=16).digest()


class NoStore:
    """Idempotency where nothing keeps keys: a promise that cannot be kept is not given."""

    async def claim(self, asked: Sequence[Asked]) -> Sequence[Claim | Problem]:
        """See Idempotency."""
        return [Problem(ProblemType.NOT_IMPLEMENTED, "this gateway keeps no Idempotency-Key for orders") for _ in asked]

    def settle(self, asked: Sequence[Asked], acknowledged: bool) -> None:
        """See Idempotency."""
