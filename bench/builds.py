"""Makes what some peers need, once: the Kafka Streams jar and quixstreams' own virtual environment."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PEERS: Final = Path(__file__).parent / "peers"
HEAP: Final = ("-Xms1g", "-Xmx1g")
QUIX: Final = ("quixstreams==3.28.1", "fastavro>=1.13")


class BuildError(RuntimeError):
    """A peer that could not be made; the text ends with what the tool said."""


def _run(what: str, *command: str) -> None:
    try:
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise BuildError(f"{what}: {command[0]} is not installed") from error
    if done.returncode:
        raise BuildError(f"{what}: {' '.join(command[:3])} ... ended with {done.returncode}: {done.stdout.decode()[-1000:]}")


def kafka_streams(cache: Path) -> list[str]:
    """Return the command that runs the Java peer; builds it by Maven when its sources are new."""
    source = PEERS / "kafka_streams"
    files = sorted(path for path in source.rglob("*") if path.suffix in (".java", ".xml") and "target" not in path.parts)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = cache / f"bench-kafka-streams-{digest}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns("target"))
        _run("the Kafka Streams peer", "mvn", "-B", "-ntp", "-q", "-f", str(partial / "pom.xml"), "package")
        partial.rename(folder)
    target = folder / "target"
    return ["java", *HEAP, "-cp", f"{target / 'peer.jar'}:{target / 'lib'}/*", "bench.Main"]


def quix_python(cache: Path) -> Path:
    """Return the interpreter of quixstreams' virtual environment; makes it when it is not there."""
    folder = cache / f"bench-quix-{hashlib.sha256(' '.join(QUIX).encode()).hexdigest()[:12]}"
    done = folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run("quixstreams", sys.executable, "-m", "venv", str(folder))
        _run("quixstreams", str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *QUIX)
        done.touch()
    return folder / "bin" / "python"
