"""Whatever is done to a table or a file of the audit trail: verification reports it, and later events are recorded nonetheless."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Table, delete, insert, select, update

from strongroom.audit import archive as archives
from strongroom.audit.chain import canonical
from strongroom.audit.journal import Journal
from strongroom.config import Settings
from strongroom.db.tables import audit_events, audit_head, audit_journals, audit_outbox
from strongroom.errors import InvalidInput
from strongroom.models.audit_event import AcknowledgeAudit, AuditReport, ListAuditEvents, VerifyAudit
from strongroom.operations import audit as operations
from strongroom.operations import secret as of_secret
from strongroom.service.facts import Facts, facts_of
from strongroom.service.wiring import Service

Rows = list[dict[str, Any]]

TABLES = {each.name: each for each in (audit_events, audit_head, audit_journals, audit_outbox)}
TABLE_ACTIONS = ("remove", "remove_one", "truncate", "zero", "older_copy", "duplicate", "reorder", "edit", "renumber")
FILE_ACTIONS = ("remove", "truncate", "zero", "older_copy", "duplicate", "reorder", "edit", "replace")
MOMENTS = ("live", "collected", "crashed")


class Trail:
    """A deployment at work: a process that records events as a server does, and can crash."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._numbers = itertools.count()
        self.recorded: list[str] = []
        self._open()

    def _open(self) -> None:
        self.service = Service(self.settings)
        self.log = self.service.trail
        self.journal: Journal | None = self.log.new_journal()
        [self._fact] = facts_of(of_secret.LIST, self.service.local_actor, None, None)

    def facts(self) -> Facts:
        self.recorded.append(f"event-{next(self._numbers)}")
        return replace(self._fact, target=self.recorded[-1])

    def record(self, count: int = 4) -> list[str]:
        """Records events where a server puts those of reads. Returns what they are about."""
        for _ in range(count):
            if self.journal is None:
                self.log.record([self.facts()])
                continue
            fact = canonical(self.facts())
            try:
                self.journal.write(self.journal.numbered([fact]))
            except OSError:  # the request is refused; the next one finds another journal
                self.log.finish(self.journal)
                self.journal = self.log.new_journal()
                assert self.journal is not None
                self.journal.write(self.journal.numbered([fact]))
            self.journal.sync()
            self.journal.mark_durable(self.journal.end)
        return self.recorded[-count:]

    def move(self) -> None:
        """What a server does a quarter of a second later."""
        if self.journal is None:
            self.log.settle()
            self.log.check_outbox()
            self.log.settle()
        else:
            self.log.collect(self.journal)
            if self.journal.damaged:
                self.log.finish(self.journal)
                self.journal = self.log.new_journal()
        self.log.keep_head()

    def crash(self) -> None:
        """Forgets all that is in memory, and leaves the files as they are."""
        if self.journal is not None:
            self.journal.close()
        if self.log._note is not None:
            self.log._note.release(remove=False)
        self.service.deployment.close()

    def start(self) -> None:
        """Starts again after a crash."""
        self._open()
        self.log.collect_all()

    def close(self) -> None:
        if self.journal is not None:
            self.log.finish(self.journal)
        self.service.close()

    def verify(self) -> AuditReport:
        return self.service.dispatcher.call(operations.VERIFY, VerifyAudit(), self.service.local_actor)

    def targets(self) -> list[str]:
        page = self.service.dispatcher.call(operations.LIST, ListAuditEvents(size=1000, after=0), self.service.local_actor)
        return [each.target for each in page if each.operation == "secret.list"]

    def files(self, kind: str) -> list[Path]:
        """The files of the trail, by what they are: journal, anchor, mark."""
        beside = Path(f"{self.service.deployment.database.url.database}-audit")
        folder = beside if kind == "journal" else self.settings.folder
        return sorted(folder.glob(f"*.{kind}"))

    def rows(self, name: str) -> Rows:
        with self.service.deployment.database.read() as connection:
            return [dict(row) for row in connection.execute(select(TABLES[name])).mappings()]


@pytest.fixture
def trail(settings: Settings) -> Iterator[Trail]:
    made = Trail(settings)
    yield made
    made.close()


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _blob(row: dict[str, Any]) -> str:
    return "facts" if "facts" in row else "mark"


