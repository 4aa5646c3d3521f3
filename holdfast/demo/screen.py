"""What the demo shows while it works: on a terminal one line that changes, elsewhere a line now and then."""

import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console

QUIET_S = 5.0
"""Without a terminal a changed line is printed no more often than this."""


class Screen(AbstractContextManager["Screen"]):
    """Writes to stderr: standard output is for the result."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._began = time.monotonic()
        self._status = self._console.status("starting")
        self._shown = ""
        self._shown_at = 0.0

    def __enter__(self) -> "Screen":
        self._status.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._status.__exit__(kind, error, trace)

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(f"[dim]{time.monotonic() - self._began:6.1f} s[/]  {text}", highlight=False, soft_wrap=True)

    def step(self, text: str) -> None:
        """Begin a step: a line that stays, and what is under way until the next."""
        self._status.update(text)
        self.note(text)

    def show(self, text: str) -> None:
        """Show how the step goes on."""
        if self._console.is_terminal:
            self._status.update(text)
        elif text != self._shown and time.monotonic() - self._shown_at >= QUIET_S:
            self._shown, self._shown_at = text, time.monotonic()
            self.note(text)
