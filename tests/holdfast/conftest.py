"""What the tests of the command line and the stack may ask for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.stack import lifecycle
from holdfast.stack.addresses import Endpoints
from holdfast.stack.home import Home


@pytest.fixture
def home(tmp_path: Path, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A stack's folder, over the servers of the test run; what was started in it ends with the test."""
    for variable, value in endpoints.variables().items():
        monkeypatch.setenv(variable, value)
    home = replace(Home.from_environment(), root=tmp_path / "home")
    yield home
    lifecycle.down(home)
