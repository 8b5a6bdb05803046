"""The index of replies that are given again when a request is repeated."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from strongroom.db.tables import replies


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """A request that was made, and its reply; `status` is None while it is being worked on. Times in microseconds since 1970."""

    request: str
    status: int | None
    body: str
    created: int


def find_reply(connection: Connection, reply_id: str) -> ReplyRow | None:
    """The reply of this id."""
    columns = select(replies.c.request, replies.c.status, replies.c.body, replies.c.created)
    row = connection.execute(columns.where(replies.c.id == reply_id)).one_or_none()
    return ReplyRow(row[0], row[1], row[2], row[3]) if row else None


def insert_reply(connection: Connection, reply_id: str, request: str, now: int) -> None:
    """Says that a request is being worked on. `ConstraintViolated` when somebody said so before."""
    connection.execute(insert(replies).values(id=reply_id, request=request, status=None, body="", created=now))


def take_over_reply(connection: Connection, reply_id: str, created: int, now: int) -> bool:
    """Takes a request over from whoever began it then and did not finish; of several who try, one gets it."""
    abandoned = (replies.c.id == reply_id) & (replies.c.created == created) & replies.c.status.is_(None)
    return bool(connection.execute(update(replies).where(abandoned).values(created=now)).rowcount)


def finish_reply(connection: Connection, reply_id: str, status: int, body: str) -> None:
    """Keeps a reply."""
    connection.execute(update(replies).where(replies.c.id == reply_id).values(status=status, body=body))


def delete_reply(connection: Connection, reply_id: str) -> None:
    """Forgets a request."""
    connection.execute(delete(replies).where(replies.c.id == reply_id))


def delete_replies(connection: Connection, before: int) -> None:
    """Forgets what began before."""
    connection.execute(delete(replies).where(replies.c.created < before))
