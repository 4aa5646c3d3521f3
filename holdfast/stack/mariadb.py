"""MariaDB in a data folder of its own."""

import getpass
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from holdfast.stack import packages
from holdfast.stack.endpoints import MysqlAddress
from holdfast.stack.errors import StackError
from holdfast.stack.files import last_lines, write_atomically
from holdfast.stack.home import Home

USER = DATABASE = "holdfast"

SETTINGS = """\
[mariadbd]
bind-address = 127.0.0.1
skip-name-resolve
character-set-server = utf8mb4
local-infile = 1
max-connections = 100
max-allowed-packet = 64M
# A commit that was answered is on the disk: the sinks move their position by it.
innodb-flush-log-at-trx-commit = 1
innodb-buffer-pool-size = 256M
innodb-log-file-size = 256M
innodb-flush-method = O_DIRECT
innodb-read-io-threads = 2
innodb-write-io-threads = 2
skip-log-bin
performance-schema = OFF
default-time-zone = +00:00
"""


@dataclass(frozen=True)
class Mariadb:
    """The database server of a home. `ports` needs `mariadb`."""

    home: Home
    ports: dict[str, int]

    def endpoint(self) -> str:
        """The URL of the `holdfast` database, with its password."""
        return MysqlAddress("127.0.0.1", self.ports["mariadb"], USER, self._password(), DATABASE).url()

    def prepare(self) -> None:
        """Write the configuration, make the data folder once."""
        packages.require("mariadbd")
        folder = self.home.data("mariadb")
        folder.mkdir(mode=0o700, exist_ok=True)
        self._temporary.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._configuration, self._options().encode())
        write_atomically(self._accounts, accounts_sql(self._password()).encode())
        if not self._files.exists():
            self._install()

    def command(self) -> list[str]:
        """The server's command line."""
        return [packages.require("mariadbd"), f"--defaults-file={self._configuration}", f"--init-file={self._accounts}"]

    @property
    def _files(self) -> Path:
        return self.home.data("mariadb") / "files"

    @property
    def _temporary(self) -> Path:
        # Not the machine's: a server that starts deletes every `#sql-temptable` there, those of a running one too.
        return self.home.data("mariadb") / "tmp"

    @property
    def _configuration(self) -> Path:
        return self.home.data("mariadb") / "server.cnf"

    @property
    def _accounts(self) -> Path:
        return self.home.data("mariadb") / "accounts.sql"

    def _password(self) -> str:
        file = self.home.password_file
        if not file.exists():
            write_atomically(file, secrets.token_urlsafe(24).encode())
        return file.read_text()

    def _options(self) -> str:
        # The socket is named relative to the data folder: a socket's full path may have 107 characters at most.
        own = {"datadir": self._files, "port": self.ports["mariadb"], "socket": "server.sock", "user": getpass.getuser(), "tmpdir": self._temporary}
        return SETTINGS + "".join(f"{name} = {value}\n" for name, value in own.items())

    def _install(self) -> None:
        log, partial = self.home.log("mariadb-install"), self._files.with_name("files.partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = [packages.require("mariadb-install-db"), "--no-defaults", f"--datadir={partial}", f"--tmpdir={self._temporary}"]
        options = ["--auth-root-authentication-method=socket", "--skip-test-db", f"--user={getpass.getuser()}"]
        with log.open("w") as output:
            done = subprocess.run([*command, *options], check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise StackError(f"MariaDB's data folder could not be made ({log}):\n{last_lines(log)}")
        partial.rename(self._files)


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
