"""The index of replies that are given again when a request is repeated."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from strongroom.db.tables import replies


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """The reply to a request, and when it was given, in microseconds since 1970."""

    request: str
    status: int
    body: str
    created: int


def find_reply(connection: Connection, reply_id: str) -> ReplyRow | None:
    """The reply of this id."""
    columns = select(replies.c.request, replies.c.status, replies.c.body, replies.c.created)
    row = connection.execute(columns.where(replies.c.id == reply_id, replies.c.status.is_not(None))).one_or_none()
    return ReplyRow(row[0], row[1], row[2], row[3]) if row else None


def insert_reply(connection: Connection, reply_id: str, request: str, status: int, body: str, now: int) -> None:
    """Keeps a reply. `ConstraintViolated` when there is one of this id."""
    connection.execute(delete(replies).where(replies.c.id == reply_id, replies.c.status.is_(None)))  # a former version's note
    connection.execute(insert(replies).values(id=reply_id, request=request, status=status, body=body, created=now))


def delete_replies(connection: Connection, before: int) -> None:
    """Forgets what was replied before."""
    connection.execute(delete(replies).where(replies.c.created < before))
