"""A headless browser, driven from Node: the one that is here, or Debian's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from holdfast.stack import packages
from holdfast.stack.errors import MissingProgramError
from tests.support.node import npm

FOLDER = Path(__file__).parents[1] / "consumers" / "browser"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium(log: Path) -> str:
    """Return the browser's path; installs Debian's where that can be done, else skips the test."""
    if not any(map(shutil.which, NAMES)) and packages.can_install():
        try:
            packages.install(["chromium", "fonts-dejavu-core"], log)
        except MissingProgramError as error:
            pytest.skip(str(error))
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip("there is no Chromium here, and none can be installed")


def drive(script: str, *words: str, log: Path) -> dict[str, Any]:
    """Run a script of tests/consumers/browser with the browser's path and `words`; return the JSON that it prints."""
    browser, folder = chromium(log), npm(FOLDER / "package.json")
    shutil.copy(FOLDER / script, folder)
    done = subprocess.run(["node", script, browser, *words], cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
