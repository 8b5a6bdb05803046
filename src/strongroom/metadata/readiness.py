"""Whether the index takes changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, insert, update

from strongroom.db.query import run_text
from strongroom.db.tables import leases

_ROW = "readiness"


@contextmanager
def undone(connection: Connection) -> Iterator[None]:
    """Undoes what the block writes in the caller's transaction, which goes on. A block that raises ends the transaction, too."""
    run_text(connection, "SAVEPOINT readiness")
    yield
    run_text(connection, "ROLLBACK TO SAVEPOINT readiness")
    run_text(connection, "RELEASE SAVEPOINT readiness")


def touch(connection: Connection, moment: int) -> None:
    """Changes a row that is there for that alone. `ConstraintViolated` when another process made it just now."""
    if not connection.execute(update(leases).where(leases.c.name == _ROW).values(until=moment)).rowcount:
        connection.execute(insert(leases).values(name=_ROW, holder="", until=moment))
