"""Writing and reading the audit trail."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from strongroom.audit.chain import START, Entry, Verification, audit_key, canonical, extend, head_mark
from strongroom.audit.journal import SUPPORTED, Journal, Position, journals, read, remove, set_aside, start_of, taken_over
from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Deadlocked
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, StaleVersion, StrongroomError, Unavailable
from strongroom.metadata import audit as index
from strongroom.metadata.audit import EventRow, NewEvent
from strongroom.models.audit_event import AuditEvent, AuditProblem, AuditReport, ListAuditEvents, VerifyAudit
from strongroom.models.filter import from_microseconds, to_microseconds
from strongroom.models.page import Page, check_page, offset_of
from strongroom.operations.operation import Operation
from strongroom.service.deployment import Deployment

if TYPE_CHECKING:
    from sqlalchemy import Connection

OK = "ok"
_TELLING = (OK, Forbidden.code, AlreadyExists.code, StaleVersion.code)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of an event; the moment in microseconds since 1970."""

    moment: int
    workspace: str
    actor: str
    actor_id: str
    token_id: str | None
    operation: str
    target: str
    target_id: str
    version: int | None
    outcome: str
    address: str


_decode = msgspec.json.Decoder(Facts).decode
COLLECTED = 128
"""So many events are moved from a journal to the chain at once: others wait meanwhile, a millisecond or two."""

_DONE = -1
"""The position of a journal whose events are all in the chain, and which nobody writes any more."""


def facts_of_administration(operation: str, actor: Actor, target: str, target_id: str, outcome: str) -> Facts:
    """What is to be recorded of something that is no `Operation`: whoever holds database and key did it, without a server."""
    return Facts(
        moment=now(),
        workspace=_text(actor.workspace),
        actor=_text(actor.name),
        actor_id=actor.user_id,
        token_id=None,
        operation=operation,
        target=_text(target),
        target_id=target_id,
        version=None,
        outcome=outcome,
        address="",
    )


def facts_of(operation: Operation[Any, Any], actor: Actor, request: Any, outcome: Any) -> list[Facts]:
    """What is to be recorded of a call: one event, or one for each secret that was resolved. `outcome` is the response or the error.

    Only ids, names and versions are taken from requests and responses. A name that led nowhere is left out: it may be a value or a
    password that was typed in the wrong place. One that was there, or would have been looked up but for a missing right, is told.
    """
    if isinstance(outcome, BaseException):
        response, code = None, outcome.code if isinstance(outcome, StrongroomError) else "internal"
    else:
        response, code = outcome, OK
        if operation.name == "secret.resolve":
            read = {(each.name, each.secret_id, each.version): None for each in outcome.items if each.secret_id is not None}
            if read:
                return [_fact(operation, actor, OK, *each) for each in read]
    # In the path stands what a request is about; elsewhere a name may be a filter of a list.
    asked = _fields_in_path(operation)
    target = getattr(response, "name", None) or ("name" in asked and getattr(request, "name", None))
    target = target or getattr(request, "username", None) or ""
    target_id = getattr(response, "id", None) or ("id" in asked and getattr(request, "id", None)) or ""
    version = getattr(response, "version", None)
    return [_fact(operation, actor, code, str(target), str(target_id), version if isinstance(version, int) else None)]


def _fact(operation: Operation[Any, Any], actor: Actor, code: str, target: str, target_id: str, version: int | None) -> Facts:
    done = code == OK
    return Facts(
        moment=now(),
        workspace=_text(actor.workspace),
        actor=_text(actor.name),
        actor_id=actor.user_id,
        token_id=actor.token_id,
        operation=operation.name,
        target=_text(target) if code in _TELLING and (done or actor.user_id != "") else "",
        target_id=_text(target_id) if done or _ID.fullmatch(target_id) else "",
        version=version,
        outcome=code,
        address=_text(actor.address),
    )


@cache
def _fields_in_path(operation: Operation[Any, Any]) -> tuple[str, ...]:
    return tuple(field for field in ("id", "name") if f"{{{field}}}" in operation.path)


def _text(text: str) -> str:
    """Text as a column of names takes it."""
    return _printable(text[:255])


@lru_cache(1_024)
def _printable(text: str) -> str:
    """Most of it is the same each time."""
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1][:255]


