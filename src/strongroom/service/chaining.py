"""Moves events from the outbox of the audit trail to its chain, on database servers, and notes the chain's head outside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from strongroom.errors import StrongroomError
from strongroom.service.audit_log import AuditLog

GATHERING_SECONDS = 0.25
"""How long events wait for others that are moved together with them."""

INTERVAL_SECONDS = 2.0
"""How often the outbox is looked at for events of processes that ended."""


ANCHORING_SECONDS = 0.5
"""How often the head of the chain is noted outside the database, and compared with what was noted."""


class Chaining:
    """A thread of a process that serves. One in each process is enough; each event is moved once."""

    def __init__(self, log: AuditLog) -> None:
        self._log, self._ended = log, threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, tell: Callable[[StrongroomError], object]) -> None:
        """Starts the thread. It calls `tell` when events cannot be moved; that is tried again."""

        def run() -> None:
            checked = time.monotonic()
            while not self._ended.is_set():
                self._log.unchained.wait(ANCHORING_SECONDS)
                self._ended.wait(GATHERING_SECONDS)
                self._log.unchained.clear()
                try:
                    self._log.settle()
                    if time.monotonic() - checked >= INTERVAL_SECONDS:
                        self._log.check_outbox()
                        checked = time.monotonic()
                    self._log.keep_head()
                except StrongroomError as error:
                    self._log.unchained.set()
                    tell(error)
                    self._ended.wait(INTERVAL_SECONDS)

        self._thread = threading.Thread(target=run, name="chaining", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Moves what is left and ends the thread. Without a database, the events stay in the outbox."""
        self._ended.set()
        self._log.unchained.set()
        if self._thread is not None:
            self._thread.join()
