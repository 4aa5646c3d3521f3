"""How a worker ends that was told to."""

import asyncio
from types import SimpleNamespace

import faust
import pytest

from streams.runtime import lifecycle


def test_a_stop_that_hangs_leaves_the_group_before_the_process_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its partitions would stand still for as long as its stop hung, and for its session on top of that."""
    said: list[str] = []
    ended = asyncio.Event()

    async def hang(_app: faust.App) -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(lifecycle.os, "_exit", lambda code: (said.append(f"exit {code}"), loop.call_soon_threadsafe(ended.set)))
        await ended.wait()

    monkeypatch.setattr(faust.App, "stop", hang)
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.01)
    app = object.__new__(lifecycle.BatchApp)
    app.tasks = SimpleNamespace(leave_group=lambda: said.append("group left"))
    asyncio.run(asyncio.wait_for(app.stop(), 20))
    assert said == ["group left", "exit 0"]
