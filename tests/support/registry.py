"""A real schema registry for the run, started when a test first asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.stack.apicurio import Apicurio, check_registry
from holdfast.stack.errors import MissingProgramError
from holdfast.stack.ports import free_port
from tests.support.servers import OwnServer, home_in


@pytest.fixture(scope="module")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty registry of the module's own; skips where there is none to be had."""
    folder = tmp_path_factory.mktemp("registry")
    ports = {"registry": free_port(), "registry-management": free_port()}
    try:
        server = OwnServer(Apicurio(home_in(folder), ports), check_registry, folder / "registry.log")
    except MissingProgramError as error:
        pytest.skip(f"no schema registry here: {error}")
    try:
        server.start()
        yield server.url
    finally:
        server.kill()
