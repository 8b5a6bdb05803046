"""The pages of the audit trail."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from strongroom.errors import InvalidInput
from strongroom.models.audit_event import ListAuditEvents, VerifyAudit
from strongroom.operations import audit as of_audit
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.server.ui.visit import PAGE_SIZE, Visit

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OPERATIONS = tuple(sorted(operation.name for operation in ALL_OPERATIONS))
OUTCOMES = (
    "ok",
    "already_exists",
    "forbidden",
    "invalid",
    "not_found",
    "rate_limited",
    "stale_version",
    "unauthenticated",
    "unavailable",
)


async def list_events(visit: Visit) -> Response:
    """Who did what, newest first."""
    context = await _context(visit)
    if visit.is_partial:
        return visit.piece("audit/_table.html", **context)
    return await visit.page("audit/list.html", **context)


async def verify(visit: Visit) -> Response:
    """Follows the chain, and says whether it holds."""
    await visit.form()
    report = await visit.ask(of_audit.VERIFY, VerifyAudit())
    if visit.is_partial:
        return visit.piece("audit/_report.html", report=report)
    return await visit.page("audit/verified.html", report=report)


async def _context(visit: Visit) -> dict[str, Any]:
    query = visit.request.query_params
    given = {name: query.get(name, "").strip() for name in ("actor", "operation", "target", "outcome")}
    times = {name: query.get(name, "").strip() for name in ("since", "until")}
    is_id = _ID.fullmatch(given["target"].lower()) is not None
    wanted = ListAuditEvents(
        actor=given["actor"] or None,
        operation=given["operation"] or None,
        target=None if is_id else given["target"] or None,
        target_id=given["target"].lower() if is_id else None,
        outcome=given["outcome"] or None,
        since=_time(times["since"]),
        until=_time(times["until"]),
        page=visit.page_number,
        size=PAGE_SIZE,
    )
    found = await visit.ask(of_audit.LIST, wanted)
    filtered = any((*given.values(), *times.values()))
    return {"events": found, **given, **times, "filtered": filtered, "operations": OPERATIONS, "outcomes": OUTCOMES}


def _time(given: str) -> datetime | None:
    """A time in UTC, as browsers send it; None for none."""
    if not given:
        return None
    try:
        return datetime.fromisoformat(given).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidInput("events are found by a time in UTC", hint="for example 2026-01-31T09:00") from None


PAGES = (
    ("GET", "/audit", list_events, False),
    ("POST", "/audit/verify", verify, False),
)
