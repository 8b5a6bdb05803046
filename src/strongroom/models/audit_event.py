"""Events of the audit trail."""

from __future__ import annotations

from datetime import datetime

import msgspec

from strongroom.models.page import DEFAULT_PAGE_SIZE

MOST_PROBLEMS = 100
"""So many problems a report lists at most."""


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for what, and how it ended: `ok` or the code of an error. Never a value.

    `number` counts all events of a deployment from 1, without gaps. `target` is the name and `target_id` the id of what it was about.
    `changed` names the fields that the request set, and `detail` tells more, such as a role.
    """

    number: int
    moment: datetime
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
    changed: tuple[str, ...] = ()
    detail: str = ""


class ListAuditEvents(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events, newest first. All filters have to hold; `after` gives only events with a greater number, oldest first.

    `since` and `until` are times with a zone: events from the first one on, and before the second one.
    """

    actor: str | None = None
    operation: str | None = None
    target: str | None = None
    target_id: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class VerifyAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Follows the whole chain. With `number` and `mark` of an earlier report, that event has to be there unchanged."""

    number: int | None = None
    mark: str | None = None


class AcknowledgeAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Declares the problems investigated that verification shows; `number` and `mark` are those of its report."""

    number: int
    mark: str


class AuditProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain does not hold, and how."""

    number: int
    reason: str


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What following the chain showed. Kept elsewhere, `events` and `mark` show when an older trail is put in its place.

    `acknowledged` counts the problems that an administrator declared investigated; they are not in `problems`.
    """

    events: int
    mark: str
    valid: bool
    problems: list[AuditProblem]
    acknowledged: int = 0


def problem_digest(problem: AuditProblem) -> str:
    """Returns what an acknowledgement names a problem by."""
    from hashlib import sha256

    return sha256(f"{problem.number}:{problem.reason}".encode()).hexdigest()[:24]
