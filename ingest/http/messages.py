"""What a handler sees and gives back: no server in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias
from urllib.parse import parse_qsl

from ingest.http.trace import Trace

if TYPE_CHECKING:
    from ingest.http.seams import Caller

Headers: TypeAlias = list[tuple[str, str]]
JSON = ("content-type", "application/json")


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


@dataclass(slots=True)
class Streamed:
    """An answer given piece by piece: `pieces` is closed when the client goes away, or takes longer than `send_within_s` for a piece."""

    status: int
    pieces: AsyncIterator[bytes]
    headers: Headers = field(default_factory=list)
    send_within_s: float | None = None


Answer: TypeAlias = Response | Streamed


class RequestHeaders(Protocol):
    """Headers by lower-case name; one that is not text is not there."""

    def get(self, key: str, default: str | None = None) -> str | None:
        """Return the first header of that name."""

    def __contains__(self, key: str, /) -> bool:
        """Say whether there is a header of that name, text or not."""


class Incoming(Protocol):
    """The body as it comes in."""

    async def whole(self) -> bytes:
        """Return all of it; raises Problem when it is too large or too slow."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Return it piece by piece, of any total size; raises Problem when the next one is too slow."""


class Request:
    """One request. `params` are the path's, by name; `caller` and `trace` are set before a handler sees it."""

    __slots__ = ("caller", "client", "headers", "incoming", "method", "params", "path", "query_string", "trace")

    def __init__(self, method: str, path: str, query_string: str, headers: RequestHeaders, client: str, incoming: Incoming, trace: Trace) -> None:
        self.method = method
        self.path = path
        self.query_string = query_string
        self.headers = headers
        self.client = client
        self.incoming = incoming
        self.trace = trace
        self.params: Mapping[str, str] = {}
        self.caller: Caller

    def query(self) -> dict[str, list[str]]:
        """Return the query's parameters, percent-decoded; raises ValueError (UnicodeDecodeError) for bytes that are not UTF-8."""
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.query_string, keep_blank_values=True, errors="strict", max_num_fields=1_000):
            found.setdefault(name, []).append(value)
        return found
