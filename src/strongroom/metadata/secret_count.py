"""How many secrets each namespace holds, kept beside the secrets so that totals and far pages cost no scan.

A namespace's secrets, in the order of their ids (which is the order of creation), are cut into stretches. A row of `secret_counts`
says how many secrets there are from its `first_id` up to the next row's. The first row starts at '', so every id has its stretch.
Each change runs in the transaction that adds or removes the secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, update

from strongroom.db.query import Prepared
from strongroom.db.tables import secret_counts, secrets

LONGEST = 1_000
"""Secrets in a stretch before it is cut: what a far page may have to skip, against how many rows there are to add up."""

NEAR = 60
"""Secrets of several namespaces that are rather skipped than leapt over."""


def add(connection: Connection, workspace_id: str, private_to: str, secret_id: str, longest: int = LONGEST) -> None:
    """Counts a secret that was just inserted. Stretches grow up to `longest`."""
    namespace = {"workspace": workspace_id, "private": private_to}
    first_id, count = _stretch(connection, namespace, secret_id)
    if first_id is None:
        connection.execute(_INSERT, {"workspace_id": workspace_id, "private_to": private_to, "first_id": "", "size": 1})
        return
    _CHANGE.run(connection, [{**namespace, "first": first_id, "by": 1}])
    if count >= longest:
        _cut(connection, namespace, first_id, secret_id, count + 1)


def remove(connection: Connection, workspace_id: str, private_to: str, secret_id: str) -> None:
    """Counts a secret no longer."""
    namespace = {"workspace": workspace_id, "private": private_to}
    first_id, _ = _stretch(connection, namespace, secret_id)
    _CHANGE.run(connection, [{**namespace, "first": first_id, "by": -1}])


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


def totals(connection: Connection, workspace_id: str, namespaces: Sequence[str]) -> dict[str, int]:
    """How many secrets each of the namespaces holds; empty ones are left out."""
    found = connection.execute(_TOTALS, {"workspace": workspace_id, "privates": list(namespaces)}).all()
    return {private_to: int(total) for private_to, total in found if total}


def position(connection: Connection, workspace_id: str, sizes: Mapping[str, int], index: int, near: int = NEAR) -> tuple[str, int]:
    """Where the secret number `index` (from 0) is in the merged order of the ids of some namespaces, given with their sizes.

    Returns an id, and how many secrets to skip from there on: a stretch at most. Needs a snapshot.
    """
    rank = 0  # secrets in the stretches that lie wholly before the row at hand
    around = 0  # secrets in the stretches of other namespaces that the row at hand falls into
    within = dict.fromkeys(sizes, ("", 0))
    best: tuple[str, int, str, dict[str, tuple[str, int]]] = ("", 0, "", {})
    for private_to, first_id, size in connection.execute(_READ, {"workspace": workspace_id, "privates": list(sizes)}).all():
        passed = within[private_to][1]
        rank, around = rank + passed, around - passed
        if rank + around <= index:
            best = (first_id, rank, private_to, dict(within))
        elif rank > index:
            break
        within[private_to] = (first_id, size)
        around += size
    first_id, rank, own, within = best
    partly = {private_to: start for private_to, (start, size) in within.items() if size and private_to != own}
    rank += _count_between(connection, workspace_id, partly, first_id)
    if len(sizes) == 1:
        return first_id, index - rank
    return _closer(connection, workspace_id, sizes, first_id, index - rank, near)


def _closer(
    connection: Connection, workspace_id: str, sizes: Mapping[str, int], first_id: str, skip: int, near: int
) -> tuple[str, int]:
    """A position nearer to its goal. Skipping over several namespaces means to merge them, which is dearer than a guess or two."""
    largest = max(sizes, key=lambda private_to: sizes[private_to])
    share = sizes[largest] / sum(sizes.values())
    for caution in (0.9, 0.8, 0.6):
        leap = int(skip * share * caution)
        if leap < near:
            break
        landing = {"workspace": workspace_id, "private": largest, "low": first_id, "leap": leap}
        goal = connection.execute(_LEAP, landing).scalar()
        if goal is None:
            break
        passed = leap + _count_between(connection, workspace_id, dict.fromkeys(sizes.keys() - {largest}, first_id), goal)
        if passed <= skip:
            first_id, skip = goal, skip - passed
    return first_id, skip


def _count_between(connection: Connection, workspace_id: str, starts: Mapping[str, str], end: str) -> int:
    """How many secrets lie between an id of each namespace and one common end."""
    return sum(
        connection.execute(_BETWEEN, {"workspace": workspace_id, "private": private_to, "low": start, "high": end}).scalar_one()
        for private_to, start in starts.items()
    )


def _stretch(connection: Connection, namespace: dict[str, str], secret_id: str) -> tuple[str | None, int]:
    """The stretch that an id falls into, locked until the transaction ends."""
    while True:
        found = _FIND.all(connection, {**namespace, "id": secret_id})
        if not found:
            return None, 0
        row = found[0]
        # Who waited for the lock may find that the stretch was cut meanwhile.
        if connection.dialect.name == "sqlite" or _FIND.all(connection, {**namespace, "id": secret_id})[0][0] == row[0]:
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
    _CHANGE.run(connection, [{**parameters, "by": kept - count}])
    connection.execute(
        _INSERT,
        {"workspace_id": namespace["workspace"], "private_to": namespace["private"], "first_id": at, "size": count - kept},
    )


_here = (secret_counts.c.workspace_id == bindparam("workspace"), secret_counts.c.private_to == bindparam("private"))
_secrets_here = (secrets.c.workspace_id == bindparam("workspace"), secrets.c.private_to == bindparam("private"))
_INSERT = insert(secret_counts)
_CHANGE = Prepared(
    update(secret_counts)
    .where(*_here, secret_counts.c.first_id == bindparam("first"))
    .values(size=secret_counts.c.size + bindparam("by"))
)
_FIND = Prepared(
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
_LEAP = (
    select(secrets.c.id)
    .where(*_secrets_here, secrets.c.id >= bindparam("low"))
    .order_by(secrets.c.id)
    .limit(1)
    .offset(bindparam("leap"))
)
_TOTALS = (
    select(secret_counts.c.private_to, func.sum(secret_counts.c.size))
    .where(
        secret_counts.c.workspace_id == bindparam("workspace"),
        secret_counts.c.private_to.in_(bindparam("privates", expanding=True)),
    )
    .group_by(secret_counts.c.private_to)
)
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
