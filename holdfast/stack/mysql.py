"""MySQL in a data folder of its own, from Debian's packages: Debian's stable releases have only MariaDB."""

import getpass
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from holdfast.stack import debian
from holdfast.stack.endpoints import MysqlAddress
from holdfast.stack.errors import StackError
from holdfast.stack.files import last_lines, write_atomically
from holdfast.stack.home import Home
from holdfast.stack.mariadb import DATABASE, USER

SUITE, PACKAGE = "sid", "mysql-server-core"

SETTINGS = """\
[mysqld]
bind-address = 127.0.0.1
mysqlx = OFF
skip-name-resolve
character-set-server = utf8mb4
local-infile = 1
# No file of the server's machine is read or written by a statement.
secure-file-priv = NULL
max-connections = 100
max-allowed-packet = 64M
# A commit that was answered is on the disk: the sinks move their position by it.
innodb-flush-log-at-trx-commit = 1
innodb-buffer-pool-size = 256M
innodb-redo-log-capacity = 256M
innodb-read-io-threads = 2
innodb-write-io-threads = 2
skip-log-bin
performance-schema = OFF
default-time-zone = +00:00
"""


@dataclass(frozen=True)
class Mysql:
    """The MySQL server of a home. `ports` needs `mysql`."""

    home: Home
    ports: dict[str, int]

    def endpoint(self) -> str:
        """The URL of the `holdfast` database, with its password."""
        return MysqlAddress("127.0.0.1", self.ports["mysql"], USER, self._password(), DATABASE).url()

    def prepare(self) -> None:
        """Fetch the packages, write the configuration, make the data folder once. Raises MissingProgramError where they cannot be had."""
        debian.unpacked(self.home, SUITE, PACKAGE)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._temporary.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._configuration, self._options().encode())
        write_atomically(self._accounts, accounts_sql(self._password()).encode())
        if not self._files.exists():
            self._install()

    def command(self) -> list[str]:
        """The server's command line."""
        return [*self._server(), f"--init-file={self._accounts}"]

    @property
    def _folder(self) -> Path:
        return self.home.data("mysql")

    @property
    def _files(self) -> Path:
        return self._folder / "files"

    @property
    def _temporary(self) -> Path:
        # Not the machine's: a server that starts deletes every `#sql...` there, those of a running one too.
        return self._folder / "tmp"

    @property
    def _configuration(self) -> Path:
        return self._folder / "server.cnf"

    @property
    def _accounts(self) -> Path:
        return self._folder / "accounts.sql"

    def _server(self) -> list[str]:
        root = debian.unpacked(self.home, SUITE, PACKAGE)
        return [*debian.command(root, "usr/sbin/mysqld"), f"--defaults-file={self._configuration}"]

    def _password(self) -> str:
        file = self.home.password_file
        if not file.exists():
            write_atomically(file, secrets.token_urlsafe(24).encode())
        return file.read_text()

    def _options(self) -> str:
        usr = debian.unpacked(self.home, SUITE, PACKAGE) / "usr"
        places = {"basedir": usr, "lc-messages-dir": usr / "share/mysql", "character-sets-dir": usr / "share/mysql/charsets"}
        # The socket is named relative to the data folder: a socket's full path may have 107 characters at most.
        data = {"datadir": self._files, "tmpdir": self._temporary, "plugin-dir": usr / "lib/mysql/plugin"}
        own = {**data, "port": self.ports["mysql"], "socket": "server.sock"}
        return SETTINGS + "".join(f"{name} = {value}\n" for name, value in {**places, **own, "user": getpass.getuser()}.items())

    def _install(self) -> None:
        log, partial = self.home.log("mysql-install"), self._files.with_name("files.partial")
        shutil.rmtree(partial, ignore_errors=True)
        # Without a password, and for the server's socket alone, in a folder that only its owner may enter.
        command = [*self._server(), f"--datadir={partial}", "--initialize-insecure"]
        with log.open("w") as output:
            done = subprocess.run(command, check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise StackError(f"MySQL's data folder could not be made ({log}):\n{last_lines(log)}")
        partial.rename(self._files)


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
