"""Dice that read a tape of bytes: hypothesis draws the tape in one go, which is quick, and shrinks it, which random numbers are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
LENGTH = 384
"""Of a tape: more than nearly every history throws. Behind the end only zeros come, so every history ends."""


class Tape:
    """A zero is always the first choice, the smallest number: the plainest history is a tape of zeros."""

    def __init__(self, tape: bytes) -> None:
        self.tape = tape
        self.at = 0

    def randint(self, least: int, most: int) -> int:
        at, self.at = self.at, self.at + 1
        return least + (self.tape[at] if at < len(self.tape) else 0) % (most - least + 1)

    def choice(self, options: Sequence[T]) -> T:
        return options[self.randint(0, len(options) - 1)]
