"""Threads of which only one moves at a time, chosen by a seed, on a clock of their own: so a schedule can be played again.

A thread gives way before and after each transaction and each call of a store. A process that is killed never goes on from there: its
threads are unwound, but whatever they try on the way touches nothing any more.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

import time_machine
from sqlalchemy import Connection

from strongroom.db.engine import Database
from strongroom.db.unit import Unit

_STUCK_SECONDS = 60
_BEGINNING = 1_800_000_000.0


class Killed(BaseException):
    """This process is no more."""


class Process:
    """Something that can be killed, with all its threads at once."""

    def __init__(self, name: str) -> None:
        self.name, self.is_dead = name, False


class Task:
    """A thread of the schedule. `process` is where it is at work at the moment."""

    def __init__(self, scheduler: Scheduler, name: str, work: Callable[[Task], object]) -> None:
        self.name, self.process = name, None  # type: tuple[str, Process | None]
        self.is_done, self.crash = False, None  # type: tuple[bool, BaseException | None]
        self.go = threading.Semaphore(0)
        self._scheduler, self._work = scheduler, work
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        self.go.acquire()
        try:
            self._work(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - the schedule fails by it
            self.crash = error
        self.is_done = True
        self._scheduler.back.release()


class Scheduler:
    """Runs tasks. Made and used in one thread, within `at_work`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.back = threading.Semaphore(0)
        self._tasks: dict[int, Task] = {}
        self._elapsed = 0.0
        self._traveller: Any = None
        self._depth = threading.local()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Meanwhile the clocks are those of the schedule: they move when it says so."""
        with time_machine.travel(_BEGINNING, tick=False) as self._traveller, mock.patch.object(time, "monotonic", self.monotonic):
            yield

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self._elapsed

    def shift(self, seconds: float) -> None:
        """Lets time pass."""
        self._elapsed += seconds
        self._traveller.shift(seconds)

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`, while others go on."""
        end = self._elapsed + seconds
        while self._elapsed < end:
            if not self.is_managed:
                self.shift(seconds)
            self.pause()

    @property
    def is_managed(self) -> bool:
        """Whether this is a thread of a task."""
        return threading.get_ident() in self._tasks

    def begin(self, name: str, work: Callable[[Task], object]) -> Task:
        """A new task, which moves when it is chosen."""
        task = Task(self, name, work)
        task.thread.start()
        assert task.thread.ident is not None
        self._tasks[task.thread.ident] = task
        return task

    def pause(self) -> None:
        """Gives way to others. `Killed` when the process has been killed. Elsewhere than in a task it does nothing."""
        task = self._tasks.get(threading.get_ident())
        if task is None:
            return
        if task.process is None or not task.process.is_dead:
            self.back.release()
            task.go.acquire()
        if task.process is not None and task.process.is_dead:
            raise Killed

    def move(self, task: Task) -> None:
        """Lets a task go on until it gives way."""
        task.go.release()
        assert self.back.acquire(timeout=_STUCK_SECONDS), f"{task.name} waits for something that nobody gives"
        if task.is_done:
            del self._tasks[task.thread.ident or 0]
            task.thread.join()
            if task.crash is not None:
                raise task.crash

    def kill(self, process: Process) -> int:
        """SIGKILL. How many threads were at work there."""
        process.is_dead = True
        there = [task for task in self._tasks.values() if task.process is process]
        for task in there:
            self.move(task)
        return len(there)

    @property
    def tasks(self) -> list[Task]:
        """Those that are not done."""
        return list(self._tasks.values())

    @contextmanager
    def transaction(self, stays_open: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Around a transaction: others go on before and after it, and not within; nor while one `stays_open` that has locks."""
        depth = getattr(self._depth, "value", 0)
        if depth == 0 and not stays_open():
            self.pause()
        self._depth.value = depth + 1
        try:
            yield
        finally:
            self._depth.value = depth
        if depth == 0 and not stays_open():
            self.pause()


class SteppedDatabase(Database):
    """A database whose users give way to each other. An open one becomes it by `step_by_step`."""

    scheduler: Scheduler

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._step(), super().read() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        with self._step(), super().snapshot() as connection:
            yield connection

    @contextmanager
    def write(self, *, apart: bool = False) -> Iterator[Connection]:
        with self._step(), super().write(apart=apart) as connection:
            yield connection

    @contextmanager
    def unit(self) -> Iterator[Unit]:
        with super().unit() as unit:
            yield unit
        self.scheduler.pause()

    def _step(self) -> AbstractContextManager[None]:
        return self.scheduler.transaction(lambda: self._begun() is not None)


def step_by_step(database: Database, scheduler: Scheduler) -> None:
    """From now on its users give way to each other."""
    database.__class__ = SteppedDatabase
    database.scheduler = scheduler  # type: ignore[attr-defined]


class Inline(Executor):
    """Runs what it is given in the thread that gives it: at once, or when somebody asks for the result."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = _Late(lambda: function(*arguments, **named))
        if self._rng.random() < 0.5:
            future.result()
        return future

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([function(*each) for each in zip(*iterables, strict=False)])


class _Late(Future[Any]):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            self.set_result(self._call())
        return super().result()
