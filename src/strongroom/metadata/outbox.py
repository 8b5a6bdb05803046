"""Events of the audit trail that are on record and not yet in the chain, on database servers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, bindparam, delete, select

from strongroom.db.query import PreparedInsert
from strongroom.db.tables import audit_outbox

_INSERT = PreparedInsert(audit_outbox)
_ANY = select(audit_outbox.c.id).limit(1)
_OLDEST = select(audit_outbox.c.id, audit_outbox.c.facts, audit_outbox.c.mark).order_by(audit_outbox.c.id).limit(bindparam("limit"))
_DELETE = delete(audit_outbox).where(audit_outbox.c.id.in_(bindparam("ids", expanding=True)))


class OutboxRow(msgspec.Struct, frozen=True):
    """An event; `facts` is canonical JSON, the ids of one process sort in the order of its events."""

    id: str
    facts: bytes
    mark: bytes


def insert(connection: Connection, rows: Sequence[tuple[str, bytes, bytes]]) -> None:
    """Adds events, each as id, facts and mark. One statement for up to 64 rows."""
    _INSERT.run_rows(connection, rows)


def is_empty(connection: Connection) -> bool:
    """Returns whether no event waits."""
    return connection.execute(_ANY).scalar() is None


def oldest(connection: Connection, limit: int) -> Sequence[OutboxRow]:
    """Returns the events that have waited longest."""
    return [OutboxRow(row[0], bytes(row[1]), bytes(row[2])) for row in connection.execute(_OLDEST, {"limit": limit})]


def find_ids(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Returns which of these events wait."""
    return {str(each) for each in connection.execute(select(audit_outbox.c.id).where(audit_outbox.c.id.in_(ids))).scalars()}


def delete_rows(connection: Connection, ids: Sequence[str]) -> None:
    """Removes events that are in the chain now."""
    connection.execute(_DELETE, {"ids": list(ids)})
