"""A replica that stops in the middle of a transaction holds up the others for a moment at most, on PostgreSQL and MariaDB."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest

from strongroom.auth.actor import Actor
from strongroom.config import Settings
from strongroom.models.audit_event import ListAuditEvents, VerifyAudit
from strongroom.operations import audit as of_audit
from strongroom.server.database_watch import DatabaseWatch
from strongroom.server.log import open_log
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.conftest import settings_in
from tests.people import Person, add_person
from tests.processes import Child

VALUE = f"{CANARY}-value"
BOUND_SECONDS = 8
"""What others may wait on a busy machine. Limits of the product: 3 seconds for the session, one for the look at it."""

MOST_STATEMENTS = 80


@pytest.fixture(params=["postgresql", "mariadb"])
def shared(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of an empty store on each database server in turn."""
    yield from settings_in(request, "template")


def _create(person: Person, secret_id: str) -> None:
    person.create(f"of-{os.getpid()}", {"k": VALUE})


def _verify(person: Person, secret_id: str) -> None:
    person.service.dispatcher.call(of_audit.VERIFY, VerifyAudit(), person.service.local_actor)


CHANGES: dict[str, Callable[[Person, str], None]] = {"create": _create, "verify": _verify}


def _stops(report: Connection, settings: Settings, actor: Actor, change: str, secret_id: str, at: int) -> None:
    """Makes a change in a process that stops itself after it has sent its statement number `at`."""
    service = Service(settings)
    person = Person(service, actor)
    import psycopg
    import pymysql.cursors

    sent = 0

    def stopping(execute: Any) -> Any:
        def execute_and_stop(*arguments: Any, **options: Any) -> Any:
            nonlocal sent
            result = execute(*arguments, **options)
            sent += 1
            if sent == at:
                report.send("stopped")
                os.kill(os.getpid(), signal.SIGSTOP)
            return result

        return execute_and_stop

    for driver in (psycopg.Cursor, pymysql.cursors.Cursor):
        driver.execute = stopping(driver.execute)  # type: ignore[method-assign]
    CHANGES[change](person, secret_id)
    report.send("ended")


@pytest.mark.parametrize("change", CHANGES)
def test_a_replica_that_stops_at_any_statement(shared: Settings, change: str) -> None:
    """Wherever it stops: others create, update, read the trail within seconds, and the trail stays whole."""
    service = Service(shared)
    watch = DatabaseWatch(service.deployment.database, open_log())
    try:
        person, stopping = add_person(service, "healthy"), add_person(service, "stopping")
        secret = stopping.create("s", {"k": VALUE})
        longest, stops = 0.0, 0
        for at in range(1, MOST_STATEMENTS):
            child = Child(_stops, shared, stopping.actor, change, secret.id, at)
            try:
                if child.receive() == "ended":
                    break
                stops += 1
                begun = time.monotonic()
                person.create(f"healthy-{at}", {"k": VALUE})
                person.update(secret.id, {"k": f"{VALUE}-{at}"})
                service.dispatcher.call(of_audit.LIST, ListAuditEvents(size=1), service.local_actor)
                longest = max(longest, time.monotonic() - begun)
            finally:
                child.kill()
                child.end()
        assert stops > 3
        assert longest < BOUND_SECONDS
        assert service.dispatcher.call(of_audit.VERIFY, VerifyAudit(), service.local_actor).valid
    finally:
        watch.close()
        service.close()
