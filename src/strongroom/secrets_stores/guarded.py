"""A store that is asked again when it does not answer, and left alone while it is down.

Retries and the circuit breaker live here and nowhere else: stores make one attempt per call. What is repeated is harmless by the
promises of `SecretsStore`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from strongroom import forking
from strongroom.connectors.deadline import Deadline
from strongroom.db.identifiers import new_id
from strongroom.errors import StrongroomError, Unavailable
from strongroom.secrets_stores.base import About, Capabilities, Found, Introspective, ListsDeployments, ReadsMany, SecretsStore

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.1
FAILURES = 5
"""After so many calls in a row without an answer, the store counts as down."""

REST_SECONDS = 5.0
"""How long a store that is down is left alone, before one call may try it; up to half as long again, so that not all come at once."""

SPARE_SECONDS = 2.0
"""How long a store may take while another one has the same values."""

_T = TypeVar("_T")


class Breaker:
    """Knows whether a back end is down. Thread-safe."""

    def __init__(self, rest_seconds: float = REST_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest_seconds, self._clock = rest_seconds, clock
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._failures, self._next_try = 0, 0.0
        self._listener: Callable[[bool], object] = lambda _: None

    def listen(self, listener: Callable[[bool], object]) -> None:
        """Has the listener told whether the back end is up: now, and each time that this changes."""
        self._listener = listener
        listener(self.is_closed)

    @property
    def is_closed(self) -> bool:
        """Whether calls may pass: as far as one knows, the back end is up."""
        return self._failures < FAILURES

    def admit(self) -> bool:
        """Whether this call may pass. While the back end is down, one may now and then."""
        if self._failures < FAILURES:
            return True
        with self._lock:
            if self._failures >= FAILURES and self._clock() < self._next_try:
                return False
            self._rest()
            return True

    def answered(self) -> None:
        """The back end gave an answer, be it a refusal."""
        if self._failures:
            was_closed, self._failures = self.is_closed, 0
            if not was_closed:
                self._listener(True)

    def silent(self) -> None:
        """It gave none."""
        with self._lock:
            self._failures += 1
            if self._failures == FAILURES:
                self._rest()
                self._listener(False)

    def _rest(self) -> None:
        self._next_try = self._clock() + self._rest_seconds * random.uniform(1, 1.5)  # noqa: S311 - nothing to guess here


class GuardedStore:
    """A `SecretsStore` around another one, with the same promises. Closes it."""

    def __init__(
        self, store: SecretsStore, sleep: Callable[[float], object] = time.sleep, rest_seconds: float = REST_SECONDS
    ) -> None:
        self.inner, self._sleep = store, sleep
        self.breaker = Breaker(rest_seconds)

    def __repr__(self) -> str:
        return repr(self.inner)

    @property
    def store_id(self) -> str:
        """The inner store's."""
        return self.inner.store_id

    @property
    def capabilities(self) -> Capabilities:
        """The inner store's."""
        return self.inner.capabilities

    @property
    def is_up(self) -> bool:
        """Whether it answers, as far as calls have shown. Nobody is asked."""
        return self.breaker.is_closed

    @property
    def reads_many(self) -> bool:
        """Whether `get_many` takes fewer calls than locators."""
        return isinstance(self.inner, ReadsMany)

    def new_locator(self, secret_id: str) -> str:
        """The inner store's."""
        return self.inner.new_locator(secret_id)

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float, spare: bool = False) -> None:
        """See `SecretsStore.put`. With `spare` another store takes the values too: then this one is not waited for long."""
        self._call(lambda left: self.inner.put(locator, values, about, seconds=left), seconds, spare=spare)

    def get(self, locator: str, *, seconds: float, spare: bool = False) -> dict[str, str]:
        """See `SecretsStore.get`. With `spare` another store has the values too: then this one is not waited for long."""
        return self._call(lambda left: self.inner.get(locator, seconds=left), seconds, spare=spare)

    def get_many(self, locators: Sequence[str], *, seconds: float) -> Mapping[str, dict[str, str] | StrongroomError]:
        """See `ReadsMany`, which the inner store has to be."""
        inner = self.inner
        assert isinstance(inner, ReadsMany)
        return self._call(lambda left: inner.get_many(locators, seconds=left), seconds)

    def delete(self, locator: str, *, seconds: float) -> None:
        """See `SecretsStore.delete`."""
        self._call(lambda left: self.inner.delete(locator, seconds=left), seconds)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """See `SecretsStore.scan`. Not repeated: whoever scans begins anew."""
        return self.inner.scan(seconds=seconds)

    def deployments(self, *, seconds: float) -> list[str] | None:
        """The ids of the deployments that have values there, if the store can tell."""
        inner = self.inner
        return self._call(lambda left: inner.deployments(seconds=left), seconds) if isinstance(inner, ListsDeployments) else None

    def identity(self, *, seconds: float) -> str | None:
        """Who the credential belongs to, if the store can tell."""
        inner = self.inner
        return self._call(lambda left: inner.identity(seconds=left), seconds) if isinstance(inner, Introspective) else None

    @property
    def policy(self) -> str | None:
        """What has to be allowed, if the store can tell."""
        return self.inner.policy if isinstance(self.inner, Introspective) else None

    def close(self) -> None:
        """Closes the inner store."""
        self.inner.close()

    def _call(self, call: Callable[[float], _T], seconds: float, *, spare: bool = False) -> _T:
        """Tries up to `ATTEMPTS` times within the time, with growing pauses of random length, or as long as the back end asks for.

        One that can be spared gets one attempt, and none while it is down: a thread finds out when it is back.
        """
        deadline = Deadline(min(seconds, SPARE_SECONDS) if spare else seconds)
        for attempt in range(1, ATTEMPTS + 1):
            if not self._admits(spare=spare):
                raise Unavailable(f"{self.store_id} has not answered for a while, and is left alone for some seconds")
            try:
                result = call(deadline.left())
            except Unavailable as error:
                self.breaker.silent()
                pause = FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.25, 1)  # noqa: S311 - nothing to guess here
                pause = max(pause, error.retry_after or 0)
                if spare or attempt == ATTEMPTS or pause >= deadline.remaining():
                    raise
                self._sleep(pause)
            except StrongroomError:
                self.breaker.answered()
                raise
            else:
                self.breaker.answered()
                return result
        raise AssertionError("the last attempt returns or raises")

    def _admits(self, *, spare: bool) -> bool:
        if not spare or self.breaker.is_closed:
            return self.breaker.admit()
        if self.breaker.admit():
            threading.Thread(target=self._probe, name="probe", daemon=True).start()
        return False

    def _probe(self) -> None:
        """Finds out whether the back end answers, by asking for what is not there."""
        try:
            self.inner.get(self.inner.new_locator(new_id()), seconds=SPARE_SECONDS)
        except Unavailable:
            self.breaker.silent()
        except StrongroomError:
            self.breaker.answered()