def tampered_rows(name: str, rows: Rows, older: Rows, action: str) -> Rows | None:
    """The rows as somebody leaves them who can write to the table; None where there is nothing to do."""
    key = next(iter(TABLES[name].primary_key.columns)).name
    changed = [dict(row) for row in rows]
    if not rows:
        return older if action == "older_copy" and older else None
    last = changed[-1]
    match action:
        case "remove":
            return []
        case "remove_one":
            return changed[:-2] + changed[-1:] if len(changed) > 1 else []
        case "truncate":
            return changed[:-2]
        case "zero":
            last[_blob(last)] = bytes(len(last[_blob(last)]))
        case "older_copy":
            return None if older == rows else older
        case "duplicate":
            if name in ("audit_head", "audit_journals"):
                return None  # one row of each; a second one has another key, which nothing looks for
            copy = dict(last)
            copy[key] = last[key] + 1 if isinstance(last[key], int) else f"{last[key][:-1]}{'0' if last[key][-1] != '0' else '1'}"
            changed.append(copy)
        case "reorder":
            if len(changed) < 2:
                return None
            changed[-1][key], changed[-2][key] = changed[-2][key], changed[-1][key]
        case "edit":
            last[_blob(last)] = _flip(last[_blob(last)])
        case "renumber":
            field = {"audit_journals": "position", "audit_head": "number", "audit_events": "number", "audit_outbox": "id"}[name]
            last[field] = last[field] + 7 if isinstance(last[field], int) else f"{last[field][:-4]}ffff"
    return changed


def put_rows(connection: Connection, table: Table, rows: Rows) -> None:
    connection.execute(delete(table))
    for row in rows:
        connection.execute(insert(table).values(**row))


def used_bytes(path: Path) -> int:
    """How much of a file is in use: journals are made of zeros first."""
    return len(path.read_bytes().rstrip(b"\0"))


