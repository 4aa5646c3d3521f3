"""A shop that the scenarios begin in."""

import pytest

from tests.flow.shop import A, B, C
from tests.support.flow import Flow


@pytest.fixture(params=range(3))
def flow(request: pytest.FixtureRequest) -> Flow:
    """A shop with 10 units of A and B and 1 of C; three interleavings of each scenario."""
    flow = Flow(seed=request.param)
    for product_id, units in ((A, 10), (B, 10), (C, 1)):
        flow.stock("RESTOCK", product_id, units)
    flow.run()
    return flow
