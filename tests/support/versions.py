"""Earlier versions of the program, out of the history of the project."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def git(*words: str) -> str:
    """What git says; nothing where there is no history to tell of."""
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout.strip()


def tree_of(commit: str, folder: Path) -> Path:
    """The files of a version, taken out of the history once, in a folder below this one."""
    tree = folder / f"version-{commit[:8]}"
    if not tree.exists():
        archive, partial = tree.with_suffix(".tar"), tree.with_suffix(".partial")
        git("archive", "-o", str(archive), commit)
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        partial.rename(tree)
    return tree


def first_with(path: str) -> str | None:
    """The version that brought a file; None where the history does not reach back."""
    commits = git("log", "--diff-filter=A", "--format=%H", "--", path).split()
    return commits[-1] if commits else None


def before_the_last_change_of(path: str) -> str | None:
    """The last version in which a file was another than today; None where the history does not reach back."""
    commits = git("log", "--format=%H", "-n", "2", "--", path).split()
    return git("rev-parse", "--verify", "-q", f"{commits[0]}~1") or None if len(commits) > 1 else None