def tamper_with_file(path: Path, older: bytes, action: str) -> bool:
    """Does it; false where there is nothing to do."""
    data, used = path.read_bytes(), used_bytes(path)
    with path.open("r+b") as file:
        match action:
            case "truncate":
                file.truncate(used // 2)
            case "zero":
                file.seek(used - 60 if used > 200 else 0)
                file.write(bytes(min(60, used)))
            case "older_copy":
                if older == data:
                    return False
                file.write(older)
                file.truncate(len(older))
            case "reorder":
                half = used // 2
                file.write(data[half:used] + data[:half])
            case "edit":
                file.seek(used - 1)
                file.write(bytes([data[used - 1] ^ 1]))
    if action == "remove":
        path.unlink()
    if action == "duplicate":
        shutil.copy(path, path.with_name(f"{'a' * 16}{path.suffix}"))
    if action == "replace":  # another file of the same name, so that a writer goes on in the one that nobody sees
        path.unlink()
        path.write_bytes(bytes(len(data)))
    return True


def prepare(trail: Trail, moment: str, snapshot: Callable[[], Any]) -> Any:
    """Brings the trail to the moment; returns what was copied before half of its events were there."""
    trail.record()
    trail.move()
    older = snapshot()
    trail.record()
    if moment == "collected":
        trail.move()
    if moment == "crashed":
        trail.log.keep_head()
        trail.crash()
    return older


def go_on(trail: Trail, moment: str) -> None:
    """Verification reports it, also later; and what happens after the tampering is on record, each once."""
    if moment == "crashed":
        trail.start()
    for _ in range(2):
        later = trail.record()
        trail.move()
        first = trail.verify()
        found = trail.targets()
        assert [found.count(each) for each in later] == [1] * len(later)
    assert not first.valid
    if trail.journal is not None:  # an orderly end, and another start
        trail.log.finish(trail.journal)
        trail.journal = trail.log.new_journal()
    later = trail.record()
    trail.move()
    found = trail.targets()
    assert [found.count(each) for each in later] == [1] * len(later)
    assert not trail.verify().valid


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("action", TABLE_ACTIONS)
@pytest.mark.parametrize("name", TABLES)
def test_tables(trail: Trail, name: str, action: str, moment: str) -> None:
    """Each table of the trail, changed in each way, at each moment."""
    if (name == "audit_outbox") is trail.service.deployment.database.has_one_writer and name in ("audit_outbox", "audit_journals"):
        pytest.skip("this database has no such rows")
    if name == "audit_journals" and trail.journal is None:
        pytest.skip("this database has no such rows")
    older = prepare(trail, moment, lambda: trail.rows(name))
    if moment == "crashed":
        trail.service = Service(trail.settings)  # for the attacker's connection alone
    rows = tampered_rows(name, trail.rows(name), older, action)
    if rows is None or (name, action, moment) in HARMLESS:
        if moment == "crashed":
            trail.crash()
            trail.start()
        pytest.skip("nothing to change")
    with trail.service.deployment.database.write() as connection:
        put_rows(connection, TABLES[name], rows)
    if moment == "crashed":
        trail.service.deployment.close()
    go_on(trail, moment)


HARMLESS: set[tuple[str, str, str]] = set()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("action", FILE_ACTIONS)
@pytest.mark.parametrize("kind", ["journal", "anchor", "mark"])
def test_files(local_settings: Settings, kind: str, action: str, moment: str) -> None:
    """Each file of the trail, changed in each way, at each moment."""
    if kind != "journal" and action == "duplicate":
        pytest.skip("nothing looks for another one")
    if (kind, action) == ("anchor", "older_copy") or (kind == "mark" and (moment != "crashed" or action == "older_copy")):
        pytest.skip("by itself this takes nothing away: what an older note says is true, and a living process goes by its memory")
    trail = Trail(local_settings)
    with contextlib.closing(trail):
        older = prepare(trail, moment, lambda: trail.files(kind)[0].read_bytes())
        assert tamper_with_file(trail.files(kind)[0], older, action)
        go_on(trail, moment)


def test_the_head_and_the_events_cut_back_together(trail: Trail) -> None:
    """All tables as they were before: what is known outside of the database tells, to a process that starts afterwards, too."""
    tables = ("audit_events", "audit_head", "audit_journals", "audit_outbox")
    older = prepare(trail, "collected", lambda: {name: trail.rows(name) for name in tables})
    trail.crash()
    trail.service = Service(trail.settings)
    with trail.service.deployment.database.write() as connection:
        for name in tables:
            put_rows(connection, TABLES[name], older[name])
    trail.service.deployment.close()
    go_on(trail, "crashed")


def test_an_event_of_the_outbox_comes_into_the_chain_once(postgresql_settings: Settings) -> None:
    """A row that is put back after it was moved is on record as replayed."""
    trail = Trail(postgresql_settings)
    with contextlib.closing(trail):
        trail.record()
        rows = trail.rows("audit_outbox")
        trail.move()
        with trail.service.deployment.database.write() as connection:
            put_rows(connection, audit_outbox, rows)
        trail.move()
        assert trail.targets() == trail.recorded
        assert [each.reason for each in trail.verify().problems] == ["on record: audit.collect of outbox: replayed"]


def test_a_forged_event_with_a_huge_number_stops_nobody(trail: Trail) -> None:
    """The next number still fits its column."""
    trail.record()
    trail.move()
    [row] = trail.rows("audit_events")[-1:]
    with trail.service.deployment.database.write() as connection:
        connection.execute(insert(audit_events).values(**(row | {"number": 2**63 - 1})))
    go_on(trail, "live")


def acknowledge(trail: Trail, report: AuditReport) -> AuditReport:
    request = AcknowledgeAudit(number=report.events, mark=report.mark)
    return trail.service.dispatcher.call(operations.ACKNOWLEDGE, request, trail.service.local_actor)


def _set_target(connection: Connection, number: int) -> None:
    connection.execute(update(audit_events).where(audit_events.c.number == number).values(target="elsewhere"))


def test_what_was_investigated_is_acknowledged_and_nothing_else(trail: Trail) -> None:
    """Verification holds again, with the number of acknowledged problems; another problem, or more of the same, fails it."""
    trail.record()
    trail.move()
    database = trail.service.deployment.database
    with database.write() as connection:
        _set_target(connection, 2)
    report = trail.verify()
    assert (report.valid, len(report.problems)) == (False, 1)
    acknowledge(trail, report)
    again = trail.verify()
    assert (again.valid, again.acknowledged, again.problems) == (True, 1, [])
    with database.write() as connection:
        _set_target(connection, 3)
    assert not trail.verify().valid
    with database.write() as connection:
        connection.execute(delete(audit_events).where(audit_events.c.number == 2))
    assert {each.number for each in trail.verify().problems} == {3}


def test_untouched_it_holds(trail: Trail) -> None:
    """Without tampering nothing is reported: live, collected, after a crash, and after an orderly end."""
    for moment in MOMENTS:
        prepare(trail, moment, lambda: None)
        if moment == "crashed":
            trail.start()
        trail.record()
        assert trail.verify() == replace(trail.verify(), valid=True, problems=[])
        trail.move()
        assert trail.targets() == trail.recorded


def test_archived_events_verify_by_themselves_and_the_rest_goes_on(trail: Trail, tmp_path: Path) -> None:
    """An archive that was edited or cut off is refused; the chain that remains verifies, and shows tampering."""
    trail.record()
    trail.move()
    file = tmp_path / "archive"
    summary = trail.service.archive_audit(datetime.now(UTC) + timedelta(days=1), file)
    kept = trail.record()
    trail.move()
    assert archives.verify(file) == summary
    report = trail.verify()
    assert (report.valid, report.problems) == (True, [])
    assert trail.targets() == kept
    lines = file.read_bytes().splitlines(keepends=True)
    for changed in (
        [*lines[:2], lines[2].replace(b"event-", b"EVENT-"), *lines[3:]],
        lines[:-1],
        [*lines[:2], *lines[3:]],
        [lines[0], lines[2], lines[1], *lines[3:]],
        [lines[0].replace(b'"begins":0', b'"begins":1'), *lines[1:]],
    ):
        file.write_bytes(b"".join(changed))
        with pytest.raises(archives.NotAnArchive):
            archives.verify(file)
    again = trail.service.archive_audit(datetime.now(UTC) + timedelta(days=1), tmp_path / "next")
    assert (again.begins, again.key) == (summary.ends, summary.key)
    assert trail.verify().valid
    with pytest.raises(InvalidInput, match="exists"):
        trail.service.archive_audit(datetime.now(UTC) + timedelta(days=1), tmp_path / "next")
    with trail.service.deployment.database.write() as connection:
        connection.execute(delete(audit_head).where(audit_head.c.id == 2))
    assert not trail.verify().valid
