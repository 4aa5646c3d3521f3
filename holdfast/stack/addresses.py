"""The three addresses that every command needs: their form, and those that the environment names."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit

from holdfast.stack.errors import StackError

MYSQL_FORM = "HOLDFAST_MYSQL must look like mysql://user:password@host:port/database"
FORMS = {
    "kafka": (re.compile(r"[^\s,:/]+:\d{1,5}(,[^\s,:/]+:\d{1,5})*"), "host:port, or several with commas between"),
    "redis": (re.compile(r"(rediss?|unix)://\S+"), "redis://host:port/0"),
}
VARIABLES = {"kafka": "HOLDFAST_KAFKA", "mysql": "HOLDFAST_MYSQL", "redis": "HOLDFAST_REDIS"}


@dataclass(frozen=True)
class MysqlAddress:
    """Where the database is and who we are there."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str

    @classmethod
    def parse(cls, url: str) -> "MysqlAddress":
        """From `mysql://user:password@host:port/database`; names and password may be percent-encoded."""
        parts, port = _split(url)
        database = unquote(parts.path.strip("/"))
        if parts.scheme != "mysql" or not parts.hostname or not parts.username or not database:
            raise StackError(MYSQL_FORM)
        password = unquote(parts.password or "")
        return cls(parts.hostname, port or 3306, unquote(parts.username), password, database)

    def url(self) -> str:
        """The address as one URL, with its password."""
        user, password = quote(self.user, safe=""), quote(self.password, safe="")
        return f"mysql://{user}:{password}@{self.host}:{self.port}/{quote(self.database, safe='')}"


def _split(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError as error:
        raise StackError(MYSQL_FORM) from error


@dataclass(frozen=True)
class Endpoints:
    """`kafka` as host:port (several by commas), `mysql` and `redis` as URLs; the URLs may hold passwords."""

    kafka: str
    mysql: str = field(repr=False)
    redis: str = field(repr=False)

    def variables(self) -> dict[str, str]:
        """The endpoints as the environment variables that pass them on."""
        return {variable: getattr(self, name) for name, variable in VARIABLES.items()}


def given(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The endpoints that the environment names, by name."""
    found = {name: environ.get(variable, "") for name, variable in VARIABLES.items()}
    given_ones = {name: value for name, value in found.items() if value}
    for name, value in given_ones.items():
        _check_form(name, value)
    return given_ones


def _check_form(name: str, value: str) -> None:
    if name == "mysql":
        MysqlAddress.parse(value)
    elif not FORMS[name][0].fullmatch(value):
        # Not the value itself: it may hold a password.
        raise StackError(f"{VARIABLES[name]} must look like {FORMS[name][1]}")
