"""How many secrets each namespace holds, kept beside the secrets so that totals and far pages cost no scan.

A namespace's secrets, in the order of their ids (which is the order of creation), are cut into stretches. A row of `secret_counts`
says how many secrets there are from its `first_id` up to the next row's. The first row starts at '', so every id has its stretch.
Each change runs in the transaction that adds or removes the secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, insert, select, update

from strongroom.db.tables import secret_counts, secrets

LONGEST = 2_000
"""Secrets in a stretch before it is cut: what a far page may have to skip, against how many rows there are to add up."""


def add(connection: Connection, workspace_id: str, private_to: str, secret_id: str, longest: int = LONGEST) -> None:
    """Counts a secret that was just inserted. Stretches grow up to `longest`."""
    namespace = {"workspace": workspace_id, "private": private_to}
    first_id, count = _stretch(connection, namespace, secret_id)
    if first_id is None:
        connection.execute(_INSERT, {"workspace_id": workspace_id, "private_to": private_to, "first_id": "", "size": 1})
        return
    connection.execute(_CHANGE, {**namespace, "first": first_id, "by": 1})
    if count >= longest:
        _cut(connection, namespace, first_id, secret_id, count + 1)


def remove(connection: Connection, workspace_id: str, private_to: str, secret_id: str) -> None:
    """Counts a secret no longer."""
    namespace = {"workspace": workspace_id, "private": private_to}
    first_id, _ = _stretch(connection, namespace, secret_id)
    connection.execute(_CHANGE, {**namespace, "first": first_id, "by": -1})


def move(
    connection: Connection, workspace_id: str, private_from: str, private_to: str, secret_id: str, longest: int = LONGEST
) -> None:
    """Counts a secret that was moved in its new namespace instead. Locks the namespaces in one order, so that no two moves block
    each other for good.
    """
    for namespace in sorted((private_from, private_to)):
        if namespace == private_from:
            remove(connection, workspace_id, namespace, secret_id)
        else:
            add(connection, workspace_id, namespace, secret_id, longest)


@dataclass(frozen=True)
class Position:
    """In the merged order of some namespaces, `skip` ids after the first one that is at least `first_id`."""

    first_id: str
    skip: int


class Counts:
    """The counts of some namespaces of a workspace, read once. Use it within one snapshot."""

    def __init__(self, connection: Connection, workspace_id: str, namespaces: Sequence[str]) -> None:
        self._connection, self._workspace_id, self._namespaces = connection, workspace_id, namespaces
        parameters = {"workspace": workspace_id, "privates": list(namespaces)}
        self._rows = connection.execute(_READ, parameters).all()

    @property
    def total(self) -> int:
        """How many secrets the namespaces hold together."""
        return sum(count for _, _, count in self._rows)

    def position(self, index: int) -> Position:
        """Where the secret number `index` (from 0) in the order of ids is, to within a stretch or two."""
        before = dict.fromkeys(self._namespaces, 0)  # secrets in the stretches that lie wholly before the row at hand
        within = dict.fromkeys(self._namespaces, ("", 0))  # the stretch of each namespace that the row at hand falls into
        best: tuple[str, int, dict[str, str]] = ("", 0, {})
        for private_to, first_id, count in self._rows:
            before[private_to] += within[private_to][1]
            within[private_to] = (first_id, count)
            others = {other: stretch for other, stretch in within.items() if other != private_to}
            if sum(before.values()) + sum(size for _, size in others.values()) > index:
                continue
            best = (first_id, sum(before.values()), {other: start for other, (start, size) in others.items() if size})
        first_id, rank, partly = best
        for private_to, start in partly.items():
            bounds = {"workspace": self._workspace_id, "private": private_to, "low": start, "high": first_id}
            rank += self._connection.execute(_BETWEEN, bounds).scalar_one()
        return Position(first_id, index - rank)


def _stretch(connection: Connection, namespace: dict[str, str], secret_id: str) -> tuple[str | None, int]:
    """The stretch that an id falls into, locked until the transaction ends."""
    while True:
        row = connection.execute(_FIND, {**namespace, "id": secret_id}).one_or_none()
        if row is None:
            return None, 0
        # Who waited for the lock may find that the stretch was cut meanwhile.
        if connection.dialect.name == "sqlite" or connection.execute(_FIND, {**namespace, "id": secret_id}).one()[0] == row[0]:
            return row[0], row[1]


def _cut(connection: Connection, namespace: dict[str, str], first_id: str, secret_id: str, count: int) -> None:
    """Starts a new stretch within a full one that holds `count` secrets with the one just added.

    Most secrets come at the end: then the new stretch starts with that secret, and full stretches stay full. For one that comes in
    between, the stretch is halved.
    """
    parameters = {**namespace, "first": first_id}
    parameters["before"] = connection.execute(_NEXT, parameters).scalar() or "~"
    kept, at = count - 1, connection.execute(_LAST, parameters).scalar_one()
    if at != secret_id:
        kept = count // 2
        at = connection.execute(_AT, {**parameters, "skip": kept}).scalar_one()
    connection.execute(_CHANGE, {**parameters, "by": kept - count})
    connection.execute(
        _INSERT,
        {"workspace_id": namespace["workspace"], "private_to": namespace["private"], "first_id": at, "size": count - kept},
    )


_here = (secret_counts.c.workspace_id == bindparam("workspace"), secret_counts.c.private_to == bindparam("private"))
_secrets_here = (secrets.c.workspace_id == bindparam("workspace"), secrets.c.private_to == bindparam("private"))
_INSERT = insert(secret_counts)
_CHANGE = (
    update(secret_counts)
    .where(*_here, secret_counts.c.first_id == bindparam("first"))
    .values(size=secret_counts.c.size + bindparam("by"))
)
_FIND = (
    select(secret_counts.c.first_id, secret_counts.c.size)
    .where(*_here, secret_counts.c.first_id <= bindparam("id"))
    .order_by(secret_counts.c.first_id.desc())
    .limit(1)
    .with_for_update()
)
_NEXT = (
    select(secret_counts.c.first_id)
    .where(*_here, secret_counts.c.first_id > bindparam("first"))
    .order_by(secret_counts.c.first_id)
    .limit(1)
)
_in_stretch = (*_secrets_here, secrets.c.id >= bindparam("first"), secrets.c.id < bindparam("before"))
_LAST = select(func.max(secrets.c.id)).where(*_in_stretch)
_AT = select(secrets.c.id).where(*_in_stretch).order_by(secrets.c.id).offset(bindparam("skip")).limit(1)
_READ = (
    select(secret_counts.c.private_to, secret_counts.c.first_id, secret_counts.c.size)
    .where(
        secret_counts.c.workspace_id == bindparam("workspace"),
        secret_counts.c.private_to.in_(bindparam("privates", expanding=True)),
    )
    .order_by(secret_counts.c.first_id)
)
_BETWEEN = (
    select(func.count())
    .select_from(secrets)
    .where(*_secrets_here, secrets.c.id >= bindparam("low"), secrets.c.id < bindparam("high"))
)
