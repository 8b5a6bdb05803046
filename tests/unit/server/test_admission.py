"""One call of a user at a time, few in line, and nobody in each other's way."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.errors import TooManyRequests
from strongroom.server.admission import MAX_WAITING, Admission


def test_each_user_has_one_call_under_way() -> None:
    """In the order of arrival; those of others begin at once, and nothing is kept of users who are done."""

    async def main() -> None:
        admission, order, open_gate = Admission(), [], asyncio.Event()

        async def call(user: str, number: int) -> None:
            async with admission.turn(user):
                order.append((user, number))
                if user == "mallory":
                    await open_gate.wait()

        calls = [asyncio.create_task(call("mallory", number)) for number in range(3)]
        await asyncio.create_task(call("alice", 0))
        assert order == [("mallory", 0), ("alice", 0)]
        open_gate.set()
        await asyncio.gather(*calls)
        assert order[2:] == [("mallory", 1), ("mallory", 2)]
        assert len(admission) == 0

    asyncio.run(main())


def test_too_many_are_refused_and_others_are_not() -> None:
    """The one beyond the limit is told so at once; whoever gives up leaves the line; another user gets in."""

    async def main() -> None:
        admission, open_gate = Admission(), asyncio.Event()

        async def call() -> None:
            async with admission.turn("mallory"):
                await open_gate.wait()

        calls = [asyncio.create_task(call()) for _ in range(1 + MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequests):
            async with admission.turn("mallory"):
                pass
        async with admission.turn("alice"):
            pass
        calls[-1].cancel()
        await asyncio.gather(calls[-1], return_exceptions=True)
        calls[-1] = asyncio.create_task(call())
        await asyncio.sleep(0)
        open_gate.set()
        await asyncio.gather(*calls)
        assert len(admission) == 0

    asyncio.run(main())
