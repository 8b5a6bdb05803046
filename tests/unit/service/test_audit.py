"""The audit trail, on every database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, text, update

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.config import Settings
from strongroom.db.tables import audit_events, audit_head
from strongroom.errors import Forbidden, InvalidInput, NotFound, StrongroomError, Unavailable
from strongroom.models.audit_event import AuditEvent, AuditReport, ListAuditEvents, VerifyAudit
from strongroom.models.reference import Reference, ResolveReferences
from strongroom.models.secret import Scope
from strongroom.models.user import Login
from strongroom.operations import audit as operations
from strongroom.operations import secret as of_secret
from strongroom.operations import user as of_user
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person
from tests.processes import run_together

VALUE = f"{CANARY}-value"
ABSENT = "00000000-0000-7000-8000-000000000000"


def events(service: Service, **filters: Any) -> list[AuditEvent]:
    page = service.dispatcher.call(operations.LIST, ListAuditEvents(size=1000, **filters), service.local_actor)
    return list(page)


def verify(service: Service, **fields: Any) -> AuditReport:
    return service.dispatcher.call(operations.VERIFY, VerifyAudit(**fields), service.local_actor)


def test_changes_are_on_record_with_how_they_ended(service: Service, alice: Person) -> None:
    """Who, what, about which secret and version, and the outcome, also of what was refused. Reads of an embedded store are not."""
    made = alice.create("s", {"k": VALUE})
    alice.update(made.id, {"k": f"{VALUE}2"})
    alice.get(made.id)
    with pytest.raises(Forbidden):
        alice.as_role(Role.VIEWER).delete(made.id)
    with pytest.raises(NotFound):
        alice.delete(ABSENT)
    alice.delete(made.id)
    found = [(item.operation, item.actor, item.target_id, item.version, item.outcome) for item in reversed(events(service))]
    assert found == [
        ("secret.create", "alice", made.id, 1, "ok"),
        ("secret.update", "alice", made.id, 2, "ok"),
        ("secret.delete", "alice", made.id, None, "forbidden"),
        ("secret.delete", "alice", ABSENT, None, "not_found"),
        ("secret.delete", "alice", made.id, None, "ok"),
    ]
    assert [item.number for item in reversed(events(service))] == [1, 2, 3, 4, 5]


def test_reads_too_where_that_is_wanted(settings: Settings) -> None:
    """With `audit` set to all, reads are on record, a resolution by each secret that was read."""
    service = Service(replace(settings, audit="all"))
    alice = add_person(service, "alice")
    one = alice.create("one", {"k": VALUE, "l": VALUE})
    alice.create("two", {"k": VALUE})
    alice.get_by_name("one")
    references = [Reference("one", "k"), Reference("one", "l"), Reference("two", "k"), Reference("absent", "k")]
    service.dispatcher.call(of_secret.RESOLVE, ResolveReferences(references=references), alice.actor)
    found = [(item.operation, item.target, item.version) for item in events(service) if not item.operation.startswith("audit.")]
    assert found[3] == ("secret.get-by-name", "one", 1)
    assert sorted(found[1:3]) == [("secret.resolve", "one", 1), ("secret.resolve", "two", 1)]
    assert found[0] == ("secret.resolve", "", None)
    refused = events(service, operation="secret.resolve", outcome="not_found")[0]
    assert refused.detail == "1 reference: no_secret"
    assert events(service, target_id=one.id, operation="secret.get-by-name")[0].actor == "alice"
    service.close()


def test_no_value_is_on_record(service: Service, alice: Person) -> None:
    """Neither a value, nor a password, nor the name of a failed login, which may be a password typed into the wrong field."""
    alice.create("s", {"k": VALUE})
    with pytest.raises(StrongroomError):
        alice.create("s", {"k": VALUE})
    request = Login(username=f"{CANARY}-typed", password=SecretText(VALUE))
    with pytest.raises(StrongroomError):
        service.dispatcher.call(of_user.LOGIN, request, Actor.anonymous("192.0.2.7"))
    for wrong in (lambda: alice.get_by_name(VALUE), lambda: alice.update(VALUE, {"k": VALUE}), lambda: alice.delete(VALUE)):
        with pytest.raises(StrongroomError):
            wrong()
    with service.deployment.database.read() as connection:
        rows = connection.execute(select(audit_events)).all()
    assert len(rows) == 5
    assert not any(holds_canary(bytes(field) if isinstance(field, bytes) else str(field)) for row in rows for field in row)
    last = events(service, operation="user.login")[0]
    assert (last.operation, last.outcome, last.address, last.target) == ("user.login", "unauthenticated", "192.0.2.7", "")


def test_odd_names_are_recorded_as_text(service: Service, alice: Person) -> None:
    """Whatever somebody asks for is put down in printable ASCII, cut to a length."""
    for name in ("é\0\n", "x" * 5_000, "\ud800"):
        with pytest.raises(StrongroomError):
            alice.delete(name)
    assert all(item.target_id.isprintable() and len(item.target_id) <= 255 for item in events(service))
    assert verify(service).valid


def test_a_whole_trail_is_valid(service: Service, alice: Person) -> None:
    """An empty one too; the report's number and mark are found again later."""
    assert verify(service) == AuditReport(events=0, mark="0" * 64, valid=True, problems=[])
    for number in range(5):
        alice.create(f"s{number}", {"k": VALUE})
    report = verify(service)
    assert (report.events, report.valid) == (5, True)
    alice.create("later", {"k": VALUE})
    assert verify(service, number=report.events, mark=report.mark).valid
    with pytest.raises(InvalidInput):
        verify(service, number=5)


