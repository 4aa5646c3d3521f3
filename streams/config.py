"""Settings of a worker, read from the environment (`HOLDFAST_*`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import structlog
from pydantic import Field, PrivateAttr, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

import generations
from generations import History
from schemas.topics import DEFAULT_PARTITIONS, PIPELINE_GROUP

log = structlog.get_logger("holdfast.runtime")


class StreamSettings(BaseSettings):
    """What a worker needs to know. Every field is the environment variable HOLDFAST_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", extra="ignore")

    kafka: str = Field(default="127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    topic_prefix: str = Field(default="", description="goes before every topic name, group and transactional ID")
    partitions: int = Field(default=DEFAULT_PARTITIONS, ge=1, description="partition count of the stage topics, until `holdfast repartition` changes it")
    order_timeout: float = Field(default=900.0, gt=0, description="seconds until an undecided order expires")
    order_retention: float = Field(default=0.0, ge=0, description="seconds for which the row of a finished order is kept; 0: for ever")
    payment_provider: Literal["sandbox", "http"] = Field(
        default="sandbox", description="who moves the money: nobody, or whoever is behind HOLDFAST_PAYMENT_URL"
    )
    payment_url: str = Field(default="", description="the http provider's base URL")
    payment_key: SecretStr = Field(default=SecretStr(""), description="the http provider's bearer token")
    payment_timeout: float = Field(default=3.0, gt=0, description="seconds the http provider has for an answer before it is asked again")
    payment_concurrency: int = Field(default=32, ge=1, le=1_000, description="requests a worker has with the http provider at a time")
    sandbox_decline_rate: float = Field(default=0.0, ge=0, le=1, description="share of orders the sandbox provider declines")
    sandbox_slow: float = Field(default=5.0, ge=0, description="seconds the sandbox provider takes for tok_slow")
    sandbox_silent: float | None = Field(default=None, ge=0, description="seconds it takes for tok_silent; by default 5 more than an order has")
    session_timeout: float = Field(default=6.0, ge=6.0, description="seconds until a silent worker loses its partitions")
    transaction_timeout: float = Field(default=10.0, gt=0, description="seconds until the broker aborts a dead worker's transaction")
    batch_seconds: float = Field(default=0.15, gt=0, description="how long deciding one batch should take at most; its transaction takes about twice as long")
    max_batch_bytes: int = Field(
        default=1_048_576, ge=16_384, description="bytes per batch at most, for transactions under 300 ms; four times as much where one task alone is busy"
    )
    stall_seconds: float = Field(default=30.0, gt=0, description="no progress for so long while there is lag: the worker ends")
    loop_seconds: float = Field(default=6.0, gt=0, description="an event loop that does not turn for so long ends the worker")
    open_seconds: float = Field(default=300.0, gt=0, description="a task that takes longer to open ends the worker")
    run_dir: Path | None = Field(default=None, description="where to say which partitions this process holds")

    _generation: int = PrivateAttr(default=1)
    _root_prefix: str | None = PrivateAttr(default=None)

    @property
    def generation(self) -> int:
        """Of the topics: the one that `topic_prefix` and `partitions` are of."""
        return self._generation

    @property
    def root_prefix(self) -> str:
        """HOLDFAST_TOPIC_PREFIX as it is set, whatever the generation."""
        return self.topic_prefix if self._root_prefix is None else self._root_prefix

    def at(self, history: History) -> StreamSettings:
        """Return the settings for the generation in use."""
        changed: dict[str, object] = {"topic_prefix": history.prefix}
        if history.partitions is not None:
            changed["partitions"] = history.partitions
        found = self.model_copy(update=changed)
        found._generation, found._root_prefix = history.number, history.root
        return found

    @property
    def app_id(self) -> str:
        """Consumer group and first part of every transactional ID."""
        return self.topic_prefix + PIPELINE_GROUP

    @property
    def order_timeout_ms(self) -> int:
        return int(self.order_timeout * 1000)

    @model_validator(mode="after")
    def _check_retention(self) -> StreamSettings:
        if 0 < self.order_retention < 2 * self.order_timeout:
            raise ValueError("HOLDFAST_ORDER_RETENTION must be at least twice HOLDFAST_ORDER_TIMEOUT, or 0: lines of an order still under way would be too old")
        return self

    @property
    def order_retention_ms(self) -> int:
        return int(self.order_retention * 1000)

    @property
    def sandbox_silent_ms(self) -> int:
        return int((self.order_timeout + 5.0 if self.sandbox_silent is None else self.sandbox_silent) * 1000)


@lru_cache(maxsize=1)
def settings() -> StreamSettings:
    """Return the settings of this process, read once."""
    return StreamSettings()


def at_generation(configured: StreamSettings) -> StreamSettings:
    """Return the settings for the generation in use; waits for the brokers, and for a generation that is being filled."""

    def waiting(why: str) -> None:
        log.warning("not now, waiting", why=why)

    return configured.at(generations.begun(configured.kafka, configured.root_prefix, waiting))
