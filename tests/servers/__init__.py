"""Real servers for tests. Each class starts one process when it is made and ends it in `stop()`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

PATIENCE_SECONDS = 180
"""How long a server may take to start before it is tried again: a busy machine takes its time."""

_ATTEMPTS = 3


class DidNotStartError(Exception):
    """A server of the tests did not start. The message ends with the server's own log.

    The first test that asks for the server fails with it; the other tests that do are skipped (see `tests/conftest.py`).
    """

    reported = False


class DatabaseServer(Protocol):
    """A database server."""

    def create(self, name: str, template: str | None = None) -> None:
        """A new database, as a copy of the template if one is given."""

    def drop(self, name: str) -> None:
        """Drops a database."""

    def url(self, name: str) -> str:
        """The SQLAlchemy URL of a database."""

    def stop(self) -> None:
        """Ends the server."""


class FragileServer(DatabaseServer, Protocol):
    """A database server that can fail."""

    def start(self) -> None:
        """Starts the server, on the data that are there; returns when it answers."""

    def kill(self) -> None:
        """SIGKILL for all its processes."""

    @property
    def socket(self) -> Path:
        """The Unix socket at which it listens."""

    def url_at(self, port: int, name: str) -> str:
        """The SQLAlchemy URL of a database behind a port of 127.0.0.1."""

    def open_transactions(self, name: str) -> int:
        """How many sessions have one open, and do nothing."""

    def paused(self) -> AbstractContextManager[None]:
        """Meanwhile all its processes are stopped: connections stay open, and nothing answers."""


def begin(start: Callable[[], None], log: Path) -> None:
    """Calls `start` until it does not raise `DidNotStartError`; the third one is raised, with the end of the log."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            start()
        except DidNotStartError as error:
            if attempt == _ATTEMPTS:
                written = log.read_text(errors="replace")[-3000:] if log.exists() else ""
                raise DidNotStartError(f"{error}; its log ends with:\n{written}") from None
        else:
            return


def wait_for(process: subprocess.Popen[bytes], name: str, is_ready: Callable[[], bool]) -> None:
    """Returns when the server is ready. `DidNotStartError` when it has ended, or is killed since it takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_ready():
        try:
            raise DidNotStartError(f"{name} has ended with {process.wait(0.02)}")
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        process.kill()
        process.wait()
        raise DidNotStartError(f"{name} does not answer within {PATIENCE_SECONDS} s")


def children_of(pid: int) -> list[int]:
    """The processes that this one has started and that have not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(folder.name))
    return found


def is_running(pid: int) -> bool:
    """Whether the process is there and has not ended."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
