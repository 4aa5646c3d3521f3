"""What the gateway serves of the console: the page to everybody, what it shows to an admin's key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from holdfast.console.feed import Feed
from holdfast.history.reading import read_order, read_products
from holdfast.stack.errors import StackError
from holdfast.topics import in_use
from ingest.errors import IngestError
from ingest.http.errors import Problem, ProblemType, json_body
from ingest.http.messages import JSON, Answer, Headers, Request, Response
from ingest.http.routes import Handler, Route
from ingest.http.seams import Scope
from ingest.lookups import parse_order_id, parse_product_id

if TYPE_CHECKING:
    from ingest.gateway import Gateway

MOVEMENTS: Final = 200
"""Of a product's movements, the last so many."""
_SAFE: Final = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
_TAG: Final = ""
_ADMIN: Final = (Scope.ADMIN,)


class Console:
    """The console of one gateway process."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._feed = Feed(bootstrap)
        self._reading = asyncio.Lock()
        """Of the histories: each reads whole topics, one at a time is enough."""

    def routes(self) -> tuple[Route, ...]:
        """Return the routes to add to the gateway's."""
        return (
            Route("GET", "/console", _file("console.html", "text/html"), "The shop at work", tag=_TAG),
            Route("GET", "/console/console.css", _file("console.css", "text/css"), "How it looks", tag=_TAG),
            Route("GET", "/console/console.js", _file("console.js", "text/javascript"), "What it does", tag=_TAG),
            Route("GET", "/console/sight", self.sight, "Rates, lag, latency, hottest products, dead letters", scopes=_ADMIN, tag=_TAG),
            Route("GET", "/console/orders/{order_id}", self.order, "An order's journey", scopes=_ADMIN, tag=_TAG),
            Route("GET", "/console/products/{product_id}", self.product, "A product's history", scopes=_ADMIN, tag=_TAG),
        )

    async def sight(self, gateway: Gateway, request: Request) -> Answer:  # noqa: ARG002 (every handler takes both)
        """Answer with the last look at the pipeline."""
        return _json(self._feed.sight())

    async def order(self, gateway: Gateway, request: Request) -> Answer:  # noqa: ARG002
        """Answer with all that the log says of an order; raises Problem."""
        order_id = _parsed(parse_order_id, request.params["order_id"])
        events = await self._read(lambda: read_order(self._bootstrap, in_use(self._bootstrap).prefixes, order_id, None, lambda *_: None))
        if not events:
            raise Problem(ProblemType.NOT_FOUND, f"the log has nothing of order {order_id}")
        return _json({"order_id": str(order_id), "events": [event.document() for event in events]})

    async def product(self, gateway: Gateway, request: Request) -> Answer:  # noqa: ARG002
        """Answer with a product's last movements and its stock; raises Problem."""
        product_id = _parsed(parse_product_id, request.params["product_id"])
        answers = await self._read(lambda: read_products(self._bootstrap, in_use(self._bootstrap).prefixes, [product_id], None, lambda *_: None))
        movements = list(answers.of(product_id))
        if not movements:
            raise Problem(ProblemType.NOT_FOUND, f"the log has nothing of product {product_id!r} (IDs are case-sensitive)")
        stock = {**movements[-1].after, "version": movements[-1].version}
        return _json({"product_id": product_id, "movements": [m.document() for m in movements[-MOVEMENTS:]], "all": len(movements), "stock": stock})

    async def _read(self, read: Callable[[], Any]) -> Any:
        async with self._reading:
            try:
                return await asyncio.to_thread(read)
            except StackError as error:
                raise Problem(ProblemType.UNAVAILABLE, str(error), retry_after_s=2.0) from error


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except IngestError as error:
        raise Problem(ProblemType.NOT_FOUND, str(error)) from error


def _json(value: Mapping[str, Any]) -> Response:
    return Response(200, json_body(value), [JSON, ("cache-control", "no-store")])


def _file(name: str, media_type: str) -> Handler:
    body = resources.files(__package__).joinpath("static", name).read_bytes()
    headers: Headers = [
        *(("content-type", f"{media_type}; charset=utf-8"), ("cache-control", "no-cache"), ("x-content-type-options", "nosniff")),
        *(("content-security-policy", _SAFE), ("referrer-policy", "no-referrer"), ("x-frame-options", "DENY")),
    ]

    async def handle(gateway: Gateway, request: Request) -> Answer:  # noqa: ARG001
        return Response(200, body, headers)

    return handle
