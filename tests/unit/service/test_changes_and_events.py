"""A change and its event are one transaction: for every operation that changes something, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text

from strongroom.auth.policy import Role
from strongroom.db.tables import metadata
from strongroom.models.secret import Scope
from strongroom.operations import secret as of_secret
from strongroom.operations import user as of_user
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.service.wiring import Service
from tests.example_requests import Dispatching, Example, make_secret

CHANGING = [row for row in ALL_OPERATIONS if not row.reads and row is not of_user.SET_UP]

_APART = ("audit_", "login_failures", "intents", "leases")
"""Tables of what stays although a change was undone, or belongs to none: events, failed logins, announcements."""

_TRIGGERS = {
    "sqlite": ["CREATE TRIGGER refuse BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'refused'); END"],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'refused'; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_outbox FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    "mysql": ["CREATE TRIGGER refuse BEFORE INSERT ON audit_outbox FOR EACH ROW SIGNAL SQLSTATE '45000'"],
}
_UNDOING = {"sqlite": "DROP TRIGGER refuse", "postgresql": "DROP FUNCTION refuse CASCADE", "mysql": "DROP TRIGGER refuse"}


@contextmanager
def no_event_can_be_recorded(service: Service) -> Iterator[None]:
    dialect = service.deployment.database.dialect.replace("mariadb", "mysql")
    with service.deployment.database.write() as connection:
        for statement in _TRIGGERS[dialect]:
            connection.execute(text(statement))
    try:
        yield
    finally:
        with service.deployment.database.write() as connection:
            connection.execute(text(_UNDOING[dialect]))


def rows_of(connection: Connection) -> dict[str, list[Any]]:
    return {
        table.name: sorted(map(repr, connection.execute(table.select()).all()))
        for table in metadata.sorted_tables
        if not table.name.startswith(_APART)
    }


def state_of(service: Service) -> dict[str, list[Any]]:
    with service.deployment.database.snapshot() as connection:
        return rows_of(connection)


def events_of(service: Service) -> int:
    service.trail.collect_all()
    with service.deployment.database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM audit_events")).scalar_one())


@pytest.mark.parametrize("operation", CHANGING, ids=lambda row: row.name)
def test_no_change_without_its_event(settings: Any, operation: Any) -> None:
    """Where the event cannot be recorded, nothing is changed and the caller gets an error; else both are there, once."""
    service = Service(settings)
    try:
        door = Dispatching(service)
        who, other = door.add(Role.ADMIN, admin=True), door.add(Role.VIEWER).name
        secret = make_secret(door, who, Scope.WORKSPACE) if operation is of_secret.UPDATE else None
        fields = Example(door, who, operation, secret, other).fields(everything=operation.method == "PATCH")
        with no_event_can_be_recorded(service):
            before = state_of(service)
            refused = door.ask(operation, fields, who)
            assert (refused.status >= 400, state_of(service)) == (True, before)
        counted = events_of(service)
        outcome = door.ask(operation, fields, who)
        assert events_of(service) == counted + 1
        assert outcome.status < 500
    finally:
        service.close()
