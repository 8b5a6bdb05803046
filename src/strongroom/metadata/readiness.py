"""Whether the index takes changes."""

from __future__ import annotations

from sqlalchemy import Connection, insert, update

from strongroom.db.query import run_text
from strongroom.db.tables import leases
from strongroom.metadata import audit
from strongroom.metadata.audit import NewEvent

_ROW = "readiness"
_TYPICAL_BYTES = 400


def try_to_write(connection: Connection, moment: int) -> None:
    """Does in the caller's transaction what each request needs, and leaves nothing of it but the moment in a row of its own.

    It waits for the head of the audit trail, adds an event and undoes that: a table may have no room for another row, while the
    rows that it has can be changed. Then it moves its own row, so that there is something to commit. `ConstraintViolated` when
    another process made that row just now.
    """
    head = audit.find_head(connection, lock=True)
    run_text(connection, "SAVEPOINT readiness")
    number = 1 if head is None else head[0] + 1
    audit.insert_events(connection, [NewEvent(number, "", _ROW, "", "", "", bytes(_TYPICAL_BYTES), b"")])
    run_text(connection, "ROLLBACK TO SAVEPOINT readiness")
    run_text(connection, "RELEASE SAVEPOINT readiness")
    if not connection.execute(update(leases).where(leases.c.name == _ROW).values(until=moment)).rowcount:
        connection.execute(insert(leases).values(name=_ROW, holder="", until=moment))