def _edit(connection: Connection) -> None:
    facts = connection.execute(select(audit_events.c.facts).where(audit_events.c.number == 3)).scalar_one()
    connection.execute(update(audit_events).where(audit_events.c.number == 3).values(facts=facts.replace(b"alice", b"mally")))


def _hide(connection: Connection) -> None:
    connection.execute(update(audit_events).where(audit_events.c.number == 3).values(target_id="elsewhere"))


def _remove(connection: Connection) -> None:
    connection.execute(delete(audit_events).where(audit_events.c.number == 3))


def _cut(connection: Connection) -> None:
    connection.execute(delete(audit_events).where(audit_events.c.number > 3))


def _cut_with_head(connection: Connection) -> None:
    mark = connection.execute(select(audit_events.c.mark).where(audit_events.c.number == 3)).scalar_one()
    connection.execute(delete(audit_events).where(audit_events.c.number > 3))
    connection.execute(update(audit_head).values(number=3, mark=mark))


def _swap(connection: Connection) -> None:
    for before, after in ((2, 100), (3, 2), (100, 3)):
        connection.execute(update(audit_events).where(audit_events.c.number == before).values(number=after))


def _empty(connection: Connection) -> None:
    connection.execute(delete(audit_events))


def _behead(connection: Connection) -> None:
    connection.execute(delete(audit_head))


@pytest.mark.parametrize(
    "tamper", [_edit, _hide, _remove, _cut, _cut_with_head, _swap, _empty, _behead], ids=lambda each: each.__name__
)
def test_whoever_changes_the_database_is_noticed(service: Service, alice: Person, tamper: Callable[[Connection], None]) -> None:
    """Edited, hidden from filters, removed, cut off, reordered: the report is not valid and says where."""
    for number in range(5):
        alice.create(f"s{number}", {"k": VALUE})
    with service.deployment.database.write() as connection:
        tamper(connection)
    report = verify(service)
    assert not report.valid
    assert report.problems


def test_an_older_trail_is_noticed_by_whoever_kept_the_mark(service: Service, alice: Person) -> None:
    """An older copy of events and head holds in itself; what is known outside the database tells, and an earlier report."""
    alice.create("one", {"k": VALUE})
    with service.deployment.database.read() as connection:
        head = connection.execute(select(audit_head)).one()
    alice.create("two", {"k": VALUE})
    report = verify(service)
    with service.deployment.database.write() as connection:
        connection.execute(delete(audit_events).where(audit_events.c.number > 1))
        connection.execute(update(audit_head).values(number=head.number, mark=head.mark, head=head.head))
    assert not verify(service).valid
    assert not verify(service, number=report.events, mark=report.mark).valid


