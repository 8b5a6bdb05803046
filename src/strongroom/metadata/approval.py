"""The index of approvals, and whom a workspace trusts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, or_, select

from strongroom.auth.policy import Role
from strongroom.db.tables import approvals, members, passwords, service_accounts, trusted_administrators


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """What a user approved last of a component or a stack: the digest of the revision, and a document (JSON) of what was shown."""

    subject_id: str
    state: str
    document: str


def list_approvals(connection: Connection, user_id: str, subject_ids: Collection[str]) -> dict[str, ApprovalRow]:
    """The user's approvals of these subjects, by subject."""
    statement = select(approvals.c.subject_id, approvals.c.state, approvals.c.document)
    mine = (approvals.c.user_id == user_id) & approvals.c.subject_id.in_(list(subject_ids))
    return {row.subject_id: ApprovalRow(*row) for row in connection.execute(statement.where(mine))} if subject_ids else {}


def put_approval(connection: Connection, user_id: str, row: ApprovalRow, approved_by_id: str, now: int) -> None:
    """Writes an approval, in place of a former one of the same subject."""
    mine = (approvals.c.user_id == user_id) & (approvals.c.subject_id == row.subject_id)
    connection.execute(delete(approvals).where(mine))
    connection.execute(
        insert(approvals).values(
            user_id=user_id,
            subject_id=row.subject_id,
            state=row.state,
            document=row.document,
            approved_by_id=approved_by_id,
            created=now,
        )
    )


def is_service_account(connection: Connection, user_id: str) -> bool:
    """Whether this user is a service account."""
    statement = select(service_accounts.c.user_id).where(service_accounts.c.user_id == user_id)
    return connection.execute(statement).scalar() is not None


def list_trusted(connection: Connection, workspace_id: str, user_ids: Collection[str]) -> set[str]:
    """Those of these users who administer the workspace and can log in, where the workspace trusts its administrators."""
    if not user_ids:
        return set()
    trusts = exists().where(trusted_administrators.c.workspace_id == workspace_id)
    can_log_in = or_(
        exists().where(passwords.c.user_id == members.c.user_id),
        exists().where(service_accounts.c.user_id == members.c.user_id, service_accounts.c.deleted.is_(False)),
    )
    statement = select(members.c.user_id).where(
        members.c.workspace_id == workspace_id,
        members.c.role == Role.ADMIN.value,
        members.c.user_id.in_(list(user_ids)),
        trusts,
        can_log_in,
    )
    return set(connection.execute(statement).scalars())
