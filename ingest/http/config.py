"""Settings of the gateway, from the environment (HOLDFAST_*)."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingest.errors import ConfigError

MIB = 1024 * 1024
DEFAULT_PORT = 8080


class GatewaySettings(BaseSettings):
    """What a gateway needs to know. Every field is the environment variable HOLDFAST_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="HOLDFAST_", env_ignore_empty=True, extra="ignore")

    kafka: str = Field(min_length=1, description="host:port[,host:port]")
    mysql: SecretStr = Field(min_length=1, description="mysql://user:password@host:port/database")
    redis: SecretStr = Field(default=SecretStr(""), description="redis://host:port/0")
    mysql_shards: SecretStr = Field(default=SecretStr(""), description="mysql://...,mysql://...: the databases of the order lines, where that is not `mysql`")
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    run_dir: Path | None = Field(default=None, description="where the process says where it listens")
    gateway_host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    gateway_port: int = Field(default=DEFAULT_PORT, ge=1, le=65_535, description="port to listen on; gateways of one machine may share it")
    gateway_max_body: int = Field(default=MIB, ge=1_024, le=64 * MIB, description="bytes of a body, and of one line of a batch")
    gateway_header_timeout: float = Field(default=10.0, gt=0, le=600, description="seconds a client may take to send its headers")
    gateway_body_timeout: float = Field(default=10.0, gt=0, le=600, description="seconds a client may take to send its body, or the next part of a batch")
    gateway_ack_timeout: float = Field(default=10.0, ge=1, le=300, description="seconds the brokers may take to acknowledge")
    gateway_max_wait: float = Field(default=30.0, gt=0, le=600, description="most seconds that `Prefer: wait=N` waits")
    gateway_drain: float = Field(default=20.0, ge=0, le=600, description="seconds that requests in hand may take once asked to stop")
    gateway_queue_bytes: int = Field(default=32 * MIB, ge=MIB, le=1024 * MIB, description="bytes not yet acknowledged at which new orders are shed")
    gateway_key_cache: float = Field(default=10.0, gt=0, le=3_600, description="seconds within which a revoked API key is refused")
    gateway_key_grace: float = Field(default=300.0, ge=0, le=86_400, description="seconds more that a key seen here is good while MySQL does not answer")
    gateway_key_rate: float = Field(default=200_000.0, ge=0.001, le=1e9, description="requests, and orders of batches, per second of an API key")
    gateway_key_burst: int = Field(default=400_000, ge=1, le=10**9, description="most of them at once")
    gateway_user_rate: float = Field(default=50_000.0, ge=0.001, le=1e9, description="the same per user")
    gateway_user_burst: int = Field(default=100_000, ge=1, le=10**9, description="the same per user")
    gateway_throttle_timeout: float = Field(default=0.25, gt=0, le=30, description="seconds Redis may take to say what other gateways gave out")
    gateway_claim_lease: float = Field(default=5.0, ge=0.5, le=300, description="seconds after which an order of a gateway that died may be sent again")
    gateway_metrics: Literal["auto", "open", "key"] = Field(default="auto", description="/metrics: open, with an admin's key, or open on a loopback HOST only")
    gateway_read_wait: float = Field(default=1.0, ge=0, le=60, description="most seconds that a read waits for `min_version`")
    gateway_events_streams: int = Field(default=2_000, ge=1, le=100_000, description="streams of order events open at a time")
    gateway_events_heartbeat: float = Field(default=15.0, gt=0, le=600, description="seconds of silence after which a stream gives a sign of life")
    gateway_events_lifetime: float = Field(default=900.0, gt=0, le=86_400, description="seconds after which a stream ends; clients come back by themselves")
    gateway_events_history: int = Field(default=50_000, ge=1, le=10_000_000, description="records of a partition read for what a client missed")
    gateway_cache_timeout: float = Field(default=0.3, ge=0.01, le=30, description="seconds that Redis may take to answer a read")
    gateway_placed: float = Field(default=900.0, ge=0, le=86_400, description="seconds that an order which is not decided reads `accepted` at other gateways")
    gateway_access_log: str = Field(default="stderr", description="`stderr`, `off`, or a file to append to")

    @property
    def metrics_are_open(self) -> bool:
        """Whether /metrics needs no key."""
        return self.gateway_metrics == "open" or (self.gateway_metrics == "auto" and _is_loopback(self.gateway_host))

    @property
    def address(self) -> str:
        """Where clients reach us, as a URL."""
        return f"http://{f'[{self.gateway_host}]' if ':' in self.gateway_host else self.gateway_host}:{self.gateway_port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def gateway_settings(**known: str) -> GatewaySettings:
    """Return the settings: `known` values first, the environment for the rest; raises ConfigError naming each wrong one."""
    try:
        return GatewaySettings(**known)  # type: ignore[arg-type]
    except ValidationError as error:
        # Without the values: one of them may be a URL with a password.
        faults = "; ".join(f"HOLDFAST_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigError(f"cannot start with these settings: {faults}") from None
