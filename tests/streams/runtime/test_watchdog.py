"""What the watchdog calls stuck."""

import pytest

from streams.runtime.watchdog import Sign, verdict

BUSY = Sign("stock.3", opening=False, has_lag=True, idle=31.0)
FINE = Sign("stock.1", opening=False, has_lag=True, idle=29.0)


def _verdict(*signs: Sign, loop_idle: float = 0.0) -> str | None:
    return verdict(signs, loop_idle, stall_seconds=30.0, open_seconds=300.0)


@pytest.mark.parametrize(
    "sign",
    [
        FINE,
        BUSY._replace(has_lag=False, idle=10_000.0),
        BUSY._replace(opening=True, idle=299.0),
        BUSY._replace(idle=30.0),
    ],
    ids=["getting on", "nothing to do", "opening", "at the bound"],
)
def test_this_is_not_stuck(sign: Sign) -> None:
    assert _verdict(sign) is None


@pytest.mark.parametrize("sign", [BUSY, BUSY._replace(opening=True, idle=301.0)], ids=["batch", "opening"])
def test_no_progress_while_there_is_lag_is_stuck(sign: Sign) -> None:
    stuck = _verdict(FINE, sign)
    assert stuck is not None
    assert "stock.3" in stuck
    assert f"{sign.idle:.0f} s" in stuck


def test_a_loop_that_does_not_turn_is_stuck_whatever_the_tasks_say() -> None:
    stuck = _verdict(loop_idle=30.5)
    assert stuck is not None
    assert "event loop" in stuck


def test_a_worker_without_tasks_is_fine() -> None:
    assert _verdict(loop_idle=29.0) is None
