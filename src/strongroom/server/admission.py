"""Turns: of the calls that belong to one user, one at a time is made, and few wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from strongroom.errors import TooManyRequests

MAX_WAITING = 32
"""Calls of one user that wait for their turn."""

RETRY_SECONDS = 1


@dataclass
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Admission:
    """Keeps one user's calls from taking all threads of a pool. For the event loop's thread alone.

    Each user has at most one call in the pool, so the next caller waits for at most one call of each other user, however many
    calls those make. It takes no memory for users without a call.
    """

    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def turn(self, user: Hashable) -> AsyncIterator[None]:
        """The block is run when it is this call's turn, in the order of arrival. `TooManyRequests` if too many wait already."""
        queue = self._queues.setdefault(user, _Queue())
        if queue.length > MAX_WAITING:
            raise TooManyRequests("too many logins of this user are under way", hint="try again later", retry_after=RETRY_SECONDS)
        queue.length += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.length -= 1
            if not queue.length:
                del self._queues[user]

    def __len__(self) -> int:
        """How many users have calls under way."""
        return len(self._queues)
