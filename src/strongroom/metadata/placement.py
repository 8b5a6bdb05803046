"""Puts that were announced, and values that are still to be deleted: what the stores have to do to follow the index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from strongroom.db.query import PreparedInsert
from strongroom.db.tables import deletions, intents, stores

Pair = tuple[str, str]
"""A store's id and a locator in it."""


def ensure_store(connection: Connection, store_id: str, kind: str, now: int) -> None:
    """Makes the store known to the index, so that placements can name it. `ConstraintViolated` if another process was faster."""
    if connection.execute(select(stores.c.id).where(stores.c.id == store_id)).scalar() is None:
        connection.execute(insert(stores).values(id=store_id, type=kind, created=now))


def announce(connection: Connection, locators: Mapping[str, str], deadline: int) -> None:
    """Says that values will be put at these locators (store id to locator), and not after the deadline."""
    _ANNOUNCE.run(connection, [{"store_id": each, "locator": locator, "deadline": deadline} for each, locator in locators.items()])


def claim(connection: Connection, pairs: Iterable[Pair]) -> bool:
    """Takes the announcements back, for what was put is being placed. False if one of them was collected: then place nothing."""
    return all(connection.execute(_CLAIM, {"of": store_id, "at": locator}).rowcount == 1 for store_id, locator in pairs)


def to_delete(connection: Connection, pairs: Iterable[Pair], now: int) -> None:
    """Says that nothing names these locators any more."""
    rows = [{"store_id": store_id, "locator": locator, "created": now} for store_id, locator in pairs]
    if rows:
        _TO_DELETE.run(connection, rows)


def overdue(connection: Connection, before: int, limit: int) -> Sequence[Pair]:
    """Announcements whose deadline lies before this moment: whoever made them has given up."""
    return [(row.store_id, row.locator) for row in connection.execute(_OVERDUE, {"before": before, "limit": limit})]


def deletions_of(connection: Connection, store_id: str, limit: int) -> Sequence[str]:
    """Locators of a store that are still to be deleted there, the oldest first."""
    return connection.execute(_DELETIONS, {"of": store_id, "limit": limit}).scalars().all()


def deleted(connection: Connection, store_id: str, locators: Sequence[str]) -> None:
    """They are gone from the store."""
    connection.execute(_DELETED, {"of": store_id, "locators": list(locators)})


def backlog(connection: Connection) -> int:
    """How many deletions are still to be done, in all stores."""
    return connection.execute(_BACKLOG).scalar_one()


_ANNOUNCE, _TO_DELETE = PreparedInsert(intents), PreparedInsert(deletions)
_CLAIM = delete(intents).where(intents.c.store_id == bindparam("of"), intents.c.locator == bindparam("at"))
_OVERDUE = (
    select(intents.c.store_id, intents.c.locator)
    .where(intents.c.deadline < bindparam("before"))
    .order_by(intents.c.deadline)
    .limit(bindparam("limit"))
)
_DELETIONS = (
    select(deletions.c.locator).where(deletions.c.store_id == bindparam("of")).order_by(deletions.c.created).limit(bindparam("limit"))
)
_DELETED = delete(deletions).where(
    deletions.c.store_id == bindparam("of"), deletions.c.locator.in_(bindparam("locators", expanding=True))
)
_BACKLOG = select(func.count()).select_from(deletions)