def test_many_at_once_make_one_chain(service: Service, alice: Person) -> None:
    """Threads that write at the same time take turns; no event is lost, and the chain holds."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: alice.create(f"s{number}", {"k": VALUE}), range(40)))
    assert verify(service).events == 40
    assert verify(service).valid


def _create_some(settings: Settings, first: int) -> None:
    service = Service(settings)
    alice = Person(service, service.local_actor)
    for number in range(first, first + 10):
        alice.create(f"s{number}", {"k": VALUE})
    service.close()


def test_processes_make_one_chain(settings: Settings) -> None:
    """So do processes that begin the chain together."""
    outcomes = run_together(_create_some, [(settings, first) for first in (0, 100, 200)])
    assert [outcome.error for outcome in outcomes] == [None] * 3
    service = Service(settings)
    assert (verify(service).events, verify(service).valid) == (30, True)
    service.close()


def test_a_change_whose_event_cannot_be_recorded_is_not_made(service: Service, alice: Person) -> None:
    """A change and its event are one transaction: the caller gets an error, and the change is undone."""
    alice.create("first", {"k": VALUE})
    with service.deployment.database.write() as connection:
        connection.execute(
            text("DROP TABLE audit_events" if service.deployment.database.has_one_writer else "DROP TABLE audit_outbox")
        )
    with pytest.raises(Unavailable):
        alice.create("second", {"k": VALUE})
    assert [secret.name for secret in alice.list()] == ["first"]


def test_the_trail_is_for_administrators_of_the_server(service: Service, alice: Person) -> None:
    """An administrator of a workspace is none."""
    for operation, request in ((operations.LIST, ListAuditEvents()), (operations.VERIFY, VerifyAudit())):
        with pytest.raises(Forbidden):
            service.dispatcher.call(operation, request, alice.as_role(Role.ADMIN).actor)


def test_events_of_a_time(service: Service, alice: Person) -> None:
    """From `since` on and before `until`, both with their zone, together with other filters; also where events are missing."""
    for number in range(6):
        alice.create(f"s{number}", {"k": VALUE})
    found = events(service, after=0)
    for first in range(6):
        assert events(service, since=found[first].moment, after=0) == found[first:]
        assert events(service, until=found[first].moment, after=0) == found[:first]
        assert events(service, since=found[first].moment, until=found[4].moment, after=0) == found[first:4]
    moments = found[1].moment.astimezone(timezone(timedelta(hours=5))), found[5].moment
    assert [item.target for item in events(service, since=moments[0], until=moments[1], target="s3")] == ["s3"]
    assert events(service, since=datetime(9999, 12, 30, tzinfo=UTC)) == events(service, until=datetime(1, 1, 2, tzinfo=UTC)) == []
    page = service.dispatcher.call(operations.LIST, ListAuditEvents(since=found[2].moment, page=2, size=3), service.local_actor)
    assert ([item.number for item in page], page.total) == ([3], 4)
    for field in ("since", "until"):
        with pytest.raises(InvalidInput, match=f"'{field}' takes a time with its zone"):
            events(service, **{field: datetime(2026, 1, 1)})
    with service.deployment.database.write() as connection:
        connection.execute(delete(audit_events).where(audit_events.c.number.in_([1, 3, 4])))
    assert [item.number for item in events(service, since=found[2].moment)] == [6, 5]
    assert [item.number for item in events(service, until=found[4].moment)] == [2]


def test_filters_and_pages(service: Service, alice: Person, bob: Person) -> None:
    """Exact filters, newest first; with `after` in order, to go on with."""
    for number in range(3):
        alice.create(f"s{number}", {"k": VALUE})
    own = bob.create("own", {"k": VALUE}, scope=Scope.USER)
    assert [(item.target, item.target_id) for item in events(service, actor="bob")] == [(own.id, own.id)]  # a name of bob's alone
    assert [item.number for item in events(service, after=2)] == [3, 4]
    assert events(service, target="s1")[0].operation == "secret.create"
    assert events(service, outcome="forbidden") == events(service, target="\0") == []
    page = service.dispatcher.call(operations.LIST, ListAuditEvents(page=2, size=3), service.local_actor)
    assert ([item.number for item in page], page.total) == ([1], 4)
