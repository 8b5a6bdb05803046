"""The signals that end a server, while a worker is not ready to take them.

The main process passes them on to its workers. One that was just forked would take a signal by the handlers that it has inherited, as
if it were the main process, and go on; and between two runs of uvloop's loop a signal gets lost. Whoever ends a server while it
replaces a worker would wait for that one for half a minute. So they are held back from the fork until the loop runs for good.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGTERM, signal.SIGINT)
_SOON_SECONDS = 0.02
"""The loop runs once for the application's start, and then for good: a timer of this length ends in the second run."""


def hold_in_forked_processes() -> None:
    """From now on, processes that this one forks hold them back in all their threads, and end by them when they let go."""
    if not hasattr(os, "register_at_fork"):  # on Windows, a worker is a process of its own from the beginning
        return

    def forget_handlers() -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)

    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=forget_handlers)


@contextmanager
def let_go() -> Iterator[None]:
    """In this block, which waits for something, this process ends by them."""
    _let_go()
    try:
        yield
    finally:
        _hold()


def let_go_soon() -> None:
    """The loop of this thread takes them from now on, when it runs for good; those that came before, too."""
    asyncio.get_running_loop().call_later(_SOON_SECONDS, _let_go)


def _hold() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _let_go() -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
