"""Docker, where a daemon runs: the client, compose, and which images are there."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

from holdfast.stack import debian
from holdfast.stack.errors import MissingProgramError
from holdfast.stack.home import Home

LOCAL_TAG = "local"
"""What docker/build-local.sh names its images by."""
PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"


@dataclass(frozen=True)
class NoDocker(Exception):
    """Why containers cannot be run here."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@cache
def daemon() -> None:
    """Raise NoDocker unless a daemon answers."""
    if shutil.which("docker") is None:
        raise NoDocker("no docker here")
    done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise NoDocker(f"no Docker daemon answers: {done.stderr.strip()[:200]}")


def image(name: str) -> str:
    """The local image of a server. Raises NoDocker where there is none."""
    daemon()
    full = f"holdfast-{name}:{LOCAL_TAG}" if name else f"holdfast:{LOCAL_TAG}"
    if subprocess.run(["docker", "image", "inspect", full], capture_output=True, check=False, timeout=60).returncode:
        raise NoDocker(f"image {full} is not there: `make images` builds it")
    return full


@cache
def compose() -> tuple[str, ...]:
    """The words that run docker compose: the plugin, the program, or the plugin of Debian's packages. Raises NoDocker."""
    for words in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(words[0]) and _is_compose(words):
            return words
    try:
        home = Home.from_environment()
        home.create()
        return (str(debian.unpacked(home, "trixie", "docker-compose") / PLUGIN),)
    except MissingProgramError as error:
        raise NoDocker(f"no docker compose: {error}") from error


def _is_compose(words: tuple[str, ...]) -> bool:
    said = subprocess.run([*words, "version", "--short"], capture_output=True, text=True, check=False, timeout=60)
    return said.returncode == 0 and said.stdout.lstrip("v").startswith(("2.", "3.", "4.", "5."))
