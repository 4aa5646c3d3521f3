"""Times as people write and read them: ISO 8601, UTC where they do not say."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from schemas.outcomes import MAX_TIME


class Time(click.ParamType):
    """A moment: 2026-11-24T09:30 (UTC unless it says otherwise), 2026-11-24, or ms since 1970-01-01 UTC; as ms."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return ms since 1970-01-01 UTC."""
        try:
            at = parse(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: write 2026-11-24T09:30, 2026-11-24T10:30+01:00, 2026-11-24, or ms since 1970", param, ctx)
        if not 0 <= at <= MAX_TIME:
            self.fail(f"{value!r} is not between 1970 and 2100", param, ctx)
        return at


def parse(text: str) -> int:
    """Return a time as ms since 1970-01-01 UTC; raises ValueError."""
    if text.isascii() and text.isdecimal() and len(text) > len("20261124"):
        return int(text)
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def shown(at: int) -> str:
    """Return a time in ms as ISO 8601 UTC; the bare number where no calendar has it."""
    try:
        return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(at)
