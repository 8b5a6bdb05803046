"""Many requests share a transaction of the audit trail."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Connection

from strongroom.errors import AlreadyExists, Unavailable
from strongroom.models.audit_event import ListAuditEvents, VerifyAudit
from strongroom.models.secret import CreateSecret, ListSecrets
from strongroom.operations import audit as of_audit
from strongroom.operations import secret as of_secret
from strongroom.redaction import SecretText
from strongroom.server.group_commit import MAX_WAITING, Change, GroupCommit
from strongroom.service.audit_log import AuditLog
from strongroom.service.deployment import Deployment
from strongroom.service.facts import Facts, facts_of
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.unit.server.conftest import Run


class Counting(AuditLog):
    """Counts the events of each transaction."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self.written: list[int] = []

    def add(self, connection: Connection, facts: Sequence[Facts]) -> None:
        self.written.append(len(facts))
        super().add(connection, facts)


class Broken(AuditLog):
    """Cannot write."""

    def add(self, connection: Connection, facts: Sequence[Facts]) -> None:
        raise Unavailable("the disk is full")


def test_events_of_many_go_into_few_transactions(run: Run, service: Service) -> None:
    """What arrives while a transaction is written goes into the next one, and `close` waits for all."""
    log = Counting(service.deployment)
    facts = facts_of(of_secret.LIST, service.local_actor, None, None)

    async def main() -> None:
        group = GroupCommit(log, service.deployment.database)
        await asyncio.gather(*(group.record(facts) for _ in range(199)))
        last = group.record(facts)
        await group.close()
        assert last.done()

    run(main())
    assert sum(log.written) == 200
    assert len(log.written) <= 3
    report = service.dispatcher.call(of_audit.VERIFY, VerifyAudit(), service.local_actor)
    assert (report.events, report.valid) == (200, True)


def test_whoever_waits_is_told_when_it_cannot_be_written(run: Run, service: Service) -> None:
    """An answer does not leave when its event is not on record, and the next one is tried again."""
    facts = facts_of(of_secret.LIST, service.local_actor, None, None)

    async def main() -> None:
        group = GroupCommit(Broken(service.deployment), service.deployment.database)
        for _ in range(2):
            with pytest.raises(Unavailable, match="the disk is full"):
                await group.record(facts)
        await group.close()

    run(main())


def test_a_trail_that_does_not_keep_up_is_told(run: Run, service: Service) -> None:
    """Memory is bounded: who comes when too many wait is refused at once, and the others are written."""
    facts = facts_of(of_secret.LIST, service.local_actor, None, None)

    async def main() -> None:
        group = GroupCommit(AuditLog(service.deployment), service.deployment.database)
        waiting = [group.record(facts) for _ in range(MAX_WAITING)]
        with pytest.raises(Unavailable, match="does not keep up"):
            await group.record(facts)
        for future in waiting[1:]:
            future.cancel()  # clients that have gone
        await waiting[0]
        await group.close()

    run(main())


def creating(service: Service, name: str) -> Change:
    """Makes a secret, when it is called."""
    wanted = CreateSecret(name=name, values={"k": SecretText(f"{CANARY}-k")})
    return lambda: service.dispatcher.perform(of_secret.CREATE, wanted, service.local_actor)


def names(service: Service) -> list[str]:
    page = service.dispatcher.perform(of_secret.LIST, ListSecrets(), service.local_actor)[0]
    return [secret.name for secret in page]


def recorded(service: Service) -> list[tuple[str, str]]:
    """Outcomes and targets of the audit trail, oldest first. It is whole."""
    assert service.dispatcher.call(of_audit.VERIFY, VerifyAudit(), service.local_actor).valid
    page = service.dispatcher.perform(of_audit.LIST, ListAuditEvents(operation="secret.create", size=200), service.local_actor)[0]
    return [(event.outcome, event.target) for event in reversed(page.items)]


