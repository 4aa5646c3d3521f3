"""What happens to the gateway while clients post orders to it and repeat what they heard nothing of."""

from __future__ import annotations

import signal
from typing import Final

from tests.faults.fault import Fault
from tests.faults.kinds.processes import signal_one, stop_one

STOPPED_S: Final = 7.0
"""Past the lease of its claims (5 s): what it has in hand when it wakes may have been sent again meanwhile."""

FAULTS = (
    Fault("gateway killed", "kill -9 of a gateway with orders in hand; the supervisor starts it again", signal_one("gateway", signal.SIGKILL)),
    Fault("gateway told to end", "SIGTERM to a gateway: it answers what it has in hand", signal_one("gateway", signal.SIGTERM)),
    Fault("gateway stopped", "SIGSTOP of a gateway past the lease of its claims, then SIGCONT", stop_one("gateway"), STOPPED_S),
)
