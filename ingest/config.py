"""Where the brokers and the database are, from the environment or from whoever starts us."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import pymysql

from ingest.errors import ConfigError, StoreError
from schemas.secure import mysql_settings

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,64}")
_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class IngestConfig:
    """`kafka` as host:port (several by commas); `mysql` as mysql://user:password@host:port/database."""

    kafka: str
    mysql: str = field(repr=False)
    topic_prefix: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> IngestConfig:
        """Read HOLDFAST_KAFKA, HOLDFAST_MYSQL and HOLDFAST_TOPIC_PREFIX; raises ConfigError."""
        return cls(_needed(environ, "HOLDFAST_KAFKA"), _needed(environ, "HOLDFAST_MYSQL"), topic_prefix(environ))


def topic_prefix(environ: Mapping[str, str] = os.environ) -> str:
    """Return HOLDFAST_TOPIC_PREFIX, empty by default; raises ConfigError for one that no topic name may hold."""
    prefix = environ.get("HOLDFAST_TOPIC_PREFIX", "")
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(f"HOLDFAST_TOPIC_PREFIX is {prefix!r}: use up to 64 letters, digits, dots, dashes and underscores")
    return prefix


def connect(mysql_url: str, timeout_s: float | None = None) -> pymysql.connections.Connection[pymysql.cursors.Cursor]:
    """Open a connection to the database of the URL, without autocommit; raises ConfigError or StoreError.

    An UPDATE's row count is of rows found, changed or not. `timeout_s`: for connecting, and for each answer.
    """
    parts = urlsplit(mysql_url)
    database = unquote(parts.path.strip("/"))
    if parts.scheme != "mysql" or not parts.hostname or not parts.username or not database:
        raise ConfigError("HOLDFAST_MYSQL must look like mysql://user:password@host:port/database")
    try:
        return pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=unquote(parts.username),
            password=unquote(parts.password or ""),
            database=database,
            charset="utf8mb4",
            connect_timeout=timeout_s or _CONNECT_TIMEOUT_S,
            read_timeout=timeout_s,
            write_timeout=timeout_s,
            client_flag=pymysql.constants.CLIENT.FOUND_ROWS,
            **mysql_settings(),
        )
    except pymysql.MySQLError as error:
        raise StoreError(f"MySQL at {parts.hostname}:{parts.port or 3306} does not let us in: {reason(error)}") from error


def reason(error: pymysql.MySQLError) -> str:
    """Return what the database said, without the statement or its values."""
    return str(error.args[1]) if len(error.args) > 1 else str(error) or type(error).__name__


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigError(f"{name} is not set: start the stack with `holdfast up` or name a server there")
    return value
