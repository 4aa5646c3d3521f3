"""One call in a thread that does not outlive the program: Ctrl-C need not wait for it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Runs `call` at once; `result` gives what it returned or raises what it raised."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._call())
        except BaseException as error:
            self._errors.append(error)

    def is_running(self) -> bool:
        """Whether the call has not ended yet."""
        return self._thread.is_alive()

    def result(self) -> T:
        """Wait for the call's end."""
        self._thread.join()
        if self._errors:
            raise self._errors[0]
        return self._results[0]
