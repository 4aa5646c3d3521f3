"""Settings of the webhooks, from the environment (names in docs/gateway.md)."""

from __future__ import annotations

from pydantic import Field, ValidationError

from sinks.config import Settings
from sinks.errors import SinkError


class WebhookSettings(Settings):
    """A sink's settings, and HOLDFAST_WEBHOOKS_..."""

    webhooks_allow_private: bool = Field(default=False, description="whether addresses that are not public (loopback, private, link-local) may be told")
    webhooks_timeout: float = Field(default=10.0, gt=0, le=120, description="seconds an endpoint may take to answer")
    webhooks_tries: int = Field(default=16, ge=1, le=100, description="after so many a notice is dead")
    webhooks_first_delay: float = Field(default=5.0, gt=0, le=3_600, description="seconds until the second try; each later one waits twice as long")
    webhooks_longest_delay: float = Field(default=21_600.0, gt=0, le=604_800, description="seconds between two tries at most")
    webhooks_at_once: int = Field(default=8, ge=1, le=100, description="notices of one endpoint that are under way at a time")

    @property
    def group_of_webhooks(self) -> str:
        """Return the consumer group, prefix included."""
        return f"{self.topic_prefix}holdfast.webhooks"


def webhook_settings(**known: str) -> WebhookSettings:
    """Return the settings: `known` values first, the environment for the rest; raises SinkError naming each wrong one."""
    try:
        return WebhookSettings(**known)  # type: ignore[arg-type]
    except ValidationError as error:
        # Without the values: one of them may be a URL with a password.
        faults = "; ".join(f"HOLDFAST_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise SinkError(f"cannot start with these settings: {faults}") from None
