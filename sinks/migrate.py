"""Brings the tables to the newest revision; `holdfast migrate` calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from schemas.secure import mysql_settings
from sinks.config import MysqlAddress
from sinks.errors import SinkError

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = "holdfast.migrate"
LOCK_WAIT_S = 60


@dataclass(frozen=True)
class Migration:
    """What a run did: the revision found (None: an empty database), the one left, and those carried out between them."""

    before: str | None
    after: str
    applied: tuple[str, ...]


def migrate(mysql_url: str) -> Migration:
    """Bring the database of the URL to the newest revision; changes nothing where it is there already.

    Several programs may call it at once: one works, the others wait for it. Raises SinkError.
    """
    address = MysqlAddress(mysql_url)
    engine = sqlalchemy.create_engine(_sqlalchemy_url(address), connect_args={"connect_timeout": 10, **mysql_settings()}, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection, _alone(connection):
            return _upgrade(connection)
    except DBAPIError as error:
        # The driver's own words: SQLAlchemy's would add the whole statement.
        raise SinkError(f"the tables of {address} could not be brought up to date: {error.orig}") from error
    finally:
        engine.dispose()


def newest_revision() -> str:
    """Return the revision that this program works with."""
    head = _scripts().get_current_head()
    assert head is not None
    return head


def _upgrade(connection: Connection) -> Migration:
    before = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in _scripts().walk_revisions()}
    if before is not None and before not in known:
        raise SinkError(f"the tables are at revision {before}, newer than this program knows ({newest_revision()}): update the program")
    applied = tuple(reversed([s.revision for s in _scripts().iterate_revisions(newest_revision(), before)]))
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    connection.commit()
    return Migration(before, newest_revision(), applied)


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the server's named lock: two migrations at once would race for the same tables."""
    if connection.execute(text("SELECT GET_LOCK(:name, :seconds)"), {"name": LOCK, "seconds": LOCK_WAIT_S}).scalar() != 1:
        raise SinkError(f"another migration has been running for {LOCK_WAIT_S} s: wait for it, or end it, then run `holdfast migrate` again")
    try:
        yield
    finally:
        connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": LOCK})


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _sqlalchemy_url(at: MysqlAddress) -> URL:
    return URL.create("mysql+pymysql", at.user, at.password, at.host, at.port, at.database, {"charset": "utf8mb4"})
