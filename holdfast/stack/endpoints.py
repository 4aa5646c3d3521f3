"""The three addresses that every command needs, from the environment or from the running stack."""

import os
from collections.abc import Mapping

from holdfast.stack.addresses import VARIABLES, Endpoints, given
from holdfast.stack.errors import NoStackError
from holdfast.stack.home import Home
from holdfast.stack.state import running_plan


def endpoints(home: Home | None = None, environ: Mapping[str, str] = os.environ) -> Endpoints:
    """The endpoints of the environment and, for those it does not name, of the running stack.

    Raises NoStackError when one is named by neither.
    """
    found = given(environ)
    if len(found) < len(VARIABLES):
        plan = running_plan(home or Home.from_environment(environ))
        if plan is None:
            missing = ", ".join(VARIABLES[name] for name in VARIABLES if name not in found)
            raise NoStackError(f"no stack is running: start it with `holdfast up` (or set {missing})")
        found = {name: getattr(plan.endpoints, name) for name in VARIABLES} | found
    return Endpoints(**found)
