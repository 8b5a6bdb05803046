"""Reading and verifying the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from strongroom.audit.chain import Entry, Verification, audit_key
from strongroom.auth.actor import Actor
from strongroom.errors import InvalidInput, Unavailable
from strongroom.metadata import audit as index
from strongroom.metadata.audit import EventRow
from strongroom.models.audit_event import AuditEvent, AuditProblem, AuditReport, ListAuditEvents, VerifyAudit
from strongroom.models.filter import from_microseconds, to_microseconds
from strongroom.models.page import Page, check_page, offset_of
from strongroom.service.audit_log import AuditLog, new_event
from strongroom.service.deployment import Deployment
from strongroom.service.facts import Facts, decode_facts

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
                if facts is None or columns != new_event(row.number, row.facts, row.mark, facts):
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
        return decode_facts(row.facts)
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
