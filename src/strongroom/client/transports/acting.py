"""Acting for a run: within a step, all clients of this process have the run's token instead of the user's own login."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from strongroom import forking
from strongroom.client.transports.base import Transport
from strongroom.client.transports.inheriting import hand_on, inherited
from strongroom.errors import ConfigurationError

_acting: ContextVar[Transport | None] = ContextVar("acting", default=None)
_lock = forking.renewed(sys.modules[__name__], "_lock", threading.RLock)
_confining: tuple[tuple[str, Transport], ...] = ()
_confined_for_good = False


@contextmanager
def acting(transport: Transport) -> Iterator[None]:
    """Within the block every client uses this transport: in this thread, and in the threads and processes that are started in it.

    What is started keeps the transport when the block has ended.
    """
    hand_on(_acting)
    token = _acting.set(transport)
    try:
        yield
    finally:
        _acting.reset(token)


@contextmanager
def confined(run_id: str, transport: Transport) -> Iterator[None]:
    """The same in a process that has no business with a login that may be found there.

    As long as a block lasts, clients in other threads look for no login either: they use the transport of the run that is worked for,
    if that is one run.
    """
    global _confining
    entry = (run_id, transport)
    with _lock:
        _confining = (*_confining, entry)
    try:
        with acting(transport):
            yield
    finally:
        with _lock:
            remaining = list(_confining)
            remaining.remove(entry)
            _confining = tuple(remaining)


def confine_for_good() -> None:
    """From now on, clients of this process work within runs or not at all: a thread that a step left behind has no other login."""
    global _confined_for_good
    _confined_for_good = True


def acting_transport() -> Transport | None:
    """The transport to use instead of the client's own. `ConfigurationError` where nobody can know which, or there is none left."""
    found = _acting.get() or inherited()
    if found is not None:
        return found
    confining = _confining
    if len({run_id for run_id, _ in confining}) > 1:
        raise ConfigurationError(
            "steps of several runs are executed in this process: nobody knows which of them this thread works for",
            hint="start the thread with contextvars.copy_context().run, or give each worker one thread",
        )
    if not confining and _confined_for_good:
        raise ConfigurationError("this process executes steps of runs, and none is executed now", hint="read secrets within a step")
    return confining[0][1] if confining else None
