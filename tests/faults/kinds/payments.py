"""What is done to the payment provider, or done by it. A kill of it is among the processes."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from random import Random

from tests.faults.fault import CannotStrikeError, Fault, Heal
from tests.faults.site import Site

PROVIDER = "provider"


def set_mode(site: Site, **mode: float | bool) -> None:
    """Make the provider misbehave so; nothing named: it is well."""
    request = urllib.request.Request(f"{site.payments}/mode", json.dumps(mode).encode(), {"Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=20).close()


def misbehave(mode: Callable[[Random], dict[str, float | bool]]) -> Callable[[Site, Random], Heal]:
    """Return a strike that sets a mode; a provider that is started again meanwhile is well already."""

    def strike(site: Site, random: Random) -> Heal:
        try:
            set_mode(site, **mode(random))
        except OSError as error:
            raise CannotStrikeError(f"the payment provider does not answer: {error}") from error
        return lambda: heal(site)

    return strike


def heal(site: Site) -> None:
    try:
        set_mode(site)
    except OSError:
        # One that is frozen keeps its mode, one that is dead has lost it.
        site.signal(PROVIDER, signal.SIGKILL)


def freeze(site: Site, _random: Random) -> Heal:
    if not site.signal(PROVIDER, signal.SIGSTOP):
        raise CannotStrikeError("no payment provider runs")

    def wake() -> None:
        site.signal(PROVIDER, signal.SIGCONT)

    return wake


FAULTS = (
    Fault("provider slow", "the payment provider answers after some tenths of a second", misbehave(lambda r: {"slow_s": r.uniform(0.1, 0.8)}), 5.0),
    Fault("provider late", "it answers after the timeout of whoever asks", misbehave(lambda r: {"slow_s": r.uniform(4.0, 6.0)}), 6.0, withholds=True),
    Fault("provider failing", "it answers 500, 503, 429; half of that is carried out", misbehave(lambda r: {"fail_rate": r.uniform(0.2, 0.9)}), 5.0),
    Fault("provider dropping", "it hangs up without an answer; half of that is carried out", misbehave(lambda r: {"drop_rate": r.uniform(0.2, 0.9)}), 5.0),
    Fault("provider lying", "it answers twice, and a repeat otherwise than before", misbehave(lambda r: {"lie_rate": 1.0, "drop_rate": 0.3}), 5.0),
    Fault("provider down", "it answers 503 to everything and does nothing", misbehave(lambda _: {"down": True}), 6.0, withholds=True),
    Fault("provider frozen", "SIGSTOP of the payment provider, then SIGCONT", freeze, 6.0, withholds=True),
)
