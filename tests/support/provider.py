"""A sandbox payment provider as a process of a test's own, which it may kill, stop and set to misbehave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.stack.ports import free_port
from tests.support.pipeline import until


@dataclass
class ProviderProcess:
    """One provider on one port; its ledger outlives its kills."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    popen: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "provider.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "holdfast",
            "provider",
            "--port",
            str(self.port),
            "--ledger",
            str(self.folder / "provider-ledger.jsonl"),
            "--seed",
            "1",
        ]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(command, env={**os.environ, **self.settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self.answers, 60, f"the provider answers\n{self.log.read_text()}")

    def answers(self) -> bool:
        try:
            return self.call("GET", "/health")[0] == 200
        except OSError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self.popen is not None
        self.popen.send_signal(number)

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    def mode(self, **mode: Any) -> None:
        """Set what is wrong with it; nothing named: it is well."""
        status, answer = self.call("PUT", "/mode", mode)
        assert status == 200, answer

    def ledger(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/ledger", timeout=30) as response:
            return [json.loads(line) for line in response]

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return (status, JSON) of one request; raises OSError where there is no answer."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


@contextmanager
def own_provider(folder: Path, **settings: str) -> Iterator[ProviderProcess]:
    """A provider, started; killed at the end."""
    provider = ProviderProcess(folder, settings)
    try:
        provider.start()
        yield provider
    finally:
        provider.kill()
