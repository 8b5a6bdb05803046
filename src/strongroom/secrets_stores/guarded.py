"""A store that is asked again when it does not answer, and left alone while it is down.

Retries and the circuit breaker live here and nowhere else: stores make one attempt per call. What is repeated is harmless by the
promises of `SecretsStore`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from strongroom.connectors.deadline import Deadline
from strongroom.db.identifiers import new_id
from strongroom.errors import StrongroomError, Unavailable
from strongroom.secrets_stores.base import (
    About,
    Capabilities,
    Found,
    Introspective,
    ListsDeployments,
    ReadsMany,
    SecretsStore,
    is_marker_at,
)
from strongroom.secrets_stores.breaker import Breaker

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.1

SPARE_SECONDS = 2.0
"""How long a store may take while another one has the same values."""

_T = TypeVar("_T")


class GuardedStore:
    """A `SecretsStore` around another one, with the same promises. Closes it."""

    def __init__(self, store: SecretsStore, sleep: Callable[[float], object] = time.sleep, breaker: Breaker | None = None) -> None:
        self.inner, self._sleep = store, sleep
        self.breaker = breaker or Breaker(self._probe)

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
        self._call(lambda left: self.inner.put(locator, values, about, seconds=left), seconds, spare=spare, write=True)

    def get(self, locator: str, *, seconds: float, spare: bool = False) -> dict[str, str]:
        """See `SecretsStore.get`. With `spare` another store has the values too: then this one is not waited for long."""
        return self._call(lambda left: self.inner.get(locator, seconds=left), seconds, spare=spare)

    def get_many(
        self, locators: Sequence[str], *, seconds: float, spare: bool = False
    ) -> Mapping[str, dict[str, str] | StrongroomError]:
        """See `ReadsMany`, which the inner store has to be. `spare` is as in `get`."""
        inner = self.inner
        assert isinstance(inner, ReadsMany)
        return self._call(lambda left: inner.get_many(locators, seconds=left), seconds, spare=spare)

    def delete(self, locator: str, *, seconds: float) -> None:
        """See `SecretsStore.delete`."""
        self._call(lambda left: self.inner.delete(locator, seconds=left), seconds)

    def scan(self, *, seconds: float, markers: bool = False) -> Iterator[Sequence[Found]]:
        """See `SecretsStore.scan`. Not repeated: the caller begins again. Finds no markers, unless they are asked for."""
        for page in self.inner.scan(seconds=seconds):
            found = page if markers else [each for each in page if not is_marker_at(each.locator)]
            if found:
                yield found

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
        self.breaker.close()
        self.inner.close()

    def _call(self, call: Callable[[float], _T], seconds: float, *, spare: bool = False, write: bool = False) -> _T:
        """Tries up to `ATTEMPTS` times within the time, with growing pauses of random length, or as long as the back end asks for.

        A call that another store can answer gets one attempt, and none while this store is in doubt.
        """
        deadline = Deadline(min(seconds, SPARE_SECONDS) if spare else seconds)
        for attempt in range(1, ATTEMPTS + 1):
            if not self.breaker.admit(spare=spare, write=write):
                raise Unavailable(f"{self.store_id} has not answered for a while, and is left alone until it does")
            began = deadline.remaining()
            try:
                with self.breaker.call():
                    result = call(deadline.left())
            except Unavailable as error:
                self.breaker.silent(seconds=began - deadline.remaining(), write=write)
                pause = FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.25, 1)  # noqa: S311 - nothing to guess here
                pause = max(pause, error.retry_after or 0)
                if spare or attempt == ATTEMPTS or pause >= deadline.remaining():
                    raise
                self._sleep(pause)
            except StrongroomError:
                self.breaker.answered(seconds=began - deadline.remaining())
                raise
            else:
                self.breaker.answered(seconds=began - deadline.remaining(), write=write)
                return result
        raise AssertionError("the last attempt returns or raises")

    def _probe(self, seconds: float) -> bool:
        """Whether the back end answers, asked for what is not there."""
        try:
            self.inner.get(self.inner.new_locator(new_id()), seconds=seconds)
        except Unavailable:
            return False
        except StrongroomError:
            return True
        return True
