"""Puts that were announced, and values that are still to be deleted: what the stores have to do to follow the index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, literal, or_, select, update

from strongroom.db.identifiers import new_id
from strongroom.db.query import PreparedInsert
from strongroom.db.tables import copies, deletions, intents, placements, store_markers, stores, versions

Pair = tuple[str, str]
"""A store's id and a locator in it."""

Version = tuple[str, int]
"""A secret's id and the number of one of its versions."""

PRESENT, EMPTIED = "present", "emptied"
"""The states of a placement: the store holds the version; or held it, was emptied on purpose, and must not get it back by itself."""


def ensure_store(connection: Connection, store_id: str, kind: str, now: int) -> None:
    """Makes the store known to the index, so that placements can name it. `ConstraintViolated` if another process was faster."""
    if connection.execute(select(stores.c.id).where(stores.c.id == store_id)).scalar() is None:
        connection.execute(insert(stores).values(id=store_id, type=kind, created=now))


def announce(connection: Connection, pairs: Iterable[Pair], deadline: int) -> None:
    """Says that values will be put at these locators, and not after the deadline."""
    _ANNOUNCE.run(connection, [{"store_id": each, "locator": locator, "deadline": deadline} for each, locator in pairs])


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


def place(connection: Connection, version: Version, store_id: str, locator: str) -> bool:
    """Adds a placement to a version; the store is not behind by it any more.

    False if the version is gone, or is there already, or was emptied from there.
    """
    if not _lock(connection, version) or connection.execute(_STATE, _of(version, store_id)).scalar() is not None:
        return False
    row = {"secret_id": version[0], "number": version[1], "store_id": store_id, "locator": locator, "state": PRESENT}
    _PLACE.run(connection, [row])
    clear_behind(connection, store_id, [version])
    return True


def unplace(connection: Connection, version: Version, store_id: str, keep: Pair) -> list[Pair] | None:
    """Marks a store as emptied of a version that lies at `keep`, a locator in another store. It is not behind by it any more.

    Returns what is to be released there: one former placement or none. None if `keep` does not hold the version (any more): then
    nothing has changed.
    """
    if not _lock(connection, version) or connection.execute(_LOCATOR, _of(version, keep[0])).scalar() != keep[1]:
        return None
    clear_behind(connection, store_id, [version])
    if connection.execute(_STATE, _of(version, store_id)).scalar() is None:  # it was still to be copied there
        row = {"secret_id": version[0], "number": version[1], "store_id": store_id, "locator": new_id(), "state": EMPTIED}
        _PLACE.run(connection, [row])
        return []
    locator = connection.execute(_LOCATOR, _of(version, store_id)).scalar()
    if locator is None:
        return []
    connection.execute(_EMPTY, _of(version, store_id))
    return [(store_id, locator)]


def forget_lost(connection: Connection, version: Version, store_id: str, locator: str, now: int) -> bool:
    """Forgets that a version is, or was, at this locator of the store, and marks the store as behind by it.

    False if the index does not say that it is there.
    """
    if not (_lock(connection, version) and connection.execute(_FORGET_LOST, {**_of(version, store_id), "at": locator}).rowcount == 1):
        return False
    clear_behind(connection, store_id, [version])
    _MARK_BEHIND.run(connection, [_behind_row(version, store_id, now)])
    return True


def return_to(connection: Connection, version: Version, store_id: str) -> None:
    """Takes back that a store was emptied of a version, for somebody wants it there again."""
    connection.execute(_RETURN, _of(version, store_id))


def mark_behind(connection: Connection, behind: Iterable[tuple[str, Version]], now: int) -> None:
    """Marks stores as behind by versions that the same transaction adds."""
    rows = [_behind_row(version, store_id, now) for store_id, version in behind]
    if rows:
        _MARK_BEHIND.run(connection, rows)


def mark_behind_unless_known(connection: Connection, store_id: str, versions: Iterable[Version], now: int) -> None:
    """Marks a store as behind by those of the versions that it neither holds, nor was emptied of, nor is behind by already."""
    for version in versions:
        if _lock(connection, version):
            number = version[1]
            range_ = {"of_secret": version[0], "of_number": number - 1, "last_secret": version[0], "last_number": number}
            connection.execute(_MARK_BEHIND_RANGE, {"of": store_id, "now": now, **range_})


def mark_behind_page(connection: Connection, store_id: str, after: Version, size: int, now: int) -> Version | None:
    """Marks a store as behind by those of the next `size` versions that it neither holds nor was emptied of.

    Starts with the version that follows `after`. Returns the last version that it has looked at, or None at the end. Two statements.
    """
    range_ = {"of_secret": after[0], "of_number": after[1]}
    last = connection.execute(_NTH, {**range_, "nth": size - 1}).one_or_none()
    until = {"last_secret": last.secret_id, "last_number": last.number} if last else {"last_secret": "~", "last_number": 0}
    connection.execute(_MARK_BEHIND_RANGE, {"of": store_id, "now": now, **range_, **until})
    return (last.secret_id, last.number) if last else None


def list_behind(connection: Connection, store_id: str, after: Version, limit: int) -> Sequence[Version]:
    """Versions that a store is behind by, in their order, those that come after this one."""
    rows = connection.execute(_LIST_BEHIND, {"of": store_id, "of_secret": after[0], "of_number": after[1], "limit": limit})
    return [(row.secret_id, row.number) for row in rows]


def clear_behind(connection: Connection, store_id: str, versions: Iterable[Version]) -> None:
    """Marks a store as not behind by these versions any more."""
    for version in versions:
        connection.execute(_CLEAR_BEHIND, _of(version, store_id))


