"""Work that only one process does at a time."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from strongroom.db.tables import leases


def take(connection: Connection, name: str, holder: str, until: int, now: int) -> bool:
    """Takes a lease that nobody has, or whose time is over, or prolongs one's own.

    `ConstraintViolated` if another process made the row just now: then it has the lease.
    """
    taken = connection.execute(_TAKE, {"of": name, "me": holder, "until": until, "now": now}).rowcount
    if taken:
        return True
    if connection.execute(select(leases.c.holder).where(leases.c.name == name)).scalar() is not None:
        return False
    connection.execute(insert(leases).values(name=name, holder=holder, until=until))
    return True


def give_back(connection: Connection, name: str, holder: str) -> None:
    """Ends one's own lease."""
    connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))


def holder_of(connection: Connection, name: str, now: int) -> str | None:
    """Who has the lease."""
    return connection.execute(select(leases.c.holder).where(leases.c.name == name, leases.c.until > now)).scalar()


_TAKE = (
    update(leases)
    .where(leases.c.name == bindparam("of"), (leases.c.holder == bindparam("me")) | (leases.c.until < bindparam("now")))
    .values(holder=bindparam("me"), until=bindparam("until"))
)
