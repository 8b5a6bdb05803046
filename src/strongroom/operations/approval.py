"""The operations on approvals."""

from __future__ import annotations

from strongroom.models.approval import Approve, GetReview, Review, RevisionStatus
from strongroom.operations.operation import Audited, Operation
from strongroom.operations.permission import Permission


def _approved(review: Review) -> str:
    """The revisions of other users that the user may use now."""
    approved = [each for each in review.revisions if each.status is RevisionStatus.APPROVED]
    return "approved=" + "; ".join(f"{each.title} revision {each.number}" for each in approved)


APPROVE = Operation(
    "approval.approve",
    "POST",
    "/approvals",
    Permission.STACK_USE,
    Approve,
    Review,
    audited=Audited(target="stack", shown=("connector", "account"), summary=_approved),
)
REVIEW = Operation("approval.review", "GET", "/approvals", Permission.STACK_READ, GetReview, Review)

APPROVAL_OPERATIONS = (APPROVE, REVIEW)
