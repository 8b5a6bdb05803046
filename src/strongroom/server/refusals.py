"""What strangers are refused goes on record one by one at first, and as counts where there is much of it.

Anybody can make a server refuse requests, thousands in a second. One event for each would let strangers fill the database.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from strongroom.db.clock import now
from strongroom.errors import StrongroomError, Unauthenticated
from strongroom.operations import user as of_user
from strongroom.service.facts import OK, Facts

BURST = 100
"""So many refusals are recorded one by one, if there were none for long."""

SECONDS_FOR_ONE = 10
"""So often another one is."""

INTERVAL_SECONDS = 60
"""How long refusals are counted before the counts go on record."""

MAX_COUNTS = 16
"""So many counts, the largest ones, are told apart by operation, outcome and address; the rest is one count."""

MAX_COUNTED = 4_096
"""So many are told apart in memory."""

EVERYWHERE = "other"
"""Stands for operation, outcome and address in the count of the rest."""


class _Kind(NamedTuple):
    operation: str
    outcome: str
    address: str


_REST = _Kind("refused", EVERYWHERE, EVERYWHERE)


class Refusals:
    """Records what strangers were refused. For the event loop's thread alone.

    A process that is killed loses counts of up to `INTERVAL_SECONDS`.
    """

    def __init__(self, record: Callable[[Sequence[Facts]], Awaitable[None]], failed: Callable[[BaseException], object]) -> None:
        """`record` puts events on record; `failed` is told when counts cannot be recorded, which is tried again."""
        self._record, self._failed = record, failed
        self._counts: Counter[_Kind] = Counter()
        self._like: Facts | None = None
        self._left, self._refilled = float(BURST), now()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Future[None] | None = None

    def takes(self, facts: Sequence[Facts]) -> bool:
        """Whether these events are of a stranger who was refused, and are counted now instead of being recorded one by one."""
        if len(facts) != 1 or facts[0].actor_id or facts[0].outcome == OK or _is_guess(facts[0]) or self._may_record_one():
            return False
        kind = _Kind(facts[0].operation, facts[0].outcome, facts[0].address)
        if kind not in self._counts and len(self._counts) >= MAX_COUNTED:
            kind = _REST
        self._counts[kind] += 1
        self._like = facts[0]
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._begin)
        return True

    async def flush(self) -> None:
        """Returns when what was counted so far is on record, or could not be recorded."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is not None:
            await asyncio.shield(self._flushing)
        if self._counts:
            self._flushing = asyncio.ensure_future(self._write())
            await asyncio.shield(self._flushing)

    def _begin(self) -> None:
        self._timer = None
        self._flushing = asyncio.ensure_future(self._write())

    async def _write(self) -> None:
        counts, self._counts = self._counts, Counter()
        like = self._like
        if like is None:
            return
        largest = Counter(dict(counts.most_common(MAX_COUNTS)))
        rest = counts.total() - largest.total()
        if rest:
            largest[_REST] += rest
        try:
            await self._record([_event(like, kind, count) for kind, count in largest.items()])
        except StrongroomError as error:
            self._counts.update(counts)
            self._failed(error)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._begin)

    def _may_record_one(self) -> bool:
        moment = now()
        self._left = min(BURST, self._left + (moment - self._refilled) / (SECONDS_FOR_ONE * 1_000_000))
        self._refilled = moment
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _is_guess(facts: Facts) -> bool:
    """Whether it is a wrong password: those are on record one by one, and limited by what counts them."""
    return facts.operation == of_user.LOGIN.name and facts.outcome == Unauthenticated.code


def _event(like: Facts, kind: _Kind, count: int) -> Facts:
    changes: dict[str, Any] = {"operation": kind.operation, "outcome": kind.outcome, "address": kind.address}
    return msgspec.structs.replace(
        like, moment=now(), target="", target_id="", version=None, changed=(), detail=f"{count} requests", **changes
    )
