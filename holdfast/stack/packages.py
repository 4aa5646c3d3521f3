"""The programs the stack needs: found, or installed where that can be done, or asked for by name."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast.stack.errors import MissingProgramError

DEBIAN = Path("/etc/debian_version")
SERVICE_POLICY = Path("/usr/sbin/policy-rc.d")
# Debian keeps the servers' programs where only root's PATH looks.
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
JAVA = 17


@dataclass(frozen=True)
class Program:
    """A program by its names, oldest last, and the Debian package that holds it."""

    names: tuple[str, ...]
    package: str


PROGRAMS = {
    "java": Program(("java",), "default-jre-headless"),
    "mvn": Program(("mvn",), "maven"),
    "mariadbd": Program(("mariadbd",), "mariadb-server"),
    "mariadb-install-db": Program(("mariadb-install-db", "mysql_install_db"), "mariadb-server"),
    "redis-server": Program(("redis-server",), "redis-server"),
    "redis-check-aof": Program(("redis-check-aof",), "redis-tools"),
}


def find(program: str) -> str | None:
    """The program's path, or None; a Java that is too old is none."""
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    for name in PROGRAMS[program].names:
        path = shutil.which(name, path=folders)
        if path and (program != "java" or java_version(path) >= JAVA):
            return path
    return None


@cache
def java_version(path: str) -> int:
    """The major version of a Java, 0 if it does not say."""
    said = subprocess.run([path, "-version"], check=False, capture_output=True, text=True).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found.group(1)) if found else 0


def require(program: str) -> str:
    """The program's path. Raises MissingProgramError, which names the command that installs it."""
    path = find(program)
    if path is None:
        package = PROGRAMS[program].package
        wanted = f"{program} {JAVA} or newer" if program == "java" else program
        raise MissingProgramError(f"{wanted} is not installed: run `{_hint(package)}`, then `holdfast up` again")
    return path


def missing(programs: Iterable[str]) -> list[str]:
    """The Debian packages that hold those of `programs` which are not there."""
    return sorted({PROGRAMS[program].package for program in programs if find(program) is None})


def can_install() -> bool:
    """Whether packages can be installed from here: Debian, root, apt-get."""
    return DEBIAN.exists() and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(packages: list[str], log: Path) -> None:
    """Install Debian packages without starting their services; what apt-get said is in `log`."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    update = ["apt-get", "update"]
    wanted = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    with log.open("w") as output, services_not_started():
        for command in (update, wanted):
            done = subprocess.run(command, check=False, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise MissingProgramError(f"apt-get could not install {' '.join(packages)}: see {log}")


@contextmanager
def services_not_started() -> Iterator[None]:
    """While this holds, packages do not start their services: the stack runs servers of its own."""
    if SERVICE_POLICY.exists():
        yield
        return
    SERVICE_POLICY.write_text("#!/bin/sh\nexit 101\n")
    SERVICE_POLICY.chmod(0o755)
    try:
        yield
    finally:
        SERVICE_POLICY.unlink(missing_ok=True)


def _hint(package: str) -> str:
    return f"sudo apt-get install {package}" if DEBIAN.exists() else f"install {package}"
