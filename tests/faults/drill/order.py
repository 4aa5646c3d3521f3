"""What the fork server is told to do, and what it says became of it: one JSON object a line, each way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Order:
    """One process to be forked: what is armed in it, and what happens to it besides.

    `trouble`: lose, abort, rebalance or stop, where its kind knows that. `source`: what a load loads as.
    `seconds`: it is ended after so long; None: it lives until the next line comes.
    """

    failpoints: str = ""
    trouble: str = ""
    stage: str = ""
    source: str = ""
    seed: int = 0
    seconds: float | None = 30.0

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


@dataclass(frozen=True)
class End:
    """How the process ended. `code`: as subprocess has it, -9 for SIGKILL. `ended`: not by itself, the server did it."""

    code: int
    ended: bool

    def line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"
