"""Packages of the npm registry for tests that need another language's own clients; kept in the project's cache."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.stack.home import Home


def npm(package_json: Path) -> Path:
    """Return a folder with what a package.json asks for, installed once; skips the test where that cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    wanted = json.loads(package_json.read_text())
    folder = Home.from_environment().cache / "npm" / wanted["name"]
    if not _has(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(package_json, folder)
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install {', '.join(wanted['dependencies'])}: {done.stderr[-300:]}")
    return folder


def _has(folder: Path, wanted: dict[str, dict[str, str]]) -> bool:
    manifests = {name: folder / "node_modules" / name / "package.json" for name in wanted["dependencies"]}
    return all(path.exists() and json.loads(path.read_text())["version"] == wanted["dependencies"][name] for name, path in manifests.items())
