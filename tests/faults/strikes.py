"""Strikes that are the same for every server."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random

from tests.faults.fault import Heal
from tests.faults.site import Site

Strike = Callable[[Site, Random], Heal | None]


def sent(name: str, number: signal.Signals) -> Strike:
    """Return a strike that sends every live process of this name a signal; the supervisor starts again who dies of it."""

    def strike(site: Site, _random: Random) -> None:
        site.signal(name, number)

    return strike


def frozen(name: str) -> Strike:
    """Return a strike that stops every live process of this name until the healing."""

    def strike(site: Site, _random: Random) -> Heal:
        site.signal(name, signal.SIGSTOP)

        def heal() -> None:
            site.signal(name, signal.SIGCONT)

        return heal

    return strike
