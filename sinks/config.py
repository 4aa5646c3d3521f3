"""Settings of a sink, from the environment (names in docs/flow.md)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.shards import shard_urls
from sinks.errors import SinkError


class Settings(BaseSettings):
    """HOLDFAST_KAFKA, HOLDFAST_MYSQL, ... as fields; the two URLs may hold passwords and are never printed."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", env_ignore_empty=True, extra="ignore")

    kafka: str = Field(min_length=1, description="host:port[,host:port]")
    mysql: SecretStr = Field(default=SecretStr(""), description="mysql://user:password@host:port/database")
    mysql_shards: SecretStr = Field(default=SecretStr(""), description="mysql://...,mysql://...: the databases of the order lines, where that is not `mysql`")
    redis: SecretStr = Field(default=SecretStr(""), description="redis://host:port/0")
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    run_dir: Path | None = Field(default=None, description="where the process says which partitions it has")
    sink_batch_records: int = Field(default=20_000, ge=1, le=100_000, description="most records per batch")
    sink_batch_bytes: int = Field(default=1_048_576, ge=1, le=64 * 1_048_576, description="a batch of more than one record is not larger")
    sink_session_timeout_ms: int = Field(default=6_000, ge=1_000, le=300_000, description="silence after which a dead sink's partitions move")

    @property
    def shards(self) -> tuple[str, ...]:
        """The URLs of HOLDFAST_MYSQL_SHARDS; raises SinkError."""
        return shards_of(self.mysql_shards.get_secret_value())

    def group(self, sink: str, prefix: str | None = None) -> str:
        """Return the consumer group of the sink `mysql` or `redis`; `prefix`: of a generation of the topics."""
        return f"{self.topic_prefix if prefix is None else prefix}holdfast.sink.{sink}"


def settings(**known: str) -> Settings:
    """Return the settings: `known` values first, the environment for the rest; raises SinkError naming each wrong one."""
    try:
        return Settings(**known)  # type: ignore[arg-type]
    except ValidationError as error:
        # Without the values: one of them may be a URL with a password.
        faults = "; ".join(f"HOLDFAST_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise SinkError(f"cannot start with these settings: {faults}") from None


def shards_of(text: str) -> tuple[str, ...]:
    """Return the URLs in a text like HOLDFAST_MYSQL_SHARDS; raises SinkError without their passwords."""
    try:
        return shard_urls(text)
    except ValueError as error:
        raise SinkError(str(error)) from None


class MysqlAddress:
    """Where the database is and who we are there. The password is not part of its text."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        database = unquote(parts.path.strip("/"))
        if parts.scheme != "mysql" or not parts.hostname or not parts.username or not database:
            raise SinkError("HOLDFAST_MYSQL must look like mysql://user:password@host:port/database")
        self.host = parts.hostname
        self.port = parts.port or 3306
        self.user = unquote(parts.username)
        self.password = unquote(parts.password or "")
        self.database = database

    def __str__(self) -> str:
        return f"{self.database} at {self.host}:{self.port}"
