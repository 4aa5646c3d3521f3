"""What all tests may ask for."""

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.stack"]

# A test that is slow because the machine is busy has found nothing.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a live test that failed once more: real servers on a busy machine now and then outlast a wait.

    The summary counts it as rerun and shows both tracebacks. Pure tests and those that look for broken promises (`faults`) have one go.
    """
    for item in items:
        if item.get_closest_marker("live") and not item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.flaky(reruns=1))
