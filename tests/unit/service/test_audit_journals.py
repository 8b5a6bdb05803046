"""Journals beside the database: what is on record there gets into the chain once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.audit.chain import canonical
from strongroom.audit.journal import Journal, journals, remove
from strongroom.errors import Unavailable
from strongroom.metadata import audit as index
from strongroom.models.audit_event import AuditEvent, ListAuditEvents, VerifyAudit
from strongroom.operations import audit as operations
from strongroom.operations import secret as of_secret
from strongroom.service.audit_journals import COLLECTED, DONE, MARKED, OPEN, noted_row
from strongroom.service.facts import facts_of
from strongroom.service.wiring import Service


def note(service: Service, journal: Journal, *targets: str) -> None:
    """Puts events about these targets into the journal."""
    [fact] = facts_of(of_secret.LIST, service.local_actor, None, None)
    journal.write([canonical(fact).replace(b'"target":""', f'"target":"{target}"'.encode()) for target in targets])
    journal.sync()


def listed(service: Service) -> list[AuditEvent]:
    """All events, oldest first. The chain is whole, apart from what is on record."""
    report = service.dispatcher.call(operations.VERIFY, VerifyAudit(), service.local_actor)
    assert all(each.reason.startswith("on record: audit.collect") for each in report.problems)
    page = service.dispatcher.call(operations.LIST, ListAuditEvents(size=1000), service.local_actor)
    assert page.total == len(page)
    return list(page)[::-1]


def targets(service: Service) -> list[str]:
    return [event.target for event in listed(service)]


def noted(service: Service) -> dict[str, int]:
    """The journals that may grow, as the database knows them, with their positions."""
    with service.deployment.database.read() as connection:
        rows = index.list_journals(connection)
    return {row.name: row.position for row in rows if row.state in (OPEN, MARKED)}


@pytest.fixture
def journal(local_service: Service) -> Iterator[Journal]:
    made = local_service.trail.new_journal()
    assert made is not None
    yield made
    with suppress(OSError):  # the test has closed it
        made.close()


@pytest.fixture
def place(journal: Journal) -> Path:
    return journal.path.parent


def test_whoever_looks_sees_what_is_on_record(local_service: Service, journal: Journal) -> None:
    """Listing and verifying collect first; while the journal is written it stays."""
    note(local_service, journal, "a", "b")
    assert targets(local_service) == ["a", "b"]
    note(local_service, journal, "c")
    assert targets(local_service) == ["a", "b", "c"]
    assert noted(local_service) == {journal.path.name: journal.size}


def test_a_journal_that_was_left_behind_is_collected_and_removed(local_service: Service, journal: Journal, place: Path) -> None:
    """All of it, in as many transactions as it takes; file and note are gone then."""
    names = [f"n{number}" for number in range(2 * COLLECTED + 10)]
    for name in names:
        note(local_service, journal, name)
    journal.close()
    local_service.trail.collect_all()
    assert journals(place) == []
    assert noted(local_service) == {}
    assert targets(local_service) == names


def test_many_collect_at_once(local_service: Service, journal: Journal, place: Path) -> None:
    """Each event gets into the chain once, whoever collects, also of journals that are being removed."""
    names = [f"n{number}" for number in range(COLLECTED + 50)]
    for first in range(0, len(names), 3):
        note(local_service, journal, *names[first : first + 3])
    journal.close()
    with ThreadPoolExecutor(6) as threads:
        for each in [threads.submit(local_service.trail.collect_all) for _ in range(12)]:
            each.result()
    assert targets(local_service) == names
    assert (journals(place), noted(local_service)) == ([], {})


def be_done(service: Service, journal: Journal) -> None:
    """As far as a collector gets that is about to remove the journal."""
    journal.close()
    service.trail.collect(journal.path)
    with service.deployment.database.write() as connection:
        index.move_journal(connection, noted_row(service.trail._key, journal.path.name, journal.end, DONE))


@pytest.mark.parametrize("gone", [False, True], ids=["before", "after"])
def test_a_power_cut_while_a_journal_is_removed(local_service: Service, journal: Journal, place: Path, gone: bool) -> None:
    """Before and after its file goes: nothing is recorded twice or told to be missing, and the next one cleans up."""
    note(local_service, journal, "a")
    be_done(local_service, journal)
    if gone:
        remove(journal.path)
    assert targets(local_service) == ["a"]
    assert (journals(place), noted(local_service)) == ([], {})


def test_a_power_cut_while_an_entry_is_written(local_service: Service, journal: Journal, place: Path) -> None:
    """What was on record is there; that something is not whole is on record, too, and is no damage: its answer never left."""
    note(local_service, journal, "a")
    journal.mark_durable(journal.end)
    size = journal.size
    note(local_service, journal, "b")
    with journal.path.open("r+b") as file:
        file.seek(size + 60)
        file.write(bytes(1000))
    assert targets(local_service) == ["a"]  # whoever writes it may be about to write the rest
    journal.close()
    events = listed(local_service)
    assert [(event.operation, event.target, event.outcome) for event in events[1:]] == [
        ("audit.collect", journal.path.name, "unfinished")
    ]
    assert (journals(place), noted(local_service)) == ([], {})


def test_a_journal_that_was_taken_away_is_on_record(local_service: Service, journal: Journal) -> None:
    """Once: whoever deletes a journal cannot hide that there was one."""
    note(local_service, journal, "a")
    journal.path.unlink()
    for _ in range(2):
        events = listed(local_service)
        assert [(each.operation, each.target, each.outcome) for each in events] == [("audit.collect", journal.path.name, "missing")]
    assert noted(local_service) == {}


def test_a_database_that_was_put_back_gets_what_is_in_the_journal(local_service: Service, journal: Journal) -> None:
    """An older state of the database, from before the journal was known, has all of its events again; verification fails."""
    note(local_service, journal, "a")
    assert targets(local_service) == ["a"]
    with local_service.deployment.database.write() as connection:
        for table in ("audit_events", "audit_head", "audit_journals"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    journal.close()
    local_service.trail.collect_all()
    report = local_service.dispatcher.call(operations.VERIFY, VerifyAudit(), local_service.local_actor)
    assert not report.valid
    page = local_service.dispatcher.call(operations.LIST, ListAuditEvents(size=1000), local_service.local_actor)
    found = [(event.operation, event.outcome, event.target) for event in page]
    assert ("secret.list", "ok", "a") in found
    assert ("audit.collect", "unregistered", journal.path.name) in found


def test_what_cannot_be_read_is_told(local_service: Service, journal: Journal) -> None:
    """A journal that is no file any more keeps the trail from being shown as whole."""
    journal.path.unlink()
    journal.path.mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        listed(local_service)
    journal.path.rmdir()


def test_a_journal_of_a_database_that_does_not_answer_is_left(local_service: Service, journal: Journal, place: Path) -> None:
    """Whoever fails to note a new journal leaves nothing that keeps others from going on."""
    with local_service.deployment.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE audit_journals RENAME TO away")
    with pytest.raises(Unavailable):
        local_service.trail.new_journal()
    with local_service.deployment.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO audit_journals")
    journal.close()
    local_service.trail.collect_all()
    assert (journals(place), noted(local_service)) == ([], {})
    assert listed(local_service) == []


def test_databases_that_are_no_file_have_no_journal(service: Service) -> None:
    """There, a disk beside the server may be gone with it."""
    made = service.trail.new_journal()
    assert (made is None) is (service.deployment.database.dialect != "sqlite")
    if made is not None:
        made.close()
