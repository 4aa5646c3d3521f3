"""The seam `Reads` over Redis and MySQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

from ingest.errors import StoreError
from ingest.http.errors import malformed
from ingest.order_ids import clock_ms
from ingest.reads.aside import THREADS, CacheAside, unavailable
from ingest.reads.cache import TIMEOUT_S, Cache, CachedRows
from ingest.reads.cursors import cursor_of, place_of
from ingest.reads.documents import order_document, product_document
from ingest.reads.fields import ORDER_FIELDS, PRODUCT_FIELDS, Fields, order_of_values, stock_of_values
from ingest.reads.gather import Gather
from ingest.reads.placed import PlacedOrders
from ingest.reads.tables import Tables
from schemas import views

PageAsked: TypeAlias = tuple[str, int, tuple[int, int] | None]
"""User, how many, and behind which (placed_at in ms, order ID)."""
Page: TypeAlias = Sequence[tuple[int, int]]


class StoreReads:
    """See Reads. `redis_url` empty: MySQL alone. `wait_s`: how long `min_version` is waited for; `cache_s`: how long Redis is; `placed_s`: how long orders
    that may not be decided are noted. For the event loop's thread.
    """

    def __init__(
        self, redis_url: str, mysql_url: str, shards: str, wait_s: float, cache_s: float = TIMEOUT_S, placed_s: float = 0, clock: Callable[[], int] = clock_ms
    ) -> None:
        self._tables = Tables(mysql_url, shards, threads=THREADS)
        self._clock = clock
        cache = self._cache = Cache(redis_url, cache_s) if redis_url else None
        order_rows = CachedRows(cache, views.order_key, ORDER_FIELDS, order_of_values)
        product_rows = CachedRows(cache, views.stock_key, PRODUCT_FIELDS, stock_of_values)
        self._orders: CacheAside[int] = CacheAside(order_rows, self._tables.orders, wait_s)
        self._products: CacheAside[str] = CacheAside(product_rows, self._tables.products, wait_s)
        self.placed = PlacedOrders(cache, placed_s)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="pages")
        self._pages: Gather[PageAsked, Page] = Gather(self._fetch_pages, THREADS, 1)

    def cache_hits(self) -> Mapping[str, float]:
        """Return how many looks into the cache found what was asked for, by kind of thing."""
        return {"order": self._orders.hits, "product": self._products.hits}

    def cache_misses(self) -> Mapping[str, float]:
        """Return how many looks into the cache did not."""
        return {"order": self._orders.missed, "product": self._products.missed}

    def cache_is_away(self) -> bool:
        """Whether the cache did not answer when it was asked last: for now nobody asks it."""
        return self._cache is not None and not self._cache.answers

    async def order(self, order_id: int, min_version: int = 0, user: str | None = None) -> Mapping[str, Any] | None:
        """See Reads."""
        suits: Callable[[Fields], bool] = lambda fields: user is None or fields["user_id"] == user  # noqa: E731
        fields = await self._orders.read(order_id, min_version, suits)
        return None if fields is None else order_document(fields, self._clock())

    async def orders_of(self, user: str, limit: int, cursor: str | None) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """See Reads. Which orders there are is asked of MySQL; each is then read like a single one."""
        try:
            before = None if cursor is None else place_of(user, cursor)
        except ValueError:
            raise malformed("this cursor is none that was given out for this user's orders: leave it out to begin anew") from None
        try:
            page = await self._pages.get((user, limit + 1, before)) or []
        except StoreError as error:
            raise unavailable(error) from error
        shown = page[:limit]
        orders = await asyncio.gather(*(self.order(order_id) for _, order_id in shown))
        return [order for order in orders if order is not None], cursor_of(user, shown[-1]) if len(page) > limit else None

    async def product(self, product_id: str, min_version: int = 0) -> Mapping[str, Any] | None:
        """See Reads."""
        fields = await self._products.read(product_id, min_version)
        return None if fields is None else product_document(fields, self._clock())

    async def products(self, product_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """See Reads."""
        found = await asyncio.gather(*map(self.product, product_ids))
        return {product_id: document for product_id, document in zip(product_ids, found, strict=True) if document is not None}

    async def close(self) -> None:
        """Wait for what is under way, then let go of the stores."""
        await asyncio.gather(self._orders.close(), self._products.close(), self._pages.close(), self.placed.close())
        self._threads.shutdown()
        if self._cache is not None:
            await self._cache.close()
        await asyncio.to_thread(self._tables.close)

    async def _fetch_pages(self, asked: Sequence[PageAsked]) -> Mapping[PageAsked, Page]:
        (page,) = asked
        return {page: await asyncio.get_running_loop().run_in_executor(self._threads, self._tables.page, *page)}
