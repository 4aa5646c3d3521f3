"""MariaDB in a data folder of its own."""

import getpass
from dataclasses import dataclass
from typing import ClassVar

from holdfast.stack import packages
from holdfast.stack.database import DATABASE, USER, DatabaseFiles

SETTINGS = {"innodb-log-file-size": "256M", "innodb-flush-method": "O_DIRECT"}


@dataclass(frozen=True)
class Mariadb(DatabaseFiles):
    """The database server of a home. `ports` needs `mariadb`."""

    name: ClassVar[str] = "mariadb"

    def prepare(self) -> None:
        """Write the configuration, make the data folder once."""
        packages.require("mariadbd")
        self.write("mariadbd", SETTINGS, accounts_sql(self.password()))
        options = ["--auth-root-authentication-method=socket", "--skip-test-db", f"--user={getpass.getuser()}"]
        self.install([packages.require("mariadb-install-db"), "--no-defaults", f"--tmpdir={self.temporary}"], *options)

    def command(self) -> list[str]:
        """The server's command line."""
        return [packages.require("mariadbd"), f"--defaults-file={self.configuration}", f"--init-file={self.accounts}"]


def accounts_sql(password: str) -> str:
    """What the server runs at each start: our database and user, with rights on every `holdfast...` database.

    One statement a line, as init-file wants it; it may run any number of times. What is there already is not written
    again: on a full disk the server would wait a minute and more for room, and not start meanwhile.
    """
    account = f"'{USER}'@'127.0.0.1'"
    mine = f"user = '{USER}' AND host = '127.0.0.1'"
    may_enter = f"FROM mysql.global_priv WHERE {mine} AND JSON_VALUE(priv, '$.authentication_string') = PASSWORD('{password}')"
    may_work = f"FROM mysql.db WHERE {mine} AND db = '{DATABASE}%'"
    return "\n".join(
        [
            f"CREATE DATABASE IF NOT EXISTS `{DATABASE}` CHARACTER SET utf8mb4;",
            _unless(may_enter, f"CREATE OR REPLACE USER {account} IDENTIFIED BY '{password}'"),
            _unless(may_work, f"GRANT ALL PRIVILEGES ON `{DATABASE}%`.* TO {account}"),
            "",
        ]
    )


def _unless(source: str, statement: str) -> str:
    # Closed at once, as a crash would leave the tables to be mended at the next start, which writes.
    then = f"{statement}; FLUSH TABLES mysql.global_priv, mysql.db"
    return f"BEGIN NOT ATOMIC IF NOT EXISTS (SELECT 1 {source}) THEN {then}; END IF; END;"
