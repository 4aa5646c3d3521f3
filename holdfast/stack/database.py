"""What MariaDB and MySQL of a home have in common: where its files are, how its user gets in, how its data folder is made."""

from __future__ import annotations

import getpass
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from holdfast.stack.addresses import MysqlAddress
from holdfast.stack.errors import StackError
from holdfast.stack.files import last_lines, write_atomically
from holdfast.stack.home import Home

USER: Final = "holdfast"
DATABASE: Final = "holdfast"
SETTINGS: Final = """\
bind-address = 127.0.0.1
skip-name-resolve
character-set-server = utf8mb4
local-infile = 1
max-connections = 100
max-allowed-packet = 64M
# A commit that was answered is on the disk: the sinks move their position by it.
innodb-flush-log-at-trx-commit = 1
innodb-buffer-pool-size = 256M
innodb-read-io-threads = 2
innodb-write-io-threads = 2
skip-log-bin
performance-schema = OFF
default-time-zone = +00:00
"""


@dataclass(frozen=True)
class DatabaseFiles:
    """A database server of a home: its folder holds the configuration, what it runs at each start, and `files`, its data."""

    home: Home
    ports: dict[str, int]
    name: ClassVar[str]
    """Of the folder, the port and the logs."""

    def endpoint(self) -> str:
        """The URL of the `holdfast` database, with its password."""
        return MysqlAddress("127.0.0.1", self.ports[self.name], USER, self.password(), DATABASE).url()

    @property
    def folder(self) -> Path:
        return self.home.data(self.name)

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def temporary(self) -> Path:
        # Not the machine's: a server that starts deletes every `#sql...` there, those of a running one too.
        return self.folder / "tmp"

    @property
    def configuration(self) -> Path:
        return self.folder / "server.cnf"

    @property
    def accounts(self) -> Path:
        return self.folder / "accounts.sql"

    def password(self) -> str:
        """The user's password, drawn once."""
        file = self.home.password_file
        if not file.exists():
            write_atomically(file, secrets.token_urlsafe(24).encode())
        return file.read_text()

    def write(self, section: str, own: Mapping[str, object], accounts_sql: str) -> None:
        """Write the configuration, `own` options behind those of both servers, and what runs at each start."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.temporary.mkdir(mode=0o700, exist_ok=True)
        # The socket is named relative to the data folder: a socket's full path may have 107 characters at most.
        here = {"datadir": self.files, "tmpdir": self.temporary, "port": self.ports[self.name], "socket": "server.sock", "user": getpass.getuser()}
        lines = "".join(f"{name} = {value}\n" for name, value in {**own, **here}.items())
        write_atomically(self.configuration, f"[{section}]\n{SETTINGS}{lines}".encode())
        write_atomically(self.accounts, accounts_sql.encode())

    def install(self, command: Sequence[str], *options: str) -> None:
        """Make the data folder once, by a command that takes --datadir; half a one is never taken for it. Raises StackError."""
        if self.files.exists():
            return
        log, partial = self.home.log(f"{self.name}-install"), self.files.with_name("files.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with log.open("w") as output:
            done = subprocess.run([*command, f"--datadir={partial}", *options], check=False, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise StackError(f"the data folder of {self.name} could not be made ({log}):\n{last_lines(log)}")
        partial.rename(self.files)
