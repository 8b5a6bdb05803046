"""What strangers are refused is on record, in as few events as they may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from strongroom.errors import Unavailable
from strongroom.server import refusals as module
from strongroom.server.refusals import BURST, MAX_COUNTED, MAX_COUNTS, Refusals
from strongroom.service.facts import Facts

REFUSED = Facts(
    moment=1,
    workspace="",
    actor="",
    actor_id="",
    token_id=None,
    operation="secret.list",
    target="",
    target_id="",
    version=None,
    outcome="unauthenticated",
    address="192.0.2.1",
)


class Record:
    """Keeps events, or refuses to."""

    def __init__(self) -> None:
        self.events: list[Facts] = []
        self.broken = False

    async def __call__(self, facts: Sequence[Facts]) -> None:
        if self.broken:
            raise Unavailable("the audit trail cannot be written")
        self.events += facts

    @property
    def counted(self) -> int:
        """How many refusals the counts stand for."""
        return sum(int(event.detail.split()[0]) for event in self.events)


@pytest.fixture
def _standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "now", lambda: 1_000_000)


def like(**changes: Any) -> list[Facts]:
    return [msgspec.structs.replace(REFUSED, **changes)]


@pytest.mark.usefixtures("_standing_clock")
def test_a_flood_is_counted() -> None:
    """The first ones are recorded by the caller; of the others each is in a count, with what, where from and why."""

    async def main() -> None:
        record = Record()
        refusals = Refusals(record, lambda error: None)
        taken = [refusals.takes(like()) for _ in range(10 * BURST)]
        assert taken == [False] * BURST + [True] * 9 * BURST
        await refusals.flush()
        (event,) = record.events
        assert event.detail == f"{9 * BURST} requests"
        assert (event.operation, event.outcome, event.address) == ("secret.list", "unauthenticated", "192.0.2.1")
        await refusals.flush()
        assert len(record.events) == 1

    asyncio.run(main())


@pytest.mark.usefixtures("_standing_clock")
def test_many_addresses_cost_no_more() -> None:
    """However many there are, the counts are few, add up, and so does what is kept in memory."""

    async def main() -> None:
        record = Record()
        refusals = Refusals(record, lambda error: None)
        taken = [refusals.takes(like(address=f"address {number % (2 * MAX_COUNTED)}")) for number in range(3 * MAX_COUNTED)]
        assert len(refusals._counts) <= MAX_COUNTED + 1
        await refusals.flush()
        assert len(record.events) <= MAX_COUNTS + 1
        assert record.counted == sum(taken)

    asyncio.run(main())


@pytest.mark.usefixtures("_standing_clock")
def test_what_users_do_what_succeeds_and_wrong_passwords_are_never_counted() -> None:
    """It is on record one by one, also in the middle of a flood."""

    async def main() -> None:
        refusals = Refusals(Record(), lambda error: None)
        while not refusals.takes(like()):
            pass
        assert not refusals.takes(like(actor_id="someone"))
        assert not refusals.takes(like(operation="user.login"))  # a wrong password; how many of those there are is limited
        assert not refusals.takes(like(outcome="ok"))
        assert not refusals.takes(like() * 2)
        assert not refusals.takes([])
        await refusals.flush()

    asyncio.run(main())


@pytest.mark.usefixtures("_standing_clock")
def test_counts_that_cannot_be_recorded_are_kept() -> None:
    """They go on record the next time, together with what came since."""

    async def main() -> None:
        record, told = Record(), []
        refusals = Refusals(record, told.append)
        taken = sum(refusals.takes(like()) for _ in range(2 * BURST))
        record.broken = True
        await refusals.flush()
        taken += refusals.takes(like())
        record.broken = False
        await refusals.flush()
        assert (len(told), record.counted) == (1, taken)

    asyncio.run(main())


def test_after_a_while_refusals_are_recorded_one_by_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each stretch of time that has passed."""
    moment = [1_000_000]
    monkeypatch.setattr(module, "now", lambda: moment[0])

    async def main() -> None:
        refusals = Refusals(Record(), lambda error: None)
        while not refusals.takes(like()):
            pass
        moment[0] += 2 * module.SECONDS_FOR_ONE * 1_000_000
        assert [refusals.takes(like()) for _ in range(3)] == [False, False, True]
        await refusals.flush()

    asyncio.run(main())
