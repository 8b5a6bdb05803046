"""Who else is told when this process reads values: a pipeline run records the read and keeps the values out of its output."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
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


Observer = Callable[[ValuesRead], None]

_REMEMBERED = 256

_lock = forking.renewed(sys.modules[__name__], "_lock", threading.RLock)
_recent: deque[ValuesRead] = deque(maxlen=_REMEMBERED)
_observers: tuple[Observer, ...] = ()


@contextmanager
def observing(observer: Observer) -> Iterator[None]:
    """Within the block, the observer gets whatever values any client of this process reads, before the caller does."""
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
    """Tells all observers of values that were read."""
    _recent.append(read)
    for observer in _observers:
        observer(read)


def recently_read() -> list[ValuesRead]:
    """The latest reads of this process: a pipeline may have been given one of these values."""
    return list(_recent)