def test_changes_of_many_go_into_few_transactions(run: Run, local_service: Service) -> None:
    """Each gets its own outcome, and its event is in the same transaction; one that fails fails alone."""
    log = Counting(local_service.deployment)

    def broken() -> tuple[Any, list[Facts]]:
        with local_service.deployment.database.write() as connection:
            connection.exec_driver_sql("UPDATE secrets SET name = name || '-lost'")
            raise ZeroDivisionError

    async def main() -> list[Any]:
        group = GroupCommit(log, local_service.deployment.database)
        changes = [creating(local_service, name) for name in "aba"]
        found = await asyncio.gather(*map(group.perform, [*changes[:2], broken, changes[2]]), return_exceptions=True)
        await group.close()
        return found

    first, second, failed, taken = run(main())
    assert (first.name, second.name) == ("a", "b")
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(taken, AlreadyExists)
    assert log.written == [3]
    assert names(local_service) == ["a", "b"]
    assert recorded(local_service) == [("ok", "a"), ("ok", "b"), ("already_exists", "a")]


def test_a_change_that_cannot_be_recorded_is_not_made(run: Run, local_service: Service) -> None:
    """Change and event are durable both or not at all."""

    async def main() -> None:
        group = GroupCommit(Broken(local_service.deployment), local_service.deployment.database)
        with pytest.raises(Unavailable, match="the disk is full"):
            await group.perform(creating(local_service, "a"))
        await group.close()

    run(main())
    assert names(local_service) == []


def test_a_long_queue_of_changes_lets_others_in_between(run: Run, local_service: Service) -> None:
    """So many changes and no more hold the database's only write lock at once; none is forgotten, also not of a client that left."""
    log = Counting(local_service.deployment)

    async def main() -> None:
        group = GroupCommit(log, local_service.deployment.database)
        waiting = [group.perform(creating(local_service, f"s{number:03}")) for number in range(120)]
        waiting[7].cancel()
        await group.close()
        assert all(each.done() for each in waiting)

    run(main())
    assert log.written == [50, 50, 20]
    assert recorded(local_service)[:1] == [("ok", "s000")]
    assert local_service.dispatcher.perform(of_secret.LIST, ListSecrets(), local_service.local_actor)[0].total == 120


def test_the_loop_goes_on_while_others_write(run: Run, local_service: Service) -> None:
    """Where somebody else has the database's write lock, a thread waits for it, and takes along what has arrived meanwhile."""
    database = local_service.deployment.database
    log = Counting(local_service.deployment)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with database.write():
            held.set()
            assert let_go.wait(60)

    async def main() -> None:
        group = GroupCommit(log, database)
        waiting = []
        for name in "abc":
            waiting.append(group.perform(creating(local_service, name)))
            for _ in range(100):
                await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        let_go.set()
        assert [(await each).name for each in waiting] == ["a", "b", "c"]
        await group.close()

    with ThreadPoolExecutor(1) as other:
        holding = other.submit(hold)
        assert held.wait(60)
        run(main())
        holding.result()
    assert log.written == [3]
    assert recorded(local_service) == [("ok", "a"), ("ok", "b"), ("ok", "c")]


def test_it_waits_for_as_many_as_come_as_a_rule(run: Run, local_service: Service) -> None:
    """Of four that were answered, three that come again one after the other share a transaction."""
    log = Counting(local_service.deployment)

    async def main() -> None:
        group = GroupCommit(log, local_service.deployment.database, patience_seconds=60)
        await asyncio.gather(*(group.perform(creating(local_service, f"a{number}")) for number in range(4)))
        waiting = []
        for name in "bcd":
            waiting.append(group.perform(creating(local_service, name)))
            for _ in range(100):
                await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        await group.close()

    run(main())
    assert log.written == [4, 3]


def test_it_does_not_wait_for_those_who_stay_away(run: Run, local_service: Service) -> None:
    """One that comes alone is written all the same, and nobody is expected after that."""
    log = Counting(local_service.deployment)

    async def main() -> None:
        group = GroupCommit(log, local_service.deployment.database)
        await asyncio.gather(*(group.perform(creating(local_service, f"a{number}")) for number in range(4)))
        for name in "bc":
            await group.perform(creating(local_service, name))
        await group.close()

    run(main())
    assert log.written == [4, 1, 1]


def test_databases_with_many_writers_take_events_only(run: Run, service: Service) -> None:
    """There, changes that have nothing to do with each other are better made side by side."""
    group = GroupCommit(service.trail, service.deployment.database)
    assert group.takes_changes is (service.deployment.database.dialect == "sqlite")
    run(group.close())
