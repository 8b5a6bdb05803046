"""The client's methods on the audit trail."""

from __future__ import annotations

from datetime import datetime

from strongroom.client.transports.base import Transport
from strongroom.models.audit_event import AcknowledgeAudit, AuditEvent, AuditReport, ListAuditEvents, VerifyAudit
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
from strongroom.operations import audit as operations


class AuditClient:
    """The audit trail, for administrators of the server."""

    _transport: Transport

    def list_audit_events(
        self,
        *,
        actor: str | None = None,
        operation: str | None = None,
        target: str | None = None,
        target_id: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int | None = None,
        page: int = 1,
        size: int = DEFAULT_PAGE_SIZE,
    ) -> Page[AuditEvent]:
        """A page of events, newest first; all filters are exact. With `after` those behind that number, oldest first.

        `since` and `until` are times with a zone: events from the first one on, and before the second one.
        """
        request = ListAuditEvents(
            actor=actor,
            operation=operation,
            target=target,
            target_id=target_id,
            outcome=outcome,
            since=since,
            until=until,
            after=after,
            page=page,
            size=size,
        )
        return self._transport.call(operations.LIST, request)

    def verify_audit(self, *, number: int | None = None, mark: str | None = None) -> AuditReport:
        """Follows the whole chain; `number` and `mark` of an earlier report have to be in it."""
        return self._transport.call(operations.VERIFY, VerifyAudit(number=number, mark=mark))

    def acknowledge_audit(self, number: int, mark: str) -> AuditReport:
        """Declares the problems investigated that `verify_audit` shows; `number` and `mark` are those of its report.

        Returns the report with these problems. Later reports count them as acknowledged.
        """
        return self._transport.call(operations.ACKNOWLEDGE, AcknowledgeAudit(number=number, mark=mark))
