"""MySQL in a data folder of its own, from Debian's packages: Debian's stable releases have only MariaDB."""

from dataclasses import dataclass
from typing import ClassVar

from holdfast.stack import debian
from holdfast.stack.database import DATABASE, USER, DatabaseFiles

SUITE, PACKAGE = "sid", "mysql-server-core"
SETTINGS = {
    "mysqlx": "OFF",
    # No file of the server's machine is read or written by a statement.
    "secure-file-priv": "NULL",
    "innodb-redo-log-capacity": "256M",
}


@dataclass(frozen=True)
class Mysql(DatabaseFiles):
    """The MySQL server of a home. `ports` needs `mysql`."""

    name: ClassVar[str] = "mysql"

    def prepare(self) -> None:
        """Fetch the packages, write the configuration, make the data folder once. Raises MissingProgramError where they cannot be had."""
        usr = debian.unpacked(self.home, SUITE, PACKAGE) / "usr"
        places = {"basedir": usr, "lc-messages-dir": usr / "share/mysql", "character-sets-dir": usr / "share/mysql/charsets"}
        self.write("mysqld", {**SETTINGS, **places, "plugin-dir": usr / "lib/mysql/plugin"}, accounts_sql(self.password()))
        # Without a password, and for the server's socket alone, in a folder that only its owner may enter.
        self.install(self._server(), "--initialize-insecure")

    def command(self) -> list[str]:
        """The server's command line."""
        return [*self._server(), f"--init-file={self.accounts}"]

    def _server(self) -> list[str]:
        root = debian.unpacked(self.home, SUITE, PACKAGE)
        return [*debian.command(root, "usr/sbin/mysqld"), f"--defaults-file={self.configuration}"]


def accounts_sql(password: str) -> str:
    """What the server runs at each start: our database and user, with rights on every `holdfast...` database; root by its socket alone."""
    account = f"'{USER}'@'127.0.0.1'"
    return "\n".join(
        [
            f"CREATE DATABASE IF NOT EXISTS `{DATABASE}` CHARACTER SET utf8mb4;",
            f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{password}';",
            f"ALTER USER {account} IDENTIFIED BY '{password}';",
            f"GRANT ALL PRIVILEGES ON `{DATABASE}%`.* TO {account};",
            "",
        ]
    )
