"""All versions of all secrets, page by page, for what goes through the whole deployment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, select

from strongroom.db.tables import placements, secrets, versions
from strongroom.metadata.placement import Version
from strongroom.metadata.secret import SECRET_COLUMNS, Beside, SecretRow, assemble, with_people

FIRST: Version = ("", 0)
"""Comes before all versions."""

_LAST: Version = ("~", 0)


class VersionIndex:
    """Finds versions whoever they belong to. Stateless and thread-safe."""

    def __init__(self, beside: Beside) -> None:
        self._queries = {current: _query(beside, current=current) for current in (False, True)}

    def after(self, connection: Connection, after: Version, limit: int, *, current: bool = False) -> list[SecretRow]:
        """The versions after this one, in their order, with all that a read needs; with `current` current ones alone. One query."""
        return self._between(connection, after, _LAST, limit, current=current)

    def find(self, connection: Connection, version: Version) -> SecretRow | None:
        """This version."""
        found = self._between(connection, (version[0], version[1] - 1), version, 1, current=False)
        return found[0] if found else None

    def _between(self, connection: Connection, after: Version, last: Version, limit: int, *, current: bool) -> list[SecretRow]:
        given = {"after": after[0], "after_number": after[1], "last": last[0], "last_number": last[1], "limit": limit}
        return assemble(connection.execute(self._queries[current], given).all())


def count_versions(connection: Connection, *, current: bool) -> int:
    """How many versions there are; with `current` how many current ones, which is how many secrets."""
    return connection.execute(select(func.count()).select_from(secrets if current else versions)).scalar_one()


def all_digests(connection: Connection) -> Iterator[tuple[str, int, bytes]]:
    """Goes through the secret, the number and the digest of all versions."""
    query = select(versions.c.secret_id, versions.c.number, versions.c.digest)
    for row in connection.execution_options(yield_per=1_000).execute(query):
        yield row.secret_id, row.number, row.digest


def current_versions(connection: Connection) -> Iterator[tuple[str, int]]:
    """Goes through the ids and the current versions of all secrets."""
    for row in connection.execution_options(yield_per=1_000).execute(select(secrets.c.id, secrets.c.current_version)):
        yield row.id, row.current_version


def existing(connection: Connection, secret_ids: Sequence[str]) -> set[str]:
    """Which of these ids are those of secrets, whoever they belong to."""
    return set(connection.execute(select(secrets.c.id).where(secrets.c.id.in_(secret_ids))).scalars())


def _query(beside: Beside, *, current: bool) -> Select[Any]:
    after, last = (bindparam(name, type_=versions.c.secret_id.type) for name in ("after", "last"))
    wanted = (
        select(versions.c.secret_id, versions.c.number)
        .where(
            versions.c.secret_id >= after,
            (versions.c.secret_id > after) | (versions.c.number > bindparam("after_number")),
            versions.c.secret_id <= last,
            (versions.c.secret_id < last) | (versions.c.number <= bindparam("last_number")),
        )
        .order_by(versions.c.secret_id, versions.c.number)
        .limit(bindparam("limit"))
    )
    if current:
        wanted = wanted.join(secrets, and_(secrets.c.id == versions.c.secret_id, secrets.c.current_version == versions.c.number))
    page = wanted.subquery("page")
    source = with_people(
        page.join(secrets, secrets.c.id == page.c.secret_id).join(
            versions, and_(versions.c.secret_id == page.c.secret_id, versions.c.number == page.c.number)
        )
    ).outerjoin(placements, and_(placements.c.secret_id == page.c.secret_id, placements.c.number == page.c.number))
    return (
        select(*SECRET_COLUMNS, placements.c.store_id, placements.c.locator, placements.c.state, *beside.columns)
        .select_from(beside.join(source))
        .order_by(page.c.secret_id, page.c.number)
    )
