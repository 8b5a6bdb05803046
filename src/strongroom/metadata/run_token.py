"""The index of run tokens: what a run was granted when it began."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, delete, insert, select

from strongroom.auth.tokens import TokenKind
from strongroom.db.tables import members, run_grants, runs, tokens, workspaces


@dataclass(frozen=True, slots=True)
class RunTokenRow:
    """What a run token stands for: the run, where it is, its owner's role there now, and pairs of secret and key that it reads."""

    run_id: str
    run: str
    stack: str
    workspace_id: str
    workspace: str
    role: str | None
    grants: frozenset[tuple[str, str]]


_GRANTED = (
    select(
        runs.c.id,
        runs.c.name,
        runs.c.stack,
        workspaces.c.id,
        workspaces.c.name,
        members.c.role,
        run_grants.c.secret_id,
        run_grants.c.key_name,
    )
    .select_from(runs)
    .join(workspaces, workspaces.c.id == runs.c.workspace_id)
    .outerjoin(members, and_(members.c.workspace_id == runs.c.workspace_id, members.c.user_id == runs.c.owner_id))
    .outerjoin(run_grants, run_grants.c.run_id == runs.c.id)
    .where(runs.c.id == bindparam("run_id"))
)


def find_run_token(connection: Connection, run_id: str) -> RunTokenRow | None:
    """What the token of this run stands for. One query."""
    rows = connection.execute(_GRANTED, {"run_id": run_id}).all()
    if not rows:
        return None
    run = rows[0]
    grants = frozenset((row[6], row[7]) for row in rows if row[6] is not None)
    return RunTokenRow(run[0], run[1], run[2], run[3], run[4], run[5], grants)


def add_grants(connection: Connection, run_id: str, grants: Collection[tuple[str, str]]) -> None:
    """Adds pairs of secret and key to what a run's token reads."""
    rows = [{"run_id": run_id, "secret_id": secret_id, "key_name": key} for secret_id, key in grants]
    if rows:
        connection.execute(insert(run_grants), rows)


def delete_expired(connection: Connection, user_id: str, now: int) -> None:
    """Drops the rows of a user's run tokens that have expired: those of runs that nobody ended."""
    mine = (tokens.c.user_id == user_id) & (tokens.c.kind == TokenKind.RUN)
    connection.execute(delete(tokens).where(mine, tokens.c.expires <= now))


def lock_token(connection: Connection, token_id: str) -> tuple[str, int | None] | None:
    """Kind and expiry of a token, which stays until the transaction ends; None when it is gone."""
    statement = select(tokens.c.kind, tokens.c.expires).where(tokens.c.id == token_id).with_for_update()
    row = connection.execute(statement).one_or_none()
    return (row[0], row[1]) if row else None
