"""How long to wait for further requests before something is done for all that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_SECONDS = 0.001
_MOST_EXPECTED = 100


class Gathering:
    """Says when to begin with what waits: when it is as much as is expected, or after a moment. One round at a time.

    As a rule as many requests as were answered come again soon, so it expects three quarters of them. With half, rounds are many and
    small; with all, each one waits for somebody who does not come. For the event loop's thread alone.
    """

    def __init__(self, begin: Callable[[asyncio.AbstractEventLoop], object], patience_seconds: float = PATIENCE_SECONDS) -> None:
        """`begin` begins a round, which lasts until `end` is called; it is never called from within `look` or `end`."""
        self._begin_round, self._patience = begin, patience_seconds
        self.expected, self.under_way = 1, False
        self._timer: asyncio.TimerHandle | None = None

    def look(self, waiting: int, loop: asyncio.AbstractEventLoop) -> None:
        """To be called when there is one more that waits, with how many there are."""
        if self.under_way:
            return
        if waiting >= self.expected:
            if self._timer is not None:
                self._timer.cancel()
            self.under_way = True
            loop.call_soon(self._begin, loop)
        elif self._timer is None:
            self._timer = loop.call_later(self._patience, self._begin, loop)

    def end(self, answered: int, waiting: int, loop: asyncio.AbstractEventLoop) -> None:
        """Ends a round in which so many were answered, while so many others came."""
        self.expected = min(_MOST_EXPECTED, (3 * (answered + waiting) + 1) // 4)
        self.under_way = False
        if waiting:
            self.look(waiting, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self.under_way = None, True
        self._begin_round(loop)
