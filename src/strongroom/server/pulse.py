"""Whether the database answers.

Reads run on the event loop, which is cheapest as long as they take milliseconds. One that takes longer would hold up everybody, also
whoever asks whether this process is alive. So on the loop a statement is given up after `HASTE_SECONDS`. Then a thread tries the
database: if it answers, that read was a long one, and is made again in a thread; if it does not, requests are refused at once until
it does. Where all is well this costs a look at an attribute.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

from strongroom.db.engine import Unanswered
from strongroom.db.patience import hurry_this_thread
from strongroom.errors import StrongroomError, Unavailable
from strongroom.metadata.deployment import find_deployment
from strongroom.service.wiring import Service

HASTE_SECONDS = 1.0
PROBE_SECONDS = 2.0
_PAUSE_SECONDS = 0.25


class Pulse:
    """Watches the database once somebody got no answer. Thread-safe."""

    def __init__(self, service: Service, log: Any) -> None:
        self._database, self._log = service.deployment.database, log
        self._lock = threading.Lock()
        self._verdict: Future[bool] | None = None  # whether it answers, being found out; None while nobody doubts it
        self._closed = threading.Event()

    @property
    def doubted(self) -> bool:
        """Whether somebody got no answer, and none has come since."""
        return self._verdict is not None

    def lost(self) -> Future[bool]:
        """Somebody got no answer: has it tried. The result tells whether it answers after all."""
        with self._lock:
            if self._verdict is None:
                self._verdict = Future()
                threading.Thread(target=self._try, args=(self._verdict,), name="pulse", daemon=True).start()
            return self._verdict

    async def steady(self) -> None:
        """Returns when the database is known to answer; `Unanswered` as soon as it is known that it does not. For the event loop."""
        verdict = self._verdict
        if verdict is not None and not await asyncio.wrap_future(verdict):
            raise no_answer()

    def check(self) -> None:
        """`Unanswered` when the database is known not to answer. For threads."""
        verdict = self._verdict
        if verdict is not None and verdict.done() and not verdict.result():
            raise no_answer()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()

    def _try(self, verdict: Future[bool]) -> None:
        hurry_this_thread(PROBE_SECONDS)
        while not self._answers():
            if not verdict.done():
                self._log.error("the database does not answer")
                verdict.set_result(False)
            if self._closed.wait(_PAUSE_SECONDS):
                return
        if verdict.done():
            self._log.warning("the database answers again")
        self._verdict = None
        if not verdict.done():
            verdict.set_result(True)

    def _answers(self) -> bool:
        try:
            with self._database.read() as connection:
                find_deployment(connection)
        except Unavailable:
            return False
        except StrongroomError:  # an answer, if not a good one; whoever gets it on a request is told
            return True
        return True


def no_answer() -> Unanswered:
    """What is told while the database does not answer."""
    return Unanswered("the database does not answer", hint="try again later")
