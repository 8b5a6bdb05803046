"""The operations on the audit trail."""

from __future__ import annotations

from strongroom.models.audit_event import AuditEvent, AuditReport, ListAuditEvents, VerifyAudit
from strongroom.models.page import Page
from strongroom.operations.operation import Operation, Repeat
from strongroom.operations.permission import Permission

LIST = Operation("audit.list", "GET", "/audit", Permission.AUDIT_READ, ListAuditEvents, Page[AuditEvent])
VERIFY = Operation("audit.verify", "POST", "/audit/verify", Permission.AUDIT_READ, VerifyAudit, AuditReport, repeat=Repeat.HARMLESS)

AUDIT_OPERATIONS = (LIST, VERIFY)
