"""Who else is told when this process reads or writes values: a pipeline run records reads, and keeps values out of its output."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from strongroom import forking
from strongroom.models.secret import Secret
from strongroom.redaction import SecretText


@dataclass(frozen=True)
class ValuesRead:
    """Values of one version of a secret that this process has read. `recorded` says that a run's record has them already."""

    secret_id: str
    secret: str
    version: int
    values: dict[str, SecretText]
    recorded: bool = False

    @classmethod
    def of(cls, secret: Secret) -> ValuesRead:
        """All values of a secret that was read with them."""
        return cls(secret.id, secret.name, secret.version, secret.values or {})

    @classmethod
    def written(cls, name: str, values: Mapping[str, SecretText | None]) -> ValuesRead:
        """Values that this process is about to write. No read that a run would record."""
        return cls("", name, 0, {key: value for key, value in values.items() if value is not None}, recorded=True)


Observer = Callable[[ValuesRead], None]

_REMEMBERED = 256

_lock = forking.renewed(sys.modules[__name__], "_lock", threading.RLock)
_recent: deque[ValuesRead] = deque(maxlen=_REMEMBERED)
_observers: tuple[Observer, ...] = ()


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Within the block, the observer gets whatever values any client of this process reads (before the caller does) or writes."""
    global _observers
    with _lock:
        _observers = (*_observers, observer)
    try:
        yield
    finally:
        with _lock:
            remaining = list(_observers)
            remaining.remove(observer)
            _observers = tuple(remaining)


def tell(read: ValuesRead) -> None:
    """Tells all observers of values that were read, or are about to be written."""
    _recent.append(read)
    for observer in _observers:
        observer(read)


def recently_read() -> list[ValuesRead]:
    """The latest of this process, up to 256: a pipeline may have been given one of these values, or print it."""
    return list(_recent)
