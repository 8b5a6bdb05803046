"""A real MariaDB server, where the distribution's package is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pymysql

from tests.servers import PATIENCE_SECONDS, DidNotStartError, begin, wait_for

_ROOT = "--auth-root-authentication-method=normal"


def find_mariadbd() -> str | None:
    """The server's program; not every user's PATH has the folder where Debian puts it."""
    return shutil.which("mariadbd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


class MariaDBServer:
    """One server in a folder of its own under /tmp, reachable through a Unix socket there."""

    def __init__(self, *, durable: bool = False) -> None:
        """A `durable` one keeps what it acknowledged when it is killed, though not when the machine is."""
        program = find_mariadbd()
        assert program is not None
        self._folder = Path(tempfile.mkdtemp(prefix="strongroom-mariadb-", dir="/tmp"))
        self.socket = self._folder / "socket"
        self._copies: dict[str, list[str]] = {}
        user = []
        if os.geteuid() == 0:
            shutil.chown(self._folder, "mysql")
            user = ["--user=mysql"]
        data, place_for_tables = f"--datadir={self._folder / 'data'}", f"--tmpdir={self._folder}"  # of its own: names there collide
        self._install = ["mariadb-install-db", "--no-defaults", *user, data, place_for_tables, _ROOT, "--skip-test-db"]
        begin(self._initialise, self._folder / "log")
        quick = [
            f"--innodb-flush-log-at-trx-commit={2 if durable else 0}",
            "--innodb-doublewrite=0",
            "--innodb-buffer-pool-size=64M",
            "--skip-log-bin",
        ]
        place = [data, place_for_tables, f"--socket={self.socket}", f"--pid-file={self._folder / 'pid'}", "--skip-networking"]
        self._command = [program, "--no-defaults", *user, *place, *quick, "--max-connections=300"]
        self.start()

    def _initialise(self) -> None:
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        if self._run(self._install).wait(PATIENCE_SECONDS):
            raise DidNotStartError("mariadb-install-db fails")

    def start(self) -> None:
        """Starts the server, on the data that are there; returns when it answers."""
        begin(self._start, self._folder / "log")

    def _start(self) -> None:
        self.socket.unlink(missing_ok=True)  # of one that was killed
        self._process = self._run(self._command)
        wait_for(self._process, "MariaDB", self._is_ready)

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        self._admin.close()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile it is stopped: connections stay open, and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def create(self, name: str, template: str | None = None) -> None:
        """A new database, as a copy of the template if one is given."""
        statements = [f"CREATE DATABASE {name} CHARACTER SET utf8mb4", f"USE {name}", "SET foreign_key_checks = 0"]
        if template:
            statements += self._copy(template)
        self._execute(*statements, "SET foreign_key_checks = 1", "USE mysql")

    def drop(self, name: str) -> None:
        """Drops the database."""
        self._execute(f"DROP DATABASE {name}")

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"mariadb://root@localhost/{name}?unix_socket={self.socket}&charset=utf8mb4"

    def url_at(self, port: int, name: str) -> str:
        """The SQLAlchemy URL of a database behind a port of 127.0.0.1."""
        return f"mariadb://root@127.0.0.1:{port}/{name}?charset=utf8mb4"

    def open_transactions(self, name: str) -> int:
        """How many sessions have one open, and do nothing; of all databases."""
        idle = "SELECT 1 FROM information_schema.innodb_trx WHERE trx_query IS NULL"
        return len(self._execute(idle))

    def stop(self) -> None:
        """Ends the server and removes its folder."""
        self._admin.close()
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self._folder)

    def _is_ready(self) -> bool:
        if not self.socket.exists():
            return False
        try:
            self._admin = pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        except pymysql.OperationalError:
            return False
        return True

    def _copy(self, template: str) -> list[str]:
        """The statements that make the template's tables and rows again."""
        if template not in self._copies:
            tables = [name for (name,) in self._execute(f"SHOW TABLES IN {template}")]
            self._copies[template] = [self._execute(f"SHOW CREATE TABLE {template}.{table}")[0][1] for table in tables]
            self._copies[template] += [f"INSERT INTO {table} SELECT * FROM {template}.{table}" for table in tables]
        return self._copies[template]

    def _execute(self, *statements: str) -> list[tuple[str, ...]]:
        with self._admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())
