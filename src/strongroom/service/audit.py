"""Reading and verifying the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from strongroom.audit.chain import Entry, Verification, audit_key
from strongroom.auth.actor import Actor
from strongroom.errors import InvalidInput
from strongroom.metadata import audit as index
from strongroom.metadata.audit import EventRow
from strongroom.models.audit_event import (
    MOST_PROBLEMS,
    AcknowledgeAudit,
    AuditEvent,
    AuditProblem,
    AuditReport,
    ListAuditEvents,
    VerifyAudit,
    problem_digest,
)
from strongroom.models.filter import from_microseconds, to_microseconds
from strongroom.models.page import Page, check_page, offset_of
from strongroom.service.audit_head import ACKNOWLEDGE, is_trouble
from strongroom.service.audit_log import AuditLog, new_event
from strongroom.service.audit_pointers import Pointers
from strongroom.service.deployment import Deployment
from strongroom.service.facts import OK, Facts, decode_facts, facts_of_administration
from strongroom.service.private_names import hide_in_events

if TYPE_CHECKING:
    from sqlalchemy import Connection


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
                actor.user_id,
                after=request.after,
                offset=offset_of(request.page, request.size),
                size=request.size,
                first=None if since is None else _number_at(connection, since),
                end=None if until is None else _number_at(connection, until),
            )
            readable = [facts_or_none(row) or _UNREADABLE for row in rows]
            facts = hide_in_events(connection, actor, readable)
        items = [_shown(row.number, each) for row, each in zip(rows, facts, strict=True)]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def verify(self, actor: Actor, request: VerifyAudit) -> AuditReport:
        """Follows the whole chain in one snapshot, and compares it with what is known outside of it.

        Time grows with the number of events; memory with the number of secrets, of journals and of problems.
        """
        if (request.number is None) is not (request.mark is None):
            raise InvalidInput("give both number and mark of an earlier report, or none of them")
        self._log.collect_all()
        report = self._follow(request, self._log.problems())
        self._log.keep_head()
        return report

    def acknowledge(self, actor: Actor, request: AcknowledgeAudit) -> AuditReport:
        """Declares the problems of a report investigated: `verify` does not count exactly these any more.

        The event of this operation holds digests of them. `InvalidInput` if number and mark are not those of an event of the chain,
        which a report printed.
        """
        report = self._follow(VerifyAudit(number=request.number, mark=request.mark), self._log.problems())
        lacking = f"the trail does not hold the event {request.number} of the earlier report"
        if request.number < 1 or any(each.reason == lacking for each in report.problems):
            raise InvalidInput("number and mark must be those that a verification printed", hint="run: strongroom audit verify")
        seen = [each for each in report.problems if each.number <= request.number]
        return msgspec.structs.replace(report, problems=seen)

    def _follow(self, request: VerifyAudit, beside: Sequence[str]) -> AuditReport:
        verification, pointers = Verification(self._key), Pointers(of_one_writer=self._database.has_one_writer)
        entries = _Entries()
        acknowledged: set[str] = set()
        expected = {} if not request.number or request.mark is None else {request.number: request.mark}
        seen = set[int]()
        self._log.head.what_the_anchor_lacks(0)  # reads it before the snapshot, so that it is not newer
        known = self._log.head.known()
        known_is_there = known is None or known.number == 0
        with self._database.snapshot() as connection:
            head, base = index.find_head(connection), index.find_base(connection)
            if base is not None:
                verification.begin(*base)
                entries.pruned = True
            for row, columns in index.all_events(connection, 2**62):
                broken = len(verification.breaks)
                verification.follow(Entry(row.number, row.facts, row.mark))
                facts = facts_or_none(row)
                if facts is None or columns != new_event(row.number, row.facts, row.mark, facts):
                    verification.tell(row.number, "the columns that it is found by were changed")
                if facts is not None and (wrong := entries.follow(facts.entry)) is not None:
                    verification.tell(row.number, wrong)
                if facts is not None and len(verification.breaks) == broken:
                    if facts.operation == ACKNOWLEDGE and facts.outcome == OK:
                        acknowledged.update(facts.detail.split())
                    pointers.follow(row.number, facts)
                    if is_trouble(facts):
                        verification.tell(row.number, f"on record: {facts.operation} of {facts.target}: {facts.outcome}")
                if expected.get(row.number) == row.mark.hex():
                    seen.add(row.number)
                known_is_there = known_is_there or (known is not None and (row.number, row.mark) == (known.number, known.mark))
            for number, wrong in pointers.compare(connection):
                verification.tell(number, wrong)
        if head is None:
            verification.tell(verification.number, "the end of the chain was removed")
        else:
            verification.end(*head)
        archived = 0 if base is None else base[0]
        if known is not None and not known_is_there and known.number > archived:
            verification.tell(known.number, "the trail was cut off here, or replaced by an older copy, as is known outside of it")
        if (lack := self._log.head.what_the_anchor_lacks(verification.number)) is not None:
            verification.tell(0, f"the note of the newest event outside the database is {lack}")
        for text in beside:
            verification.tell(0, text)
        for number in expected.keys() - seen:
            if not (base is not None and number == base[0] and base[1].hex() == expected[number]):
                verification.tell(number, f"the trail does not hold the event {number} of the earlier report")
        problems = [AuditProblem(number=each.number, reason=each.reason) for each in verification.breaks]
        left = [each for each in problems if problem_digest(each) not in acknowledged]
        return AuditReport(
            events=verification.number,
            mark=verification.mark.hex(),
            valid=not left,
            problems=left[:MOST_PROBLEMS],
            acknowledged=len(problems) - len(left),
        )


class _Entries:
    """Follows the numbers that events had in the journals they come from: none may be missing or come twice."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self.pruned = False

    def follow(self, entry: str) -> str | None:
        """Returns what is wrong with the next event, if it comes from a journal."""
        journal, slash, text = entry.partition("/")
        if not slash:
            return None
        number, last = int(text), self._last.get(journal)
        self._last[journal] = max(number, last or 0)
        if last is None and (number == 1 or self.pruned):
            return None
        if number == (last or 0) + 1:
            return None
        repeated = number <= (last or 0)
        return f"event {number} of the journal {journal} {'is here again' if repeated else 'comes after a gap'}"


