"""Acting for a run: within a step, all clients of this process have the run's token instead of the user's own login."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from strongroom.client.transports.base import Transport
from strongroom.errors import ConfigurationError

_acting: ContextVar[Transport | None] = ContextVar("acting", default=None)
_lock = threading.Lock()
_confining: tuple[Transport, ...] = ()


@contextmanager
def acting(transport: Transport, *, confined: bool = False) -> Iterator[None]:
    """Within the block, in this thread, every client uses this transport.

    `confined` is for processes that have no business with a login that may be found there: as long as a block lasts, clients in
    other threads of the process do not look for one either. They use the transport of the step that started them, which is known
    where all blocks of the process have the same one.
    """
    global _confining
    token = _acting.set(transport)
    if confined:
        with _lock:
            _confining = (*_confining, transport)
    try:
        yield
    finally:
        _acting.reset(token)
        if confined:
            with _lock:
                remaining = list(_confining)
                remaining.remove(transport)
                _confining = tuple(remaining)


def acting_transport() -> Transport | None:
    """The transport to use instead of the client's own. `ConfigurationError` where nobody can know which."""
    found = _acting.get()
    if found is not None or not _confining:
        return found
    confining = _confining
    if any(each is not confining[0] for each in confining):
        raise ConfigurationError(
            "several steps are executed in this process: nobody knows which of them this thread works for",
            hint="start the thread with contextvars.copy_context().run, or give the worker one thread",
        )
    return confining[0]