def behind(connection: Connection) -> dict[str, int]:
    """Returns by how many kept versions each store is behind; stores that are not behind are left out."""
    return {row[0]: row[1] for row in connection.execute(_BEHIND)}


def to_be_deleted(connection: Connection) -> dict[str, int]:
    """How many deletions are still to be done, by store."""
    return {row[0]: row[1] for row in connection.execute(_TO_BE_DELETED)}


def named_locators(connection: Connection, locators: Sequence[str]) -> set[str]:
    """Returns which of these locators the index knows, in whatever store: announced, placed, a marker, or still to be deleted.

    The store does not matter, because a place may have had another name when the locator was made. Looks in the order in which a
    locator goes from one to the other, so that none that moves meanwhile is missed.
    """
    ids = connection.execute(select(stores.c.id)).scalars().all()
    found: set[str] = set()
    for query in _NAMED:
        found.update(connection.execute(query, {"of": ids, "locators": list(locators)}).scalars())
    return found


def placed_locators(connection: Connection, locators: Sequence[str]) -> set[str]:
    """Returns which of these locators hold a version, in whatever store."""
    ids = connection.execute(select(stores.c.id)).scalars().all()
    return set(connection.execute(_PLACED, {"of": ids, "locators": list(locators)}).scalars())


def holds_versions(connection: Connection, store_id: str) -> bool:
    """Whether the index names any version in this store."""
    return connection.execute(_HOLDS, {"of": store_id}).scalar() is not None


def _lock(connection: Connection, version: Version) -> bool:
    return connection.execute(_LOCK, {"of_secret": version[0], "of_number": version[1]}).scalar() is not None


def _behind_row(version: Version, store_id: str, now: int) -> dict[str, object]:
    return {"store_id": store_id, "secret_id": version[0], "number": version[1], "created": now}


def _of(version: Version, store_id: str) -> dict[str, object]:
    return {"of_secret": version[0], "of_number": version[1], "of": store_id}


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
_PLACE, _MARK_BEHIND = PreparedInsert(placements), PreparedInsert(copies)
_HERE = and_(
    placements.c.secret_id == bindparam("of_secret"),
    placements.c.number == bindparam("of_number"),
    placements.c.store_id == bindparam("of"),
)
_LOCK = (
    select(versions.c.number)
    .where(versions.c.secret_id == bindparam("of_secret"), versions.c.number == bindparam("of_number"))
    .with_for_update()
)
_STATE = select(placements.c.state).where(_HERE)
_LOCATOR = select(placements.c.locator).where(_HERE, placements.c.state == PRESENT)
_EMPTY = update(placements).where(_HERE).values(state=EMPTIED)
_FORGET_LOST = delete(placements).where(_HERE, placements.c.locator == bindparam("at"))
_RETURN = delete(placements).where(_HERE, placements.c.state == EMPTIED)
_placed = placements.alias("placed")
_AFTER = and_(
    versions.c.secret_id >= bindparam("of_secret"),
    or_(versions.c.secret_id > bindparam("of_secret"), versions.c.number > bindparam("of_number")),
)
_NTH = (
    select(versions.c.secret_id, versions.c.number)
    .where(_AFTER)
    .order_by(versions.c.secret_id, versions.c.number)
    .limit(1)
    .offset(bindparam("nth"))
)
_MARK_BEHIND_RANGE = insert(copies).from_select(
    ["store_id", "secret_id", "number", "created"],
    select(
        bindparam("of", type_=copies.c.store_id.type),
        versions.c.secret_id,
        versions.c.number,
        bindparam("now", type_=copies.c.created.type),
    ).where(
        _AFTER,
        versions.c.secret_id <= bindparam("last_secret"),
        or_(versions.c.secret_id < bindparam("last_secret"), versions.c.number <= bindparam("last_number")),
        ~select(literal(1))
        .where(
            _placed.c.secret_id == versions.c.secret_id,
            _placed.c.number == versions.c.number,
            _placed.c.store_id == bindparam("of"),
        )
        .exists(),
        ~select(literal(1))
        .where(
            copies.c.secret_id == versions.c.secret_id,
            copies.c.number == versions.c.number,
            copies.c.store_id == bindparam("of"),
        )
        .exists(),
    ),
)
_LIST_BEHIND = (
    select(copies.c.secret_id, copies.c.number)
    .where(
        copies.c.store_id == bindparam("of"),
        (copies.c.secret_id > bindparam("of_secret"))
        | ((copies.c.secret_id == bindparam("of_secret")) & (copies.c.number > bindparam("of_number"))),
    )
    .order_by(copies.c.secret_id, copies.c.number)
    .limit(bindparam("limit"))
)
_CLEAR_BEHIND = delete(copies).where(
    copies.c.store_id == bindparam("of"), copies.c.secret_id == bindparam("of_secret"), copies.c.number == bindparam("of_number")
)
_BEHIND = (
    select(copies.c.store_id, func.count().label("count"))
    .join(versions, and_(versions.c.secret_id == copies.c.secret_id, versions.c.number == copies.c.number))
    .group_by(copies.c.store_id)
)
_TO_BE_DELETED = select(deletions.c.store_id, func.count().label("count")).group_by(deletions.c.store_id)
_NAMED = [
    select(table.c.locator).where(
        table.c.store_id.in_(bindparam("of", expanding=True)), table.c.locator.in_(bindparam("locators", expanding=True))
    )
    for table in (intents, store_markers, placements, deletions)
]
_PLACED = select(placements.c.locator).where(
    placements.c.store_id.in_(bindparam("of", expanding=True)),
    placements.c.locator.in_(bindparam("locators", expanding=True)),
    placements.c.state == PRESENT,
)
_HOLDS = select(placements.c.locator).where(placements.c.store_id == bindparam("of"), placements.c.state == PRESENT).limit(1)
