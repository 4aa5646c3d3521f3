"""Named places in the code where a test makes the process die, stop or fail. Imports nothing else of Holdfast.

HOLDFAST_FAILPOINTS arms them; unset, a place costs one comparison. It is a list of `name[=action][@nth]`, separated by
commas, spaces or lines, or `@FILE`, a file with such a list (`#` begins a comment). The actions, at the nth time (first: 1)
that this process reaches the place:

    kill[:SECONDS]  SIGKILL itself, after it held everything for so long (its network threads go on)
    stop:SECONDS    hold everything for so long, then go on
    raise           raise FailpointError

An entry fires once in a process. One in a file is struck out there, durably, before it fires: a process that somebody
starts again after it died does not die of the same entry. `python -m failpoints` lists the names.
"""

from failpoints.names import NAMES
from failpoints.parsing import FailpointsError
from failpoints.points import FailpointError, arm, arm_from_environment, disarm, meanwhile, reach

__all__ = ["NAMES", "FailpointError", "FailpointsError", "arm", "arm_from_environment", "disarm", "meanwhile", "reach"]
