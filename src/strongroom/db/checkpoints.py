"""Copying SQLite's write-ahead log into the database file, in a thread of its own, and wiping what was deleted from the log.

SQLite does it within the commit that makes the log a thousand pages long: that one waits for several syncs of the disk, and all
writers behind it. Here commits only add to the log. See https://sqlite.org/wal.html, "Performance Considerations".

Rows that were deleted are overwritten in the database file when the log is copied (`secure_delete`), and stay in the log until it is
cut to nothing. See docs/decisions/0053.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from sqlalchemy import Connection

from strongroom.db.turn import WaitedTooLong, WriteTurn
from strongroom.errors import Unavailable

LONG_PAGES = 2_048
"""From this length on, writers have to wait a moment so that the log can begin anew; else it does when nobody happens to write."""

BACKSTOP_PAGES = 65_536
"""When commits copy the log all the same, because the thread does not get to it."""

WIPE_SECONDS = 60
"""The log of a process that serves is cut this often, whatever was written: other processes may have deleted something and ended."""

_PAUSE_SECONDS = 1
_PATIENCE_SECONDS = 1
_BUSY_MILLISECONDS = 250
_WIPES = "strongroom wipes"


def wipe_after_commit(connection: Connection, *, soon: bool = False) -> None:
    """Says that the transaction deletes something of which no byte may stay in the log. For other databases it does nothing.

    With `soon`, several transactions within a second may share one cut.
    """
    if connection.dialect.name == "sqlite":
        connection.info[_WIPES] = connection.info.get(_WIPES, "soon") if soon else "now"


def take_wiping(connection: Connection) -> str | None:
    """`now` or `soon` if that was said of the transaction that this connection has just committed. Forgets it."""
    said: str | None = connection.info.pop(_WIPES, None)
    return said


def wipe(connection: Connection, usual_seconds: int, *, patient: bool = True) -> bool:
    """Copies all of the log and cuts it to nothing. False if that cannot be done now; for readers it waits shortly if `patient`.

    The thread must hold the turn to write, and be in no transaction. `usual_seconds` is how long the connection waits for others.
    """
    return _checkpoint(connection, "TRUNCATE", usual_seconds, _BUSY_MILLISECONDS if patient else 0)


def _checkpoint(connection: Connection, mode: str, usual_seconds: int, busy_milliseconds: int = _BUSY_MILLISECONDS) -> bool:
    # SQLAlchemy gives a connection up in which a signal was handled; the change before this is made, and the connection is sound.
    raw: Any = connection.connection.dbapi_connection
    # Writers wait while the last of it waits for readers; those are done in no time, or this can be done another time.
    raw.execute(f"PRAGMA busy_timeout = {busy_milliseconds}")
    try:
        return bool(raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0)
    except sqlite3.Error:  # the disk is full, or another process locks the file: it is tried again later
        return False
    finally:
        raw.execute(f"PRAGMA busy_timeout = {usual_seconds * 1000}")


class Checkpoints:
    """The thread. Several processes may have one for the same file."""

    def __init__(
        self, path: str, read: Callable[[], AbstractContextManager[Connection]], turn: WriteTurn, usual_seconds: int
    ) -> None:
        """`usual_seconds` is how long the connections of this process wait for others."""
        self._log, self._read, self._turn, self._usual_seconds = f"{path}-wal", read, turn, usual_seconds
        self._wipe_due, self._wiped_at = False, float("-inf")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def wipe_soon(self) -> None:
        """Has the log cut at the next look, within about a second, and again at each look until no reader keeps it from that."""
        self._wipe_due = True

    def close(self) -> bool:
        """Ends the thread. Whether the log still has to be cut."""
        self._ended.set()
        self._thread.join()
        return self._wipe_due

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE_SECONDS):
            # When it cannot be done, nothing is lost: the log goes on growing, and commits copy it in the end.
            with suppress(Unavailable, WaitedTooLong):
                self._look()

    def _look(self) -> None:
        """Copies first without keeping anybody from writing, then the little that came meanwhile, so that the log begins anew.

        Unless it has to be wiped, the file keeps its length: to write over it takes the disk less than to make it longer.
        """
        with self._read() as connection:
            pages = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()[1]
        now = time.monotonic()
        due = self._wipe_due or (now - self._wiped_at >= WIPE_SECONDS and _is_there(self._log))
        if not due and pages < LONG_PAGES:
            return
        self._wipe_due = False  # from here on, a transaction that deletes something sets it again
        wiped = False
        try:
            with self._turn.taken(_PATIENCE_SECONDS), self._read() as connection:
                if due:
                    wiped = wipe(connection, self._usual_seconds)
                else:
                    _checkpoint(connection, "RESTART", self._usual_seconds)
        finally:
            if wiped:
                self._wiped_at = now
            elif due:
                self._wipe_due = True


def _is_there(log: str) -> bool:
    """Whether the log has any bytes. Does not open it."""
    try:
        return os.stat(log).st_size > 0  # noqa: PTH116 - by its path, like `sqlite_file.identity`
    except OSError:
        return False
