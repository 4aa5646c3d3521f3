"""From Granian's thread to the event loop. Granian itself has this in Python too (granian/_futures.py), without a short way.

What is of Granian here is pinned with it: an interface that changed fails at the start, and in every live test.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any, Final, Protocol

from granian import _granian
from granian.rsgi import HTTPProtocol, Scope
from granian.server.embed import AsyncWorker

from ingest.http.rsgi import RsgiApp

log = logging.getLogger(__name__)
server: Final[Any] = _granian


class Watcher(Protocol):
    """A request as Granian hands it over: `done` or `err` has to be called in the end where nothing was answered."""

    scope: Scope
    proto: HTTPProtocol

    def done(self) -> None:
        """Say that there will be no more; answers with a bare 500 if there was no answer."""

    def err(self, error: BaseException) -> None:
        """The same, with the error in Granian's log."""

    def taskref(self, task: asyncio.Task[None]) -> None:
        """Keep a task alive for as long as the request."""


class ShortWay(Protocol):
    """Takes the requests that need no task of their own."""

    def takes(self, watcher: Watcher) -> bool:
        """Say whether this request goes the short way, and see to it then. Called in Granian's thread, which holds the interpreter."""


class LongWay:
    """A task for each request."""

    def __init__(self, app: RsgiApp, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._context: Final = contextvars.copy_context()

    def hand_over(self, watcher: Watcher) -> None:
        """Begin in the event loop's thread, from another one."""
        self._loop.call_soon_threadsafe(self.begin, watcher, None, context=self._context)

    def begin(self, watcher: Watcher, body: Any = None) -> None:
        """Begin; `body`: a Begun where somebody has begun to read the body."""
        watcher.taskref(self._loop.create_task(self._answer(watcher, body)))

    async def _answer(self, watcher: Watcher, body: Any) -> None:
        try:
            await self._app.respond(watcher.scope, watcher.proto, watcher.proto if body is None else body)
        except BaseException as error:
            watcher.err(error)
            return
        watcher.done()


def spawner(long_way: LongWay, short_way: ShortWay) -> Any:
    """Return how Granian's embedded server begins to serve, as its own `_spawn_rsgi_worker` does, with our way into the event loop."""

    def schedule(watcher: Watcher) -> None:
        # Granian looks at no error.
        try:
            if short_way.takes(watcher):
                return
        except Exception:
            log.exception("a request could not go the short way")
        long_way.hand_over(watcher)

    async def spawn(number: int, stop: Any, _app: Any, socket: Any, loop: asyncio.AbstractEventLoop, *options: Any) -> None:
        threads, blocking, py_threads, idle_s, most, _tasks, mode, http1, http2, websockets, files, _log, ssl, _scope = options
        stopped = loop.create_future()
        stop.add_cb(lambda: loop.call_soon_threadsafe(stopped.set_result, None))
        scheduler = server.CallbackScheduler(loop, schedule, None, None, None)
        scheduler._schedule_fn = schedule
        more = (threads, blocking, py_threads, idle_s, most, mode, http1, http2, websockets, files)
        worker = server.RSGIWorker(number, socket, None, *more, *ssl, (None, None))
        worker.serve_async(scheduler, loop, stop)
        await stopped

    return AsyncWorker.wrap_target(spawn)  # type: ignore[no-untyped-call]
