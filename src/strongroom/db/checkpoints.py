"""Copying SQLite's write-ahead log into the database file, in a thread of its own.

SQLite does it within the commit that makes the log a thousand pages long: that one waits for several syncs of the disk, and all
writers behind it. Here commits only add to the log. See https://sqlite.org/wal.html, "Performance Considerations".
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

from sqlalchemy import Connection

from strongroom.db.turn import WaitedTooLong, WriteTurn
from strongroom.errors import Unavailable

LONG_PAGES = 2_048
"""From this length on, writers have to wait a moment so that the log can begin anew; else it does when nobody happens to write."""

BACKSTOP_PAGES = 65_536
"""When commits copy the log all the same, because the thread does not get to it."""

_PAUSE_SECONDS = 1
_PATIENCE_SECONDS = 1
_BUSY_MILLISECONDS = 250


class Checkpoints:
    """The thread. Several processes may have one for the same file."""

    def __init__(self, read: Callable[[], AbstractContextManager[Connection]], turn: WriteTurn, usual_seconds: int) -> None:
        """`usual_seconds` is how long the connections of this process wait for others."""
        self._read, self._turn, self._usual_milliseconds = read, turn, usual_seconds * 1000
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE_SECONDS):
            # When it cannot be done, nothing is lost: the log goes on growing, and commits copy it in the end.
            with suppress(Unavailable, WaitedTooLong):
                self._checkpoint()

    def _checkpoint(self) -> None:
        """Copies first without keeping anybody from writing, then the little that came meanwhile, so that the log begins anew.

        The file keeps its length: to write over it takes the disk less than to make it longer.
        """
        with self._read() as connection:
            pages = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()[1]
        if pages >= LONG_PAGES:
            with self._turn.taken(_PATIENCE_SECONDS), self._read() as connection:
                # Writers wait while the last of it waits for readers; those are done in no time, or this can be done another time.
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
                try:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)").all()
                finally:
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {self._usual_milliseconds}")
