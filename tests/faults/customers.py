"""Customers of several gateways who are rough: they give up early, ask twice at once, ask again what was answered. Each order has a key of its own.

Between the chapters of their shopping something is struck: orders of chapter n are posted once strike n began, and strike n begins when the first
customer has come so far, while the others are still posting. So every strike falls into the load, however fast or slow the machine is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

import httpx

from tests.support.gateway import bearer, order_body

GIVE_UP_S: Final = 20.0
HASTE_S: Final = 0.06
PATIENCE_S: Final = 180.0
"""So long a customer tries to place one order."""
EXPECTED: Final = frozenset({409, 429, 503})
"""What a customer may be told beside that the order is taken: all of it means "come back"."""


class Purchase(NamedTuple):
    """One order and its key, which is its user's own."""

    user: str
    key: str
    body: dict[str, Any]

    @property
    def lines(self) -> list[tuple[int, str, int]]:
        """(line, product, quantity)."""
        return [(number, line["product_id"], line["quantity"]) for number, line in enumerate(self.body["lines"], 1)]


@dataclass
class Seen:
    """What the customers were told. `order_ids`: (user, key) -> how often which order ID was the answer."""

    order_ids: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)
    """Answers that no customer should get."""

    def note(self, purchase: Purchase, answer: httpx.Response) -> bool:
        """Write down an answer; return whether it says that the order is taken."""
        self.statuses[answer.status_code] += 1
        taken = answer.status_code in (200, 202)
        if taken:
            self.order_ids.setdefault((purchase.user, purchase.key), Counter())[answer.json()["order_id"]] += 1
        elif answer.status_code not in EXPECTED:
            self.odd.append(f"{purchase.user} {purchase.key}: {answer.status_code} {answer.text[:300]}")
        return taken


class Chapters:
    """Holds strikes and customers together."""

    def __init__(self, strikes: int) -> None:
        self.strikes = strikes
        self._wanted = [asyncio.Event() for _ in range(strikes)]
        self._begun = [asyncio.Event() for _ in range(strikes)]

    async def wanted(self, strike: int) -> None:
        """Wait until the first customer has come to this strike."""
        await self._wanted[strike].wait()

    def begun(self, strike: int) -> None:
        """Let the customers go on."""
        self._begun[strike].set()

    async def before(self, order: int, orders: int) -> None:
        """Called by a customer before each of its orders."""
        chapter = order * (self.strikes + 1) // orders
        if chapter:
            self._wanted[chapter - 1].set()
            await self._begun[chapter - 1].wait()


class Customer:
    """Places its orders one after the other, at whichever gateway, until each is taken."""

    def __init__(self, number: int, urls: Sequence[str], api_key: str, seed: int, seen: Seen) -> None:
        self._user, self._urls, self._seen = f"c{number}", urls, seen
        self._random = Random(f"{seed}-{number}")
        self._http = httpx.AsyncClient(headers=bearer(api_key))

    def purchases(self, orders: int, products: Sequence[str]) -> list[Purchase]:
        """Return what it is going to buy; the same for the same seed."""
        return [Purchase(self._user, f"k{n}", self._body(products)) for n in range(orders)]

    async def shop(self, purchases: Sequence[Purchase], chapters: Chapters) -> None:
        """Place all of them."""
        async with self._http:
            for number, purchase in enumerate(purchases):
                await chapters.before(number, len(purchases))
                await self._place(purchase)

    async def _place(self, purchase: Purchase) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await self._ask(purchase):
                await asyncio.sleep(self._random.uniform(0, 0.4))
            while self._random.random() < 0.25:
                await self._ask(purchase)

    async def _ask(self, purchase: Purchase) -> bool:
        """Ask one gateway, or two at once, and perhaps give up soon; return whether the order is taken."""
        chance = self._random.random()
        if chance < 0.1:
            return any(await asyncio.gather(*(self._post(url, purchase) for url in self._urls)))
        patience = self._random.uniform(0.001, HASTE_S) if chance < 0.3 else GIVE_UP_S
        return await self._post(self._random.choice(self._urls), purchase, patience, {"prefer": "wait=1"} if chance > 0.95 else {})

    async def _post(self, url: str, purchase: Purchase, timeout_s: float = GIVE_UP_S, more: dict[str, str] | None = None) -> bool:
        headers = {"idempotency-key": purchase.key, **(more or {})}
        try:
            answer = await self._http.post(f"{url}/v1/orders", json=purchase.body, headers=headers, timeout=timeout_s)
        except httpx.TransportError as error:
            self._seen.unanswered[type(error).__name__] += 1
            return False
        return self._seen.note(purchase, answer)

    def _body(self, products: Sequence[str]) -> dict[str, Any]:
        lines = [(product, self._random.randint(1, 3)) for product in self._random.sample(products, self._random.randint(1, 3))]
        return order_body(*lines, user=self._user, token="tok_declined" if self._random.random() < 0.05 else "tok_ok")
