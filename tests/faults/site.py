"""Where faults strike: a stack that `holdfast up` runs and looks after."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.stack.endpoints import Endpoints
from holdfast.stack.home import Home
from holdfast.stack.processes import is_alive
from holdfast.stack.state import ProcessState, running_state


@dataclass
class Site:
    """A running stack. `folder` is for what faults need to write; `environment` what the pipeline's processes were started with."""

    home: Home
    endpoints: Endpoints
    folder: Path
    partitions: int
    prefix: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def processes(self, name: str) -> list[ProcessState]:
        """Return the live processes of a kind or a name: worker, worker-1, sink, sink-mysql, kafka, mariadb, redis, ..."""
        state = running_state(self.home)
        found = state.processes if state else []
        return [p for p in found if name in (p.kind, p.name) and p.process is not None and is_alive(p.process)]

    def signal(self, name: str, number: signal.Signals) -> list[int]:
        """Send a signal to every live process of a kind or a name; return who got it."""
        pids = [p.process.pid for p in self.processes(name) if p.process is not None]
        for pid in pids:
            os.kill(pid, number)
        return pids
