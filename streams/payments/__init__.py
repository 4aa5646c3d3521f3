"""Payment providers: who is asked for an order's money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from streams.domain.payment import REVERSAL, Answer, Pending, Request


class Heard(NamedTuple):
    """What a provider said to a pending request. `doubtful`: it was asked before, and what came of that nobody here knows."""

    request: Request
    answer: Answer
    doubtful: bool = False


class Desk(Protocol):
    """Where one task leaves its pending requests and finds their answers. Nothing here waits for the provider."""

    def leave(self, pending: Sequence[Pending], *, recovered: bool = False) -> None:
        """Have these asked until they are answered; they are committed. `recovered`: an earlier task may have asked them."""

    def is_due(self, now: int) -> bool:
        """Whether an answer is there; `now` in ms."""
        ...

    def collect(self, now: int) -> list[Heard]:
        """Take the answers that are there, each once, in the order in which they came."""
        ...

    def is_asking(self) -> bool:
        """Whether anything left here has no answer yet."""
        ...

    def close(self) -> None:
        """Have nothing asked any more: another task will."""


class Provider(Protocol):
    """Somebody who moves money. `key_of` names a request: asked twice, it is carried out once."""

    def ask(self, requests: Sequence[Request]) -> Sequence[Answer | None]:
        """Return what is certain at once, in the requests' order, without waiting for anybody; None: it becomes pending."""
        ...

    def desk(self) -> Desk:
        """Return a desk for one task; nothing is connected before something is left there."""
        ...


def key_of(request: Request) -> str:
    """Return a request's Idempotency-Key: the same for ever, whoever asks."""
    sequence = "reversal" if request.sequence == REVERSAL else request.sequence
    return f"{request.order_id}-{request.attempt}-{sequence}"
