"""Payment providers: who is asked for an order's money."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streams.domain.payment import Answer, Request


class Provider(Protocol):
    """Somebody who moves money. (order ID, attempt, sequence) names a request: asked twice, it is carried out once."""

    def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the answer to each request, in their order; what is unknown is asked again, never guessed."""
        ...
