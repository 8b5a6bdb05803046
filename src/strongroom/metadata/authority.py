"""The rows that give an actor its rights: a token, its user, and the user's membership in a workspace."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Select, and_, bindparam, select

from strongroom.db.query import Prepared
from strongroom.db.tables import members, tokens, users


class AuthorityRow(msgspec.Struct, frozen=True):
    """Until when a token is valid, and what its user may do now; `role` is None for who does not belong to the workspace."""

    expires: int | None
    admin: bool
    role: str | None


def find_authority(connection: Connection, token_id: str, user_id: str, workspace_id: str) -> AuthorityRow | None:
    """The rights of the user in the workspace; None if the token has ended."""
    for expires, admin, role in _FIND.all(connection, {"token": token_id, "user": user_id, "workspace": workspace_id}):
        return AuthorityRow(expires, bool(admin), role)
    return None


def lock_authority(connection: Connection, token_id: str, user_id: str, workspace_id: str) -> AuthorityRow | None:
    """Returns the same, and keeps the rows from being changed until the transaction ends. Two statements on a database server."""
    if connection.dialect.name != "sqlite":  # where writers are alone anyway
        _LOCK.all(connection, {"token": token_id, "user": user_id, "workspace": workspace_id})
    return find_authority(connection, token_id, user_id, workspace_id)


def _shared(statement: Select[tuple[str]]) -> Select[tuple[str]]:
    return statement.with_for_update(read=True)


_membership = and_(members.c.workspace_id == bindparam("workspace"), members.c.user_id == bindparam("user"))
_FIND = Prepared(
    select(tokens.c.expires, users.c.admin, members.c.role)
    .select_from(tokens)
    .join(users, users.c.id == tokens.c.user_id)
    .outerjoin(members, _membership)
    .where(tokens.c.id == bindparam("token"), tokens.c.user_id == bindparam("user"))
)
_LOCK = Prepared(
    select(
        _shared(select(tokens.c.id).where(tokens.c.id == bindparam("token"))).scalar_subquery(),
        _shared(select(users.c.id).where(users.c.id == bindparam("user"))).scalar_subquery(),
        _shared(select(members.c.role).where(_membership)).scalar_subquery(),
    )
)
