"""How the provider misbehaves: by the request's token, and by a mode that anybody on this machine may set. Pure."""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import Final, NamedTuple

import msgspec

from holdfast.provider.ledger import Entry
from streams.payments.sandbox import SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN


class Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with the provider. Rates are shares of the requests, 0.0 to 1.0; of fail_rate and drop_rate together at most 1.0."""

    slow_s: float = 0.0
    """Seconds until a request is answered; its money moves at once."""
    fail_rate: float = 0.0
    """Answered 500, 503 or 429; half of these are carried out all the same."""
    drop_rate: float = 0.0
    """The connection is closed without an answer; half of these are carried out all the same."""
    lie_rate: float = 0.0
    """Answered twice; and a repeat of what was carried out is declined."""
    down: bool = False
    """Nothing is carried out, everything is answered 503."""

    def fault(self) -> str | None:
        """Return what is wrong with the mode itself; None if it can be had."""
        rates = {"fail_rate": self.fail_rate, "drop_rate": self.drop_rate, "lie_rate": self.lie_rate, "fail_rate + drop_rate": self.fail_rate + self.drop_rate}
        wrong = next((f"{name} is {rate}: give a share from 0.0 to 1.0" for name, rate in rates.items() if not 0.0 <= rate <= 1.0), None)
        return wrong or (None if 0.0 <= self.slow_s <= LONGEST_S else f"slow_s is {self.slow_s}: give 0 to {LONGEST_S:.0f} seconds")


LONGEST_S: Final = 3_600.0


class Reply(Enum):
    TRUTH = "what became of the request"
    FAILURE = "500, 503 or 429"
    NOTHING = "the connection is closed"


class Conduct(NamedTuple):
    """What is done about one request: whether it is carried out, how it is answered, and whether by a lie (a second answer, or another one)."""

    carries_out: bool
    reply: Reply
    lies: bool = False


def conduct(mode: Mode, token: str, dice: Random) -> Conduct:
    """Return what to do about one request."""
    if mode.down:
        return Conduct(False, Reply.FAILURE)
    chance, half, lie = dice.random(), dice.random() < 0.5, dice.random()
    if chance < mode.fail_rate:
        return Conduct(half, Reply.FAILURE)
    if chance < mode.fail_rate + mode.drop_rate:
        return Conduct(half, Reply.NOTHING)
    return Conduct(True, Reply.TRUTH, lies=token == TWICE_TOKEN or lie < mode.lie_rate)


class Delays(NamedTuple):
    """Seconds that `tok_slow` and `tok_silent` take."""

    slow_s: float
    silent_s: float

    def due_in(self, mode: Mode, done: Entry, now: int) -> float:
        """Return how many seconds an answer has to wait: it is due so long after the request was carried out; `now` in ms."""
        own = {SLOW_TOKEN: self.slow_s, SILENT_TOKEN: self.silent_s}.get(done.token, 0.0)
        return max(0.0, max(own, mode.slow_s) - (now - done.at) / 1000)
