"""The main process of a server: it starts the workers, replaces those that end or hang, and stops them all in the end.

Granian does the same with three differences, which are mended here: it ends the whole server when a worker dies twice within 5.5
seconds, it does not notice a worker that hangs, and it waits for one that is stopped for as long as for one that is busy. What this
relies on in Granian is pinned by a test (`tests/unit/server/test_supervisor.py`).
"""

from __future__ import annotations

import functools
import os
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any

from granian.server.mp import MPServer

from strongroom.server import METRICS_FOLDER
from strongroom.server.heartbeat import Heartbeat, open_heartbeats
from strongroom.server.log import open_log

TICK_SECONDS = 0.5
HUNG_SECONDS = 7.0
"""So long a worker may give no sign of life. With the time to start another one, it is replaced within ten seconds."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
WELL_SECONDS = 30.0
"""A worker that ran for so long was well: when it dies, the next one starts after the first pause again."""

MISCONFIGURED = 78
"""The exit status of a worker that no other start can help (EX_CONFIG of sysexits.h)."""

FAILED_STARTS = 3
"""The server ends when each worker has failed to start so often in a row, for a reason that does not pass."""


class Wake:
    """A `threading.Event` that a signal handler may set, also while the main thread is about to wait for it.

    An event's own lock is not reentrant: the handler would wait for the thread that it interrupts.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Ends a wait, the present one or the next."""
        self._calls.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Returns when it was set, and whether it was."""
        with suppress(queue.Empty):
            self._calls.get(timeout=timeout)
            return True
        return False

    def clear(self) -> None:
        """Forgets that it was set."""
        with suppress(queue.Empty):
            while True:
                self._calls.get_nowait()


@dataclass
class Place:
    """What the main process knows of the worker at a place, and of those before it. Times are of the monotonic clock."""

    heartbeat: Heartbeat
    begun: float = 0.0
    heard: int = 0
    silent: float = 0.0
    deaths: int = 0
    failed_starts: int = 0
    due: float | None = None
    """When the next worker starts here; None while there is one."""

    def begin(self, moment: float) -> None:
        """A worker starts here."""
        self.heartbeat.reset()
        self.begun, self.heard, self.silent, self.due = moment, 0, 0.0, None

    def listen(self, seconds: float) -> bool:
        """Whether the worker hangs; to be called again and again, with how long the main process has listened since the last time.

        That is less than what the clock says when the whole machine, or the main process, was stopped meanwhile: nobody could be
        heard then. On a machine that is overloaded the main process comes late, too, and so gives its workers more time.
        """
        count = self.heartbeat.count
        self.silent = 0.0 if count != self.heard else self.silent + seconds
        self.heard = count
        return self.silent >= HUNG_SECONDS

    def end(self, moment: float, status: int | None, *, has_served_before: bool) -> float:
        """The worker has ended with this status (negative for a signal). Gives how long to wait until the next one starts."""
        cannot_start = not self.heartbeat.has_served and (
            status == MISCONFIGURED or (status is not None and status > 0 and not has_served_before)
        )
        self.failed_starts = self.failed_starts + 1 if cannot_start else 0
        self.deaths = 1 if moment - self.begun >= WELL_SECONDS else self.deaths + 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self.deaths - 1, 20))
        self.due = moment + pause
        return pause


class Supervisor(MPServer):
    """Granian's server of worker processes, with a main loop of our own."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wrks: list[Any] = []
        self._places = [Place(heartbeat) for heartbeat in open_heartbeats(self.workers)]
        self._has_served = False
        self.main_loop_interrupt: Any = Wake()
        self.gave_up = False
        """Whether it ended because no worker could start."""

    def _spawn_worker(  # type: ignore[override] # Granian itself overrides it so
        self, idx: int, target: Any, callback_loader: Callable[..., Any]
    ) -> Any:
        """Makes the worker of a place; its loader is given the heartbeat."""
        place = self._places[idx]
        place.begin(time.monotonic())
        return super()._spawn_worker(idx, target, functools.partial(callback_loader, place.heartbeat))

    def _serve_loop(self, spawn_target: Any, target_loader: Any) -> None:
        """Looks after the workers until the server is told to end, or none of them can start."""
        self._log = open_log()
        looked = time.monotonic()
        while True:
            due = min((place.due for place in self._places if place.due is not None), default=looked + TICK_SECONDS)
            self.main_loop_interrupt.wait(min(max(0.0, due - time.monotonic()), TICK_SECONDS))
            self.main_loop_interrupt.clear()
            if self.interrupt_signal:
                return
            if self.reload_signal:
                self._reload(spawn_target, target_loader)  # type: ignore[no-untyped-call]
                looked = time.monotonic()
            passed, looked = time.monotonic() - looked, time.monotonic()
            self._end_hung(min(passed, TICK_SECONDS))
            self._note_ended(looked)
            if all(place.failed_starts >= FAILED_STARTS for place in self._places):
                self._log.error("no worker can start", hint="what each of them has written above says why")
                self.gave_up = True
                return
            self._start_due(looked, spawn_target, target_loader)

    def _end_hung(self, seconds: float) -> None:
        """Ends the workers that give no sign of life; nobody else could, for they take no other signal."""
        for worker, place in zip(self.wrks, self._places, strict=True):
            self._has_served = self._has_served or place.heartbeat.has_served
            if place.due is None and place.listen(seconds) and worker.is_alive():
                self._log.error("a worker hangs, and is ended", worker=worker.idx + 1, pid=worker.inner.pid)
                place.silent = 0.0
                worker.inner.kill()

    def _note_ended(self, moment: float) -> None:
        ended = set(self.interrupt_children)
        del self.interrupt_children[:]
        for index in sorted(ended):
            worker, place = self.wrks[index], self._places[index]
            if place.due is not None or worker.is_alive():  # of a worker that was replaced already
                continue
            status = worker.inner.exitcode
            pause = place.end(moment, status, has_served_before=self._has_served)
            self._log.error("a worker ended", worker=index + 1, pid=worker.inner.pid, status=status, restarts_in=pause)
            forget_measurements(worker.inner.pid)

    def _start_due(self, moment: float, spawn_target: Any, target_loader: Any) -> None:
        for index, place in enumerate(self._places):
            if place.due is None or place.due > moment:
                continue
            worker = self._spawn_worker(idx=index, target=spawn_target, callback_loader=target_loader)
            try:
                worker.start()
            except OSError as error:  # the system has no room for another process now
                pause = place.end(moment, None, has_served_before=True)
                self._log.error("a worker cannot be started", worker=index + 1, reason=error.strerror, restarts_in=pause)
            else:
                self.wrks[index] = worker

    def _stop_workers(self) -> None:
        """Tells all workers to end, and waits; one that hangs, or takes too long, is killed."""
        for worker in self.wrks:
            worker.terminate()
        begun = looked = time.monotonic()
        while running := {worker.idx: worker for worker in self.wrks if worker.is_alive()}:
            wait_for_any([worker.inner.sentinel for worker in running.values()], TICK_SECONDS)
            passed, looked = min(time.monotonic() - looked, TICK_SECONDS), time.monotonic()
            overdue = looked - begun > (self.workers_kill_timeout or float("inf"))
            for index, worker in running.items():
                if self._places[index].listen(passed) or overdue:
                    worker.kill()
        for worker in self.wrks:
            worker.join()
        self.wrks.clear()


def forget_measurements(pid: int | None) -> None:
    """Removes what only a worker that lives may tell, as prometheus_client does for one that is marked as dead.

    Its function for that cannot be used here: importing it decides how this process and its forks measure.
    """
    for file in Path(os.environ[METRICS_FOLDER]).glob(f"gauge_live*_{pid}.db") if METRICS_FOLDER in os.environ else ():
        file.unlink(missing_ok=True)
