"""What all tests may ask for."""

from hypothesis import settings

pytest_plugins = ["tests.support.stack"]

# A test that is slow because the machine is busy has found nothing.
settings.register_profile("holdfast", deadline=None)
settings.load_profile("holdfast")
