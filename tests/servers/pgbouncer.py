"""A real PgBouncer in transaction mode, where the distribution's package is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.servers import PATIENCE_SECONDS, begin, wait_for
from tests.servers.strongroom import free_port

POOL_SIZE = 8
"""How many sessions of the server all clients of one database share."""

_UNPRIVILEGED = "nobody"  # it refuses to run as root


def find_pgbouncer() -> str | None:
    """The program; not every user's PATH has the folder where Debian puts it."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


class PgBouncer:
    """One pooler in a folder of its own under /tmp, at a port of 127.0.0.1."""

    def __init__(self, server: Path) -> None:
        """`server` is the folder of the PostgreSQL server's Unix socket."""
        program = find_pgbouncer()
        assert program is not None
        self._folder = Path(tempfile.mkdtemp(prefix="strongroom-pgbouncer-", dir="/tmp"))
        begin(lambda: self._configure(program, server), self._folder / "log")

    def _configure(self, program: str, server: Path) -> None:
        """Another program may take the port before PgBouncer does: each attempt has one of its own."""
        self.port = free_port()
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": "transaction",
            "default_pool_size": POOL_SIZE,
            "max_client_conn": 500,
            "server_login_retry": 1,
            "logfile": self._folder / "log",
            "pidfile": self._folder / "pid",
        }
        if os.geteuid() == 0:
            shutil.chown(self._folder, _UNPRIVILEGED)
            settings["user"] = _UNPRIVILEGED
        file = self._folder / "pgbouncer.ini"
        lines = [
            "[databases]",
            f"* = host={server} user=postgres",
            "[pgbouncer]",
            *(f"{name} = {each}" for name, each in settings.items()),
        ]
        file.write_text("\n".join([*lines, ""]))
        file.chmod(0o644)
        self._command = [program, "--quiet", str(file)]
        self.start()

    def start(self) -> None:
        """Starts it at its port; returns when it listens."""
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self._process, "PgBouncer", self._is_ready)

    def _is_ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL: clients and sessions of the server are cut off."""
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database behind it."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        """Ends it and removes its folder."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_SECONDS)
        shutil.rmtree(self._folder)
