"""Settings of the gateway, from the environment (HOLDFAST_*)."""

from __future__ import annotations

from pathlib import Path

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
    gateway_access_log: str = Field(default="stderr", description="`stderr`, `off`, or a file to append to")

    @property
    def address(self) -> str:
        """Where clients reach us, as a URL."""
        return f"http://{f'[{self.gateway_host}]' if ':' in self.gateway_host else self.gateway_host}:{self.gateway_port}"


def gateway_settings(**known: str) -> GatewaySettings:
    """Return the settings: `known` values first, the environment for the rest; raises ConfigError naming each wrong one."""
    try:
        return GatewaySettings(**known)  # type: ignore[arg-type]
    except ValidationError as error:
        # Without the values: one of them may be a URL with a password.
        faults = "; ".join(f"HOLDFAST_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigError(f"cannot start with these settings: {faults}") from None
