"""A shelf that fails as back ends do, call by call, as the schedule says."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from strongroom.errors import StoreForbidden, StrongroomError, Unavailable
from strongroom.secrets_stores.base import SecretsStore
from strongroom.secrets_stores.breaker import FAILURES, Breaker
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.memory import Shelf
from tests.faults.schedules.scheduler import Scheduler

_T = TypeVar("_T")
LATEST_SECONDS = 30.0
"""How long after a call's end what it asked for may still be done: less than the collector's margin."""


class Mode(enum.Enum):
    """How a shelf answers."""

    UP = "as it should"
    DOWN = "does nothing, and says so"
    HUNG = "does not answer; what it was asked for is perhaps done later"
    FLAKY = "sometimes so, sometimes so"
    LOCKED = "refuses everything"
    DEAF = "does what it is asked, and its answers are lost"


class UnsteadyShelf(Shelf):
    """`mode` says how it is."""

    def __init__(self, name: str, scheduler: Scheduler) -> None:
        super().__init__(name)
        self.mode, self._scheduler = Mode.UP, scheduler
        self._late: list[tuple[float, Callable[[], object]]] = []

    def ask(self, seconds: float, effect: Callable[[dict[str, Any]], _T]) -> _T:
        """See `Shelf.ask`."""
        scheduler = self._scheduler
        deadline = scheduler.monotonic() + seconds
        scheduler.pause()
        mode = self.mode
        if mode is Mode.FLAKY:
            mode = scheduler.rng.choice([Mode.UP, Mode.UP, Mode.DOWN, Mode.DEAF])
        while mode is Mode.HUNG and scheduler.monotonic() < deadline and scheduler.is_managed:
            scheduler.pause()
            mode = self.mode if self.mode is not Mode.FLAKY else Mode.UP
        if scheduler.monotonic() >= deadline and scheduler.is_managed:
            mode = Mode.HUNG
        if mode is Mode.HUNG:
            moment = deadline + scheduler.rng.uniform(0, LATEST_SECONDS)
            if scheduler.rng.random() < 0.5 and moment > scheduler.monotonic():
                self._late.append((moment, lambda: effect(self._items)))
            raise Unavailable("the shelf did not answer in time; what was asked may have been done")
        if mode is Mode.LOCKED:
            raise StoreForbidden("the shelf is locked")
        if mode is Mode.DOWN:
            raise Unavailable("the shelf is out of reach; nothing was done")
        done = effect(self._items)
        scheduler.pause()
        if mode is Mode.DEAF:
            raise Unavailable("the answer was lost; what was asked may have been done")
        return done

    def catch_up(self) -> None:
        """Does what it was asked for long ago, as far as the time has come."""
        due = [call for moment, call in self._late if moment <= self._scheduler.monotonic()]
        self._late = [each for each in self._late if each[0] > self._scheduler.monotonic()]
        for call in due:
            with suppress(StrongroomError):
                call()


class SteppedBreaker(Breaker):
    """By the schedule's clock, with probes in the caller's thread."""

    _next_probe = 0.0

    def doubt(self) -> None:
        """See `Breaker.doubt`."""
        self._is_in_doubt = True

    def admit(self, *, spare: bool = False, write: bool = False) -> bool:
        """See `Breaker.admit`."""
        if self.is_in_doubt and self._clock() >= self._next_probe:
            self._next_probe = self._clock() + 1
            assert self._probe is not None
            if self._probe(0.5):
                self.answered()
            else:
                self._failures = FAILURES
        return super().admit(spare=spare, write=write)


class SteppedStore(GuardedStore):
    """Guarded as in production, by the schedule's clock, and with no thread of its own."""

    def __init__(self, store: SecretsStore, scheduler: Scheduler) -> None:
        super().__init__(store, scheduler.sleep, SteppedBreaker(self._probe, scheduler.monotonic))
