"""Ending the process on purpose.

`os._exit`, because everything gentler commits: Faust's own shutdown commits offsets on its way out, and a bug must
stop the worker *before* its batch commits. Whoever supervises the process starts it again.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final, NoReturn

import structlog

BUG: Final = 70
STALLED: Final = 71
MOVED: Final = 75
MISCONFIGURED: Final = 78

log = structlog.get_logger("holdfast.runtime")


def end_process(code: int, why: str, error: BaseException | None = None) -> NoReturn:
    """Say why, with the traceback of `error`, and end the process at once with exit status `code`."""
    log.critical("worker ends", why=why, exit_status=code, error=repr(error) if error else None)
    if error is not None:
        traceback.print_exception(error, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
