"""The thread that looks at the log while somebody looks at the console."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog

from holdfast.console.pulse import Pulse
from holdfast.stack.errors import StackError
from holdfast.topics import in_use
from holdfast.watching import Watcher

log = structlog.get_logger()
INTERVAL_S: Final = 1.0
IDLE_S: Final = 30.0
"""Nobody asked for so long: the thread ends, and begins again with the next one who asks."""
AGAIN_S: Final = 3.0


class Feed:
    """The last sight. One look serves everybody who asks."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._asked_at = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._sight: Mapping[str, Any] | None = None
        self._problem = ""

    def sight(self) -> Mapping[str, Any]:
        """Return the last sight, or {"problem": why there is none (yet)}."""
        with self._lock:
            self._asked_at = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="console", daemon=True)
                self._thread.start()
        return self._sight or {"problem": self._problem or "looking"}

    def _is_wanted(self) -> bool:
        with self._lock:
            if time.monotonic() - self._asked_at < IDLE_S:
                return True
            self._thread, self._sight = None, None
            return False

    def _look(self) -> None:
        while self._is_wanted():
            try:
                self._watch()
            except StackError as error:
                log.warning("the console sees nothing", reason=str(error))
                self._sight, self._problem = None, str(error)
                time.sleep(AGAIN_S)

    def _watch(self) -> None:
        pulse = Pulse()
        watcher = Watcher(self._bootstrap, in_use(self._bootstrap).prefix, pulse.add)
        try:
            while self._is_wanted():
                self._sight = {**watcher.watch(INTERVAL_S).document(), **pulse.beat()}
        finally:
            watcher.close()
