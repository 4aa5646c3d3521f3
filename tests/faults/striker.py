"""Carries strikes out: each in a thread of its own where faults are mixed, and everything healed at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from random import Random
from typing import Final

from tests.faults.fault import Fault, Heal
from tests.faults.result import Struck
from tests.faults.schedule import Strike
from tests.faults.site import Site

MOST_AT_ONCE: Final = 32
HEAL_TRIES: Final = 20
HEAL_PAUSE_S: Final = 1.0
HEAL_ALL_S: Final = 180.0


class Striker:
    """Strikes at a site. `struck` lists every fault in the order in which they began."""

    def __init__(self, site: Site, faults: dict[str, Fault], say: Callable[[str], None]) -> None:
        self.struck: list[Struck] = []
        self._site, self._faults, self._say = site, faults, say
        self._healing = threading.Event()
        self._threads = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="fault")
        self._under_way: list[Future[None]] = []

    def strike(self, strike: Strike) -> Struck:
        """Strike and heal; returns when both are done."""
        struck = Struck(strike.kind, time.monotonic(), single=True)
        self.struck.append(struck)
        self._carry_out(strike, struck)
        return struck

    def strike_meanwhile(self, strike: Strike) -> None:
        """Strike, and heal when it is time, while the caller goes on."""
        struck = Struck(strike.kind, time.monotonic())
        if any(other.kind == strike.kind and not other.healed for other in self.struck):
            struck.error, struck.healed = "not struck: the one before is not over yet", struck.at
        self.struck.append(struck)
        if struck.error:
            return
        self._under_way.append(self._threads.submit(self._carry_out, strike, struck))

    def heal_all(self) -> list[str]:
        """Heal at once what is not healed yet; returns what could not be."""
        self._healing.set()
        _done, left = wait(self._under_way, HEAL_ALL_S)
        self._threads.shutdown(wait=False, cancel_futures=True)
        stuck = [f"{len(left)} faults could not be healed within {HEAL_ALL_S:.0f} s"] if left else []
        return [*stuck, *(f"{struck.kind}: {struck.error}" for struck in self.struck if struck.error.startswith("not healed"))]

    def _carry_out(self, strike: Strike, struck: Struck) -> None:
        fault = self._faults[strike.kind]
        try:
            heal = fault.strike(self._site, Random(strike.chance))
        except Exception as error:  # one that cannot be done among others is not counted; the rest goes on
            struck.error = f"not struck: {error!r:.300}"
            struck.healed = time.monotonic()
            self._say(f"{strike.kind}: {struck.error}")
            return
        if heal is not None:
            self._healing.wait(max(0.0, struck.at + fault.lasts_s - time.monotonic()))
            struck.error = self._heal(heal)
        struck.healed = time.monotonic()

    def _heal(self, heal: Heal) -> str:
        """Mend what was struck. Another fault may be in the way (a server that is down), so more than once."""
        for last in range(HEAL_TRIES - 1, -1, -1):
            try:
                heal()
                return ""
            except Exception as error:
                why = f"not healed: {error!r:.300}"
                if last:
                    time.sleep(HEAL_PAUSE_S)
        self._say(why)
        return why
