"""The operations on the audit trail."""

from __future__ import annotations

from strongroom.models.audit_event import AcknowledgeAudit, AuditEvent, AuditReport, ListAuditEvents, VerifyAudit, problem_digest
from strongroom.models.page import Page
from strongroom.operations.operation import Audited, Operation, Repeat
from strongroom.operations.permission import Permission


def _digests(report: AuditReport) -> str:
    return " ".join(map(problem_digest, report.problems))


def _result(report: AuditReport) -> str:
    return f"{report.events} events, valid" if report.valid else f"{report.events} events, {len(report.problems)} problems"


ACKNOWLEDGE = Operation(
    "audit.acknowledge",
    "POST",
    "/audit/acknowledge",
    Permission.AUDIT_MANAGE,
    AcknowledgeAudit,
    AuditReport,
    repeat=Repeat.NEVER,
    audited=Audited(target_id="number", summary=_digests),
)
LIST = Operation("audit.list", "GET", "/audit", Permission.AUDIT_READ, ListAuditEvents, Page[AuditEvent])
VERIFY = Operation(
    "audit.verify",
    "POST",
    "/audit/verify",
    Permission.AUDIT_READ,
    VerifyAudit,
    AuditReport,
    repeat=Repeat.HARMLESS,
    audited=Audited(summary=_result),
)

AUDIT_OPERATIONS = (ACKNOWLEDGE, LIST, VERIFY)
