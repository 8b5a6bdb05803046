"""What waits is done in rounds: few of them, and none that waits long for somebody who does not come."""

from __future__ import annotations

import asyncio

from strongroom.server.gathering import Gathering
from tests.unit.server.conftest import Run

FOR_EVER = 3_600.0


def test_one_alone_is_not_kept_waiting(run: Run) -> None:
    """The first one, and each one after a round for one, begins a round at once."""

    async def main() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        gathering = Gathering(lambda _: begun.set(), FOR_EVER)
        for _ in range(3):
            gathering.look(1, loop)
            assert not begun.is_set()
            await begun.wait()
            begun.clear()
            gathering.end(1, 0, loop)

    run(main())


def test_it_waits_for_three_quarters_of_those_who_were_there(run: Run) -> None:
    """Eight were answered or came meanwhile: five do not begin a round, the sixth one does."""

    async def main() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        gathering = Gathering(lambda _: begun.set(), FOR_EVER)
        gathering.end(8, 0, loop)
        for waiting in range(1, 6):
            gathering.look(waiting, loop)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not begun.is_set()
        gathering.look(6, loop)
        await begun.wait()

    run(main())


def test_whoever_does_not_come_is_waited_for_a_moment_only(run: Run) -> None:
    """A round begins without them, and less is expected of the next one."""

    async def main() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        gathering = Gathering(lambda _: begun.set(), 0.001)
        gathering.end(100, 0, loop)
        gathering.look(1, loop)
        await begun.wait()
        gathering.end(1, 0, loop)
        assert gathering.expected == 1

    run(main())


def test_there_is_one_round_at_a_time(run: Run) -> None:
    """Whoever comes during a round waits for its end, which begins the next one; nobody begins one in between or twice."""

    async def main() -> None:
        loop, rounds = asyncio.get_running_loop(), 0

        def begin(_: asyncio.AbstractEventLoop) -> None:
            nonlocal rounds
            rounds += 1

        gathering = Gathering(begin, FOR_EVER)
        for waiting in range(1, 6):
            gathering.look(waiting, loop)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (rounds, gathering.under_way) == (1, True)
        gathering.end(1, 5, loop)
        assert rounds == 1
        for _ in range(10):
            await asyncio.sleep(0)
        assert (rounds, gathering.under_way) == (2, True)

    run(main())
