"""Settings of a worker, read from the environment (`HOLDFAST_*`)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.topics import DEFAULT_PARTITIONS


class StreamSettings(BaseSettings):
    """What a worker needs to know. Every field is the environment variable HOLDFAST_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", extra="ignore")

    kafka: str = Field(default="127.0.0.1:9092", description="bootstrap servers, host:port[,host:port]")
    topic_prefix: str = Field(default="", description="goes before every topic name, group and transactional ID")
    partitions: int = Field(default=DEFAULT_PARTITIONS, ge=1, description="partition count of the stage topics")
    order_timeout: float = Field(default=900.0, gt=0, description="seconds until an undecided order expires")
    sandbox_decline_rate: float = Field(default=0.0, ge=0, le=1, description="share of orders the sandbox provider declines")
    session_timeout: float = Field(default=6.0, ge=6.0, description="seconds until a silent worker loses its partitions")
    transaction_timeout: float = Field(default=10.0, gt=0, description="seconds until the broker aborts a dead worker's transaction")
    batch_seconds: float = Field(default=0.3, gt=0, description="how long deciding one batch should take at most")
    max_batch_bytes: int = Field(default=4_194_304, ge=16_384, description="bytes per batch at most")
    stall_seconds: float = Field(default=30.0, gt=0, description="no progress for so long while there is lag: the worker ends")
    open_seconds: float = Field(default=300.0, gt=0, description="a task that takes longer to open ends the worker")
    run_dir: Path | None = Field(default=None, description="where to say which partitions this process holds")

    @property
    def app_id(self) -> str:
        """Consumer group and first part of every transactional ID."""
        return f"{self.topic_prefix}holdfast"

    @property
    def order_timeout_ms(self) -> int:
        return int(self.order_timeout * 1000)


@lru_cache(maxsize=1)
def settings() -> StreamSettings:
    """Return the settings of this process, read once."""
    return StreamSettings()
