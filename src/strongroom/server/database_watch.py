"""Watches a database server: follows its clock, and ends sessions of processes that stopped while they held locks."""

from __future__ import annotations

import threading
from typing import Any

from strongroom.db.clock import follow_clock
from strongroom.db.engine import Database
from strongroom.db.patience import hurry_this_thread
from strongroom.db.stalled import end_stalled
from strongroom.errors import StrongroomError

INTERVAL_SECONDS = 1.0


class DatabaseWatch:
    """A thread that looks at a database server once a second."""

    def __init__(self, database: Database, log: Any) -> None:
        self._database, self._log, self._ended = database, log, threading.Event()
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        if not database.has_one_writer:
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
                    follow_clock(connection)
                    ended = end_stalled(connection)
            except StrongroomError:  # requests are told of a database that does not answer
                continue
            if ended:
                self._log.warning("ended database sessions that held locks and did nothing", sessions=ended)
