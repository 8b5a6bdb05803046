"""Copying SQLite's write-ahead log into the database file, in a thread of its own.

SQLite does it within the commit that makes the log a thousand pages long: that one waits for several syncs of the disk, and all
writers behind it. Here commits only add to the log. See https://sqlite.org/wal.html, "Performance Considerations".
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from strongroom.db.turn import WaitedTooLong, WriteTurn

LOG_BYTES = 16 * 2**20
"""How long the log gets before it is copied."""

BACKSTOP_PAGES = 65_536
"""When commits copy it all the same, because the thread does not get to it."""

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 1
_BUSY_MILLISECONDS = 250


class Checkpoints:
    """The thread. Several processes may have one for the same file."""

    def __init__(self, log: Path, connect: Callable[[], Connection], turn: WriteTurn) -> None:
        self._log, self._connect, self._turn = log, connect, turn
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection: Connection | None = None
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                if self._log.stat().st_size > LOG_BYTES:
                    connection = connection or self._open()
                    self._checkpoint(connection)
            except (OSError, DBAPIError, WaitedTooLong):
                continue  # nothing is lost: the log goes on growing, and commits copy it in the end
        if connection is not None:
            connection.close()

    def _open(self) -> Connection:
        connection = self._connect()
        # Writers wait while the last of it waits for readers; those are done in no time, or this can be done another time.
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        connection.detach()
        return connection

    def _checkpoint(self, connection: Connection) -> None:
        # First without keeping anybody from writing, then the little that came meanwhile, so that the log begins anew.
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").all()
        with self._turn.taken(_PATIENCE_SECONDS):
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