class AuditLog:
    """Adds events to the chain. Thread-safe; processes take turns, by a lock on the chain's head.

    Where the database is a file, a process that answers many requests may put their events on record in a journal beside it, which
    costs less. Whoever looks at the trail, and whoever starts to answer, collects what is in the journals.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._database, self._key = deployment.database, audit_key(deployment.digest_key)
        beside = self._database.has_one_writer and SUPPORTED
        self._folder = Path(f"{self._database.url.database}-audit") if beside else None

    def record(self, facts: Sequence[Facts]) -> None:
        """Adds the events, durably, in one transaction. `Unavailable` when that cannot be done."""
        for _ in range(5):
            try:
                with self._database.write() as connection:
                    self.add(connection, facts)
            except (ConstraintViolated, Deadlocked):  # two processes began the chain at once
                continue
            else:
                return
        raise Unavailable("the audit trail cannot be written", hint="try again")

    def add(self, connection: Connection, facts: Sequence[Facts]) -> None:
        """Adds the events in the caller's transaction. `ConstraintViolated` and `Deadlocked` when another one began the chain."""
        self._add(connection, facts, [canonical(item) for item in facts])

    def _add(self, connection: Connection, facts: Sequence[Facts], written: Sequence[bytes]) -> None:
        if not facts:
            return
        head = index.find_head(connection, lock=True)
        if head is None:
            index.begin(connection, START, head_mark(self._key, 0, START))
            head = (0, START, b"")
        entries = extend(self._key, head[0], head[1], written)
        events = [_new(entry.number, entry.facts, entry.mark, item) for entry, item in zip(entries, facts, strict=True)]
        last = events[-1]
        index.append(connection, events, head_mark(self._key, last.number, last.mark))

    def new_journal(self, spare: Path | None = None) -> Journal | None:
        """A journal for this process, on the place of a spare one; None where the database is no file. `OSError`, `Unavailable`."""
        if self._folder is None:
            return None
        journal = Journal(self._folder, self._key, spare)
        start = start_of(journal.path)
        try:
            with self._database.write() as connection:  # from now on it is told when the file is gone
                index.add_journal(connection, journal.path.name, start.offset, start.mark)
        except BaseException:
            journal.close()
            raise
        return journal

    def collect(self, path: Path, *, patient: bool = True) -> int:
        """Moves up to `COLLECTED` events of a journal, or a few more, on to the chain, in one transaction; gives how many.

        Each is moved once, whoever does it. Unless `patient`, `OthersWrite` when somebody else is writing.
        """
        with self._database.together(patient=patient) as connection:
            return self.collect_in(connection, path)[0]

    def collect_in(self, connection: Connection, path: Path) -> tuple[int, bool]:
        """The same in the caller's transaction, and whether the events end at something that is no entry."""
        noted = index.find_journal(connection, path.name)
        if noted is not None and noted[0] < 0:
            return 0, False
        # Looked at within the transaction: the note of a journal is dropped after its file is gone.
        try:
            found = read(path, self._key, start_of(path) if noted is None else Position(*noted), COLLECTED)
        except FileNotFoundError:
            return 0, False
        except OSError as error:
            raise Unavailable(f"a journal of the audit trail cannot be read: {error.strerror}", hint="look at the disk") from None
        if found.facts:
            self._add(connection, [_decode(item) for item in found.facts], found.facts)
            if noted is None:
                index.add_journal(connection, path.name, found.end.offset, found.end.mark)
            else:
                index.move_journal(connection, path.name, found.end.offset, found.end.mark)
        return len(found.facts), found.broken

    def collect_all(self) -> None:
        """Moves all events of all journals on, and removes the journals of processes that ended.

        What should be there and is not, or was changed, is on record then.
        """
        if self._folder is None:
            return
        found = journals(self._folder)
        for path in found:
            while self._has_more(path) and self.collect(path) >= COLLECTED:
                pass
            self.finish(path)
        with self._database.read() as connection:
            noted = index.journal_names(connection)
        for name in noted - {path.name for path in found}:
            with self._database.together() as connection:
                known = index.find_journal(connection, name)
                if known is not None and not (self._folder / name).exists():
                    if known[0] >= 0:
                        self.add(connection, [_trouble(name, "missing")])
                    index.forget_journal(connection, name)

    def finish(self, path: Path, *, keep: bool = False) -> tuple[int, Path | None]:
        """Moves all events of a journal on, and removes it, if it was left behind; else does nothing.

        Gives how many, and with `keep` the spare file that it has become.
        """
        moved, spare = 0, None
        with taken_over(path) as ours:
            if ours:
                count, broken = COLLECTED, False
                while count >= COLLECTED:
                    with self._database.together() as connection:
                        count, broken = self.collect_in(connection, path)
                        moved += count
                        if count < COLLECTED:
                            if broken:  # nobody was told that it is on record, unless somebody changed it
                                self.add(connection, [_trouble(path.name, "broken")])
                            index.move_journal(connection, path.name, _DONE, b"")
                if keep:
                    spare = set_aside(path)
                else:
                    remove(path)
                with self._database.write() as connection:
                    index.forget_journal(connection, path.name)
        return moved, spare

    def _has_more(self, path: Path) -> bool:
        """Whether a journal has events that are not in the chain. Asks without a turn to write."""
        with self._database.read() as connection:
            noted = index.find_journal(connection, path.name)
        if noted is not None and noted[0] < 0:
            return False
        try:
            return bool(read(path, self._key, start_of(path) if noted is None else Position(*noted), 1).facts)
        except OSError:  # whoever collects looks again
            return True


