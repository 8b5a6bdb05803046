"""Real servers for tests. Each class starts one process when it is made and ends it in `stop()`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


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
