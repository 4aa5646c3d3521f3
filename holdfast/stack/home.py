"""Where the stack keeps its things."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "HOLDFAST_HOME"
CACHE_VARIABLE = "HOLDFAST_CACHE"


def project_root() -> Path:
    """The checkout this package was imported from; the current folder when it was installed without one."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "Makefile").exists() else Path.cwd()


@dataclass(frozen=True)
class Home:
    """One stack's folder. Several homes, each with a stack of its own, may share one cache."""

    root: Path
    cache: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Home":
        """HOLDFAST_HOME and HOLDFAST_CACHE, by default `.holdfast` and `.holdfast/cache` of the project."""
        default = project_root() / ".holdfast"
        root = environ.get(HOME_VARIABLE) or default
        cache = environ.get(CACHE_VARIABLE) or default / "cache"
        return cls(Path(root).expanduser().resolve(), Path(cache).expanduser().resolve())

    @property
    def run(self) -> Path:
        """Where each pipeline process writes what it is doing: `<kind>-<pid>.json`."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        """What runs, as the supervisor last saw it."""
        return self.root / "state.json"

    @property
    def plan_file(self) -> Path:
        """What is to run, as `holdfast up` last said it."""
        return self.root / "plan.json"

    @property
    def ports_file(self) -> Path:
        """The servers' ports: they outlive a stop, so that a restart has the same endpoints."""
        return self.root / "ports.json"

    @property
    def password_file(self) -> Path:
        """The database password, made at the first start."""
        return self.root / "mysql.password"

    @property
    def lock_file(self) -> Path:
        """Held by the one `up` or `down` at work in this home."""
        return self.root / "lock"

    def data(self, server: str) -> Path:
        """A server's data folder."""
        return self.root / "data" / server

    def log(self, name: str) -> Path:
        """A process's log."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders. Only the owner may enter: the files hold a password and the shop's data."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.run, self.logs, self.root / "data"):
            folder.mkdir(mode=0o700, exist_ok=True)

    def forget_processes(self) -> None:
        """Remove what the processes of an earlier run said of themselves."""
        for file in (self.state_file, *self.run.glob("*.json")):
            file.unlink(missing_ok=True)

    def wipe(self) -> None:
        """Remove what the stack made, by name: a mistyped home must not cost anybody else's files, and the cache stays."""
        for folder in (self.run, self.logs, self.root / "data"):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (self.state_file, self.plan_file, self.ports_file, self.password_file):
            file.unlink(missing_ok=True)
