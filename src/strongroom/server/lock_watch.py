"""Ends database sessions of processes that stopped while they held locks that others wait for."""

from __future__ import annotations

import threading
from typing import Any

from strongroom.db.engine import Database
from strongroom.db.patience import hurry_this_thread
from strongroom.db.stalled import can_end_stalled, end_stalled
from strongroom.errors import StrongroomError

INTERVAL_SECONDS = 1.0


class LockWatch:
    """A thread that looks once a second, where the database does not end such sessions by itself."""

    def __init__(self, database: Database, log: Any) -> None:
        self._database, self._log, self._ended = database, log, threading.Event()
        self._thread = threading.Thread(target=self._run, name="locks", daemon=True)
        if can_end_stalled(database.dialect):
            self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        hurry_this_thread(INTERVAL_SECONDS)
        while not self._ended.wait(INTERVAL_SECONDS):
            try:
                with self._database.read() as connection:
                    ended = end_stalled(connection)
            except StrongroomError:  # requests are told of a database that does not answer
                continue
            if ended:
                self._log.warning("ended database sessions that held locks and did nothing", sessions=ended)
