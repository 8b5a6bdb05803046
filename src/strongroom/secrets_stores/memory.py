"""The reference of a secrets store: in memory, gone with its process. For tests, and for whoever writes a store.

It can be told to fail as real back ends do (`Shelf.trouble`, `Shelf.damage`), so that what uses stores can be tested against outages.
"""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from strongroom.db.identifiers import new_id
from strongroom.errors import StoreForbidden, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import About, Capabilities, Found, check_size

_PAGE = 100
_T = TypeVar("_T")


class Trouble(enum.Enum):
    """How a back end fails until the trouble is over."""

    UNAVAILABLE = "does nothing, and says so at once"
    REPLY_LOST = "does what it is asked, but its answer is lost"
    HANGS = "does nothing, and does not answer: a call lasts until its time is up"
    FORBIDDEN = "refuses everything"


@dataclass(frozen=True)
class _Item:
    values: Mapping[str, str] | None
    about: About
    written: datetime

    def __repr__(self) -> str:
        return f"<values of {self.about.secret_id}>"


class Shelf:
    """The location: what is on it outlives the stores that were opened on it. Thread-safe."""

    def __init__(self, name: str = "shelf") -> None:
        self.name = name
        self._lock = threading.Lock()
        self._items: dict[str, _Item] = {}
        self._trouble: Trouble | None = None
        self._calm = threading.Event()

    @contextmanager
    def trouble(self, kind: Trouble) -> Iterator[None]:
        """Meanwhile every call fails in this way."""
        self._calm.clear()
        self._trouble = kind
        try:
            yield
        finally:
            self._trouble = None
            self._calm.set()

    def damage(self, locator: str) -> None:
        """What lies there is no longer what was put."""
        with self._lock:
            item = self._items[locator]
            self._items[locator] = _Item(None, item.about, item.written)

    def ask(self, seconds: float, effect: Callable[[dict[str, _Item]], _T]) -> _T:
        """One call: the effect on what is on the shelf, in one piece, or the trouble that there is."""
        deadline = time.monotonic() + seconds
        if self._trouble is Trouble.FORBIDDEN:
            raise StoreForbidden("the shelf is locked", hint="end the trouble")
        if self._trouble is Trouble.UNAVAILABLE:
            raise Unavailable("the shelf is out of reach; nothing was done")
        while self._trouble is Trouble.HANGS:
            if not self._calm.wait(max(0.0, deadline - time.monotonic())):
                raise Unavailable("the shelf did not answer in time; what was asked may have been done")
        with self._lock:
            done = effect(self._items)
        if self._trouble is Trouble.REPLY_LOST:
            raise Unavailable("the answer was lost; what was asked may have been done")
        return done


class MemorySecretsStore:
    """Opened on a shelf, for one deployment."""

    def __init__(self, deployment_id: str, shelf: Shelf | None = None, *, name: str | None = None, max_bytes: int = 65_536) -> None:
        self._deployment_id = deployment_id
        self._shelf = shelf or Shelf()
        self._store_id = name or f"memory:{self._shelf.name}"
        self._capabilities = Capabilities(max_bytes=max_bytes)

    @property
    def store_id(self) -> str:
        """The operator's name, or the shelf's."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """No limit but that of size."""
        return self._capabilities

    def new_locator(self, secret_id: str) -> str:
        """`<deployment>/<secret>/<attempt>`."""
        return f"{self._deployment_id}/{secret_id}/{new_id()}"

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """See `SecretsStore.put`."""
        check_size(values, self._capabilities)
        item = _Item(dict(values), about, datetime.now(UTC))

        def effect(items: dict[str, _Item]) -> None:
            if items.setdefault(locator, item).values != item.values:
                raise ValuesCorrupt(f"other values lie at {locator} already; they stay")

        self._shelf.ask(seconds, effect)

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """See `SecretsStore.get`."""
        item = self._shelf.ask(seconds, lambda items: items.get(locator))
        if item is None:
            raise ValuesMissing(f"the shelf has nothing at {locator}")
        if item.values is None:
            raise ValuesCorrupt(f"what lies at {locator} was damaged")
        return dict(item.values)

    def delete(self, locator: str, *, seconds: float) -> None:
        """See `SecretsStore.delete`."""
        self._shelf.ask(seconds, lambda items: items.pop(locator, None))

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """See `SecretsStore.scan`. A page is what comes next in the order of locators, so nothing is found twice."""
        after = own = f"{self._deployment_id}/"

        def page(items: dict[str, _Item]) -> list[Found]:
            locators = sorted(locator for locator in items if locator.startswith(own) and locator > after)[:_PAGE]
            return [Found(locator=each, about=items[each].about, written=items[each].written) for each in locators]

        while found := self._shelf.ask(seconds, page):
            yield found
            after = found[-1].locator

    def deployments(self, *, seconds: float) -> list[str]:
        """See `ListsDeployments`."""
        return self._shelf.ask(seconds, lambda items: sorted({locator.partition("/")[0] for locator in items}))

    def close(self) -> None:
        """Nothing to give back."""
