"""Provider `http`: whoever is behind a URL. Nothing is certain at once, so every request is pending first and asked by `Asker`."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from streams.domain.payment import Answer, Request
from streams.payments import Desk, key_of
from streams.payments.asker import Asker
from streams.payments.contract import LARGEST_ANSWER, NoAnswer, body_of, path_of, read_answer
from telemetry import traces

CHUNK: Final = 16_384


class HttpProvider:
    """Asks `url` (see `contract`); `key` goes along as bearer token. `timeout` in seconds, per request and attempt."""

    def __init__(self, url: str, key: str = "", timeout: float = 3.0, concurrency: int = 32) -> None:
        base = checked(url)
        self._asker = Asker(lambda: HttpContact(base, key, timeout), concurrency)

    def ask(self, requests: Sequence[Request]) -> list[Answer | None]:
        return [None] * len(requests)

    def desk(self) -> Desk:
        return self._asker.desk()


def checked(url: str) -> str:
    """Return a provider's URL without its last slash; raises ValueError, which never shows what may be a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a payment provider's URL looks like https://host[:port][/path]")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("a payment provider's URL has no user, query or fragment: its key is HOLDFAST_PAYMENT_KEY")
    return url.rstrip("/")


class HttpContact:
    """One worker's connections to the provider; lives on the asker's event loop."""

    def __init__(self, base: str, key: str, timeout: float) -> None:
        self._base = base
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    async def __aenter__(self) -> HttpContact:
        # Connections are not counted here: the asker asks only so many at a time.
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers, connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None) -> None:
        await self._session.close()

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Ask once; never raises for what a provider or a network can do."""
        headers = {"Idempotency-Key": key_of(request), **traces.outgoing()}
        try:
            async with self._session.post(self._base + path_of(request), json=body_of(request), headers=headers, allow_redirects=False) as response:
                answer = read_answer(request, response.status, response.headers, await _body(response))
                if isinstance(answer, NoAnswer):
                    response.close()  # what comes next on this connection may answer anything
                return answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NoAnswer(f"no connection: {type(error).__name__}", was_sent=False)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            return NoAnswer(f"no answer: {type(error).__name__}")


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, or so much of a longer one that it shows that it is none."""
    found = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK):
        found += chunk
        if len(found) > LARGEST_ANSWER:
            break
    return bytes(found)
