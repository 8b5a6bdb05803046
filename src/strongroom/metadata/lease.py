"""Work that only one process does at a time.

Leases are taken and judged by the database's clock, so a process whose own clock is wrong neither keeps one for longer nor loses it.
A lease that ends further ahead than its length was taken by such a clock and counts as free, like that of a process of this machine
that has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from strongroom.db.clock import database_time
from strongroom.db.process_identity import is_dead, process_identity
from strongroom.db.tables import leases

_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class _Row:
    holder: str
    until: int
    process: str

    def is_free(self, now: int, seconds: int) -> bool:
        return not now <= self.until <= now + seconds * _SECOND or is_dead(self.process)


def take(connection: Connection, name: str, holder: str, seconds: int) -> bool:
    """Takes a lease that is free, or prolongs the holder's own; returns whether that worked. `seconds` is its length.

    `ConstraintViolated` if another process made the row at the same time: then it has the lease.
    """
    now, row = database_time(connection), _find(connection, name)
    fresh = {"me": holder, "until": now + seconds * _SECOND, "process": process_identity()}
    if row is None:
        connection.execute(insert(leases).values(name=name, holder=holder, until=fresh["until"], process=fresh["process"]))
        return True
    if row.holder != holder and not row.is_free(now, seconds):
        return False
    return connection.execute(_TAKE, {"of": name, "was": row.holder, "ended": row.until, **fresh}).rowcount == 1


def give_back(connection: Connection, name: str, holder: str) -> None:
    """Ends one's own lease."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def end(connection: Connection, name: str) -> None:
    """Ends a lease, for any holder."""
    connection.execute(delete(leases).where(leases.c.name == name))


def holder_of(connection: Connection, name: str, seconds: int) -> str | None:
    """Returns who has the lease, whose length is `seconds`; None if it is free."""
    row = _find(connection, name)
    return None if row is None or row.is_free(database_time(connection), seconds) else row.holder


def held_by_others(connection: Connection, names: Sequence[str], holder: str, seconds: int) -> set[str]:
    """Returns which of these leases, whose length is `seconds`, another holder has. One query while there are none."""
    query = select(leases.c.name, leases.c.holder, leases.c.until, leases.c.process).where(
        leases.c.name.in_(names), leases.c.holder != holder
    )
    found = {row.name: _Row(row.holder, row.until, row.process or "") for row in connection.execute(query)}
    now = database_time(connection) if found else 0
    return {name for name, row in found.items() if not row.is_free(now, seconds)}


def note(connection: Connection, name: str, text: str) -> None:
    """Keeps a text of up to 36 characters under a name that is no lease's."""
    if connection.execute(update(leases).where(leases.c.name == name).values(holder=text)).rowcount == 0:
        connection.execute(insert(leases).values(name=name, holder=text, until=0))


def find_note(connection: Connection, name: str) -> str | None:
    """Returns what `note` keeps."""
    row = _find(connection, name)
    return None if row is None else row.holder


def _find(connection: Connection, name: str) -> _Row | None:
    row = connection.execute(_SELECT, {"of": name}).one_or_none()
    return None if row is None else _Row(row.holder, row.until, row.process or "")


_SELECT = select(leases.c.holder, leases.c.until, leases.c.process).where(leases.c.name == bindparam("of"))

_TAKE = (
    update(leases)
    .where(leases.c.name == bindparam("of"), leases.c.holder == bindparam("was"), leases.c.until == bindparam("ended"))
    .values(holder=bindparam("me"), until=bindparam("until"), process=bindparam("process"))
)