def _moment(field: str, time: datetime | None) -> int | None:
    if time is not None and time.tzinfo is None:
        raise InvalidInput(f"'{field}' takes a time with its zone", hint="for example 2026-01-31T09:00:00Z")
    return None if time is None else to_microseconds(time)


def _number_at(connection: Connection, moment: int) -> int:
    """The number of the first event at or after the moment; behind the last one if there is none."""
    head = index.find_head(connection)
    base = index.find_base(connection)
    low, high = (base[0] if base else 0) + 1, (head[0] if head else 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = index.find_event(connection, middle)
        facts = None if row is None else facts_or_none(row)
        while row is not None and facts is None:  # it was changed: the next one tells
            row = index.find_event(connection, row.number + 1)
            facts = None if row is None else facts_or_none(row)
        if row is None or facts is None or facts.moment >= moment:
            high = middle
        else:
            low = row.number + 1
    return low


def facts_or_none(row: EventRow) -> Facts | None:
    """Returns the facts of an event; None if it was changed so that they cannot be read."""
    try:
        return decode_facts(row.facts)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


_UNREADABLE = msgspec.structs.replace(
    facts_of_administration("", Actor.anonymous(), "", "", "unreadable", "this event was changed: see audit verify"), moment=0
)


def _shown(number: int, facts: Facts) -> AuditEvent:
    """The event; one that was changed and cannot be read has the outcome `unreadable`, so that it does not hide the others."""
    fields = msgspec.structs.asdict(facts)
    moment, _, _ = fields.pop("moment"), fields.pop("entry"), fields.pop("scope")
    return AuditEvent(number=number, moment=from_microseconds(moment), **fields)
