"""Many requests share a transaction of the audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from strongroom.errors import Unavailable
from strongroom.models.audit_event import VerifyAudit
from strongroom.operations import audit as of_audit
from strongroom.operations import secret as of_secret
from strongroom.server.group_commit import MAX_WAITING, GroupCommit
from strongroom.service.audit import AuditLog, Facts, facts_of
from strongroom.service.deployment import Deployment
from strongroom.service.wiring import Service


class Counting(AuditLog):
    """Counts the events of each transaction."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self.written: list[int] = []

    def record(self, facts: Sequence[Facts]) -> None:
        self.written.append(len(facts))
        super().record(facts)


class Broken(AuditLog):
    """Cannot write."""

    def record(self, facts: Sequence[Facts]) -> None:
        raise Unavailable("the disk is full")


def test_events_of_many_go_into_few_transactions(service: Service) -> None:
    """What arrives while a transaction is written goes into the next one, and `close` waits for all."""
    log = Counting(service.deployment)
    facts = facts_of(of_secret.LIST, service.local_actor, None, None)

    async def main() -> None:
        group = GroupCommit(log)
        await asyncio.gather(*(group.record(facts) for _ in range(199)))
        last = group.record(facts)
        await group.close()
        assert last.done()

    asyncio.run(main())
    assert sum(log.written) == 200
    assert len(log.written) <= 3
    report = service.dispatcher.call(of_audit.VERIFY, VerifyAudit(), service.local_actor)
    assert (report.events, report.valid) == (200, True)


def test_whoever_waits_is_told_when_it_cannot_be_written(service: Service) -> None:
    """An answer does not leave when its event is not on record, and the next one is tried again."""
    facts = facts_of(of_secret.LIST, service.local_actor, None, None)

    async def main() -> None:
        group = GroupCommit(Broken(service.deployment))
        for _ in range(2):
            with pytest.raises(Unavailable, match="the disk is full"):
                await group.record(facts)
        await group.close()

    asyncio.run(main())


def test_a_trail_that_does_not_keep_up_is_told(service: Service) -> None:
    """Memory is bounded: who comes when too many wait is refused at once, and the others are written."""
    facts = facts_of(of_secret.LIST, service.local_actor, None, None)

    async def main() -> None:
        group = GroupCommit(AuditLog(service.deployment))
        waiting = [group.record(facts) for _ in range(MAX_WAITING)]
        with pytest.raises(Unavailable, match="does not keep up"):
            await group.record(facts)
        for future in waiting[1:]:
            future.cancel()  # clients that have gone
        await waiting[0]
        await group.close()

    asyncio.run(main())