def _trouble(journal: str, outcome: str) -> Facts:
    return facts_of_administration("audit.collect", Actor.anonymous(), journal, "", outcome)


def _new(number: int, written: bytes, mark: bytes, facts: Facts) -> NewEvent:
    return NewEvent(number, facts.actor, facts.operation, facts.target, facts.target_id, facts.outcome, written, mark)


def done_unrecorded(operation: Operation[Any, Any], outcome: Any, error: StrongroomError) -> StrongroomError:
    """What to say when an event cannot be written: of a change that it was made all the same."""
    if operation.reads or isinstance(outcome, BaseException):
        return error
    return Unavailable(f"the change was made, but it is not in the audit trail: {error.message}", hint="look before you repeat it")


class AuditService:
    """Shows and verifies the audit trail, for administrators of the server. Thread-safe."""

    def __init__(self, deployment: Deployment, log: AuditLog) -> None:
        self._database, self._key, self._log = deployment.database, audit_key(deployment.digest_key), log

    def list(self, actor: Actor, request: ListAuditEvents) -> Page[AuditEvent]:
        """A page of events, newest first.

        Times are looked up by halving the trail, in a few reads: events lie in the order in which they were recorded, which is
        that of their times as far as the clocks of all processes agree.
        """
        check_page(request.page, request.size)
        given = {name: getattr(request, name) for name in ("actor", "operation", "target", "target_id", "outcome")}
        filters = {name: text for name, text in given.items() if text is not None}
        if request.after is not None and not 0 <= request.after < 2**62:
            raise InvalidInput("'after' is the number of an event")
        since, until = _moment("since", request.since), _moment("until", request.until)
        self._log.collect_all()
        with self._database.snapshot() as connection:
            rows, total = index.list_events(
                connection,
                filters,
                after=request.after,
                offset=offset_of(request.page, request.size),
                size=request.size,
                first=None if since is None else _number_at(connection, since),
                end=None if until is None else _number_at(connection, until),
            )
        return Page.of([_shown(row) for row in rows], total=total, page=request.page, size=request.size)

    def verify(self, actor: Actor, request: VerifyAudit) -> AuditReport:
        """Follows the whole chain in one snapshot. Time and no memory grow with the number of events."""
        if (request.number is None) is not (request.mark is None):
            raise InvalidInput("give both number and mark of an earlier report, or none of them")
        verification = Verification(self._key)
        seen = request.number in (None, 0)
        self._log.collect_all()
        with self._database.snapshot() as connection:
            head = index.find_head(connection)
            for row, columns in index.all_events(connection, 2**62):
                verification.follow(Entry(row.number, row.facts, row.mark))
                facts = _facts_or_none(row)
                if facts is None or columns != _new(row.number, row.facts, row.mark, facts):
                    verification.tell(row.number, "the columns that it is found by were changed")
                seen = seen or (row.number == request.number and row.mark.hex() == request.mark)
        if head is not None:
            verification.end(*head)
        elif verification.number:
            verification.tell(verification.number, "the end of the chain was removed")
        if not seen:
            verification.tell(request.number or 0, "the trail does not hold the event of the earlier report")
        problems = [AuditProblem(number=each.number, reason=each.reason) for each in verification.breaks]
        return AuditReport(events=verification.number, mark=verification.mark.hex(), valid=not problems, problems=problems[:100])


def _moment(field: str, time: datetime | None) -> int | None:
    if time is not None and time.tzinfo is None:
        raise InvalidInput(f"'{field}' takes a time with its zone", hint="for example 2026-01-31T09:00:00Z")
    return None if time is None else to_microseconds(time)


def _number_at(connection: Connection, moment: int) -> int:
    """The number of the first event at or after the moment; behind the last one if there is none."""
    head = index.find_head(connection)
    low, high = 1, (head[0] if head else 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = index.find_event(connection, middle)
        if row is None or _facts(row).moment >= moment:
            high = middle
        else:
            low = row.number + 1
    return low


def _facts_or_none(row: EventRow) -> Facts | None:
    try:
        return _decode(row.facts)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _facts(row: EventRow) -> Facts:
    facts = _facts_or_none(row)
    if facts is None:
        raise Unavailable(f"event {row.number} of the audit trail cannot be read", hint="look at it with: strongroom audit verify")
    return facts


def _shown(row: EventRow) -> AuditEvent:
    fields = msgspec.structs.asdict(_facts(row))
    moment = fields.pop("moment")
    return AuditEvent(number=row.number, moment=from_microseconds(moment), **fields)
