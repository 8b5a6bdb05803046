"""The index of secrets: rows of secrets, versions and placements."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from strongroom.crypto.binding import Binding
from strongroom.db.query import Prepared, PreparedInsert
from strongroom.db.tables import placements, secret_labels, secrets, users, versions, workspaces
from strongroom.metadata import secret_count
from strongroom.metadata.conditions import can_be_stored
from strongroom.metadata.placement import PRESENT

_MAX_NUMBER = 2**31 - 1
_BATCH = 1_000

_of: BindParameter[str] = bindparam("of")
_values: BindParameter[str] = bindparam("values", expanding=True)

_owner = users.alias("owner")
_creator = users.alias("creator")


class Beside(Protocol):
    """A secrets store in the same database: its columns ride on the index's queries, so that a read is one query."""

    columns: Sequence[ColumnElement[Any]]

    def join(self, source: FromClause) -> FromClause:
        """The source, which contains `placements`, extended by the store's tables."""


class PlacementRow(msgspec.Struct, frozen=True):
    """One placement of a version, and the columns of the store beside the index."""

    store_id: str
    locator: str
    state: str
    beside: Sequence[Any]


class SecretRow(msgspec.Struct, frozen=True):
    """A secret with one of its versions (`number`) and that one's keys, in the order in which they were given.

    Times are in microseconds since 1970.
    """

    id: str
    workspace_id: str
    private_to: str
    name: str
    description: str
    labels: str
    current_version: int
    last_version: int
    created: int
    updated: int
    expires_at: int | None
    owner_id: str
    workspace: str
    owner: str
    created_by: str
    number: int
    key_names: list[str]
    digest: bytes
    pointer_mark: bytes | None
    placements: list[PlacementRow] = msgspec.field(default_factory=list)
    is_bound: bool = True
    """False if it was asked for as the current version, and the row is not what strongroom wrote."""

    @property
    def pointer(self) -> tuple[str, str, str, str, int, int, int]:
        """What `pointer_mark` is over."""
        return self.id, self.workspace_id, self.private_to, self.name, self.current_version, self.last_version, self.updated


@dataclass(frozen=True)
class VersionRow:
    """One version of a secret and the stores that hold it, as pairs of store and state."""

    number: int
    keys: list[str]
    created: int
    created_by: str
    placements: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class KeysRow:
    """A secret's current version by its key names alone."""

    id: str
    private_to: str
    name: str
    number: int
    keys: str

    @property
    def key_names(self) -> list[str]:
        """The version's keys, in the order in which they were given."""
        return decode_keys(self.keys)


decode_keys = msgspec.json.Decoder(list[str]).decode
decode_labels = msgspec.json.Decoder(dict[str, str]).decode

SECRET_COLUMNS: tuple[ColumnElement[Any], ...] = (
    secrets.c.id,
    secrets.c.workspace_id,
    secrets.c.private_to,
    secrets.c.name,
    secrets.c.description,
    secrets.c.labels,
    secrets.c.current_version,
    secrets.c.last_version,
    secrets.c.created,
    secrets.c.updated,
    secrets.c.expires_at,
    secrets.c.owner_id,
    workspaces.c.name,
    _owner.c.name,
    _creator.c.name,
    versions.c.number,
    versions.c.key_names,
    versions.c.digest,
    secrets.c.pointer_mark,
)
_WIDTH = len(SECRET_COLUMNS)


def with_version(number: ColumnElement[int]) -> FromClause:
    """Secrets joined with their people, their workspace and the version of the given number."""
    return with_people(secrets.join(versions, and_(versions.c.secret_id == secrets.c.id, versions.c.number == number)))


def with_people(source: FromClause) -> FromClause:
    """A source that contains secrets, joined with their people and their workspace."""
    return (
        source.join(workspaces, workspaces.c.id == secrets.c.workspace_id)
        .join(_owner, _owner.c.id == secrets.c.owner_id)
        .join(_creator, _creator.c.id == secrets.c.created_by_id)
    )


OWNER_NAME = _owner.c.name


class SecretIndex:
    """Reads and writes the index. Stateless but for its prepared statements; thread-safe.

    A secret is visible to whoever asks when it lies in their workspace and is private to nobody or to them. All look-ups take
    `workspace_id` and `user_id` and find nothing else.
    """

    def __init__(self, beside: Beside, binding: Binding) -> None:
        self._binding = binding
        current, given = secrets.c.current_version, bindparam("number", type_=versions.c.number.type)
        self._finders = {
            (field, versioned): Prepared(_finder(beside, secrets.c[field], given if versioned else current))
            for field in ("id", "name")
            for versioned in (False, True)
        }
        self._by_names = _finder(beside, secrets.c.name, current, several=True)

    def find_by_id(
        self, connection: Connection, workspace_id: str, user_id: str, secret_id: str, number: int | None = None
    ) -> SecretRow | None:
        """The secret of this full id with its current version, or with version `number`, if it is visible and has it."""
        return next(iter(self._find(connection, "id", secret_id, workspace_id, ("", user_id), number)), None)

    def find_by_name(
        self, connection: Connection, workspace_id: str, namespaces: Sequence[str], name: str, number: int | None = None
    ) -> SecretRow | None:
        """The secret of exactly this name in the first of the namespaces that has one ('' is the workspace)."""
        found = self._find(connection, "name", name, workspace_id, namespaces, number)
        return min(found, key=lambda row: namespaces.index(row.private_to), default=None)

    def find_by_names(
        self, connection: Connection, workspace_id: str, namespaces: Sequence[str], names: Sequence[str]
    ) -> dict[str, SecretRow]:
        """The secrets of exactly these names, with all that a read needs; each from the first namespace that has one.

        One query for each thousand names.
        """
        found: list[SecretRow] = []
        for some in _batches([name for name in names if can_be_stored(name)]):
            found += assemble(connection.execute(self._by_names, _among(workspace_id, namespaces, some)).all(), self._binding)
        return _first_of_each(found, namespaces)

    def find_keys(
        self, connection: Connection, workspace_id: str, namespaces: Sequence[str], names: Sequence[str]
    ) -> dict[str, KeysRow]:
        """The same by key names alone: asks no store and reads no sealed value."""
        found: list[KeysRow] = []
        for some in _batches([name for name in names if can_be_stored(name)]):
            found += [KeysRow(*row) for row in connection.execute(_KEYS, _among(workspace_id, namespaces, some))]
        return _first_of_each(found, namespaces)

    def visible(self, connection: Connection, workspace_id: str, user_id: str, secret_ids: Collection[str]) -> set[str]:
        """Which of these ids are those of secrets that the user may see."""
        found: set[str] = set()
        for some in _batches(secret_ids):
            found.update(connection.execute(_VISIBLE, _among(workspace_id, ("", user_id), some)).scalars())
        return found

    def _find(
        self,
        connection: Connection,
        field: str,
        value: str,
        workspace_id: str,
        namespaces: Sequence[str],
        number: int | None,
    ) -> list[SecretRow]:
        if not can_be_stored(value) or not (number is None or 0 < number <= _MAX_NUMBER):
            return []
        parameters = {
            "value": value,
            "workspace_id": workspace_id,
            "namespace": namespaces[0],
            "other": namespaces[-1],
            "number": number,
        }
        if number is not None:
            return assemble(self._finders[field, True].all(connection, parameters))
        del parameters["number"]
        return assemble(self._finders[field, False].all(connection, parameters), self._binding)

    def insert(
        self,
        connection: Connection,
        *,
        secret_id: str,
        workspace_id: str,
        private_to: str,
        name: str,
        user_id: str,
        description: str,
        labels: Mapping[str, str],
        expires_at: int | None,
        now: int,
        last_version: int = 1,
        updated: int | None = None,
    ) -> None:
        """Adds a secret whose first versions are to follow, the last one the current one.

        `ConstraintViolated` when the name is taken in its namespace.
        """
        changed = now if updated is None else updated
        _INSERT_SECRET.run(
            connection,
            [
                {
                    "id": secret_id,
                    "workspace_id": workspace_id,
                    "private_to": private_to,
                    "name": name,
                    "owner_id": user_id,
                    "created_by_id": user_id,
                    "description": description,
                    "labels": _encode(labels),
                    "current_version": last_version,
                    "last_version": last_version,
                    "created": now,
                    "updated": changed,
                    "expires_at": expires_at,
                    "pointer_mark": self._binding.pointer_mark(
                        secret_id, workspace_id, private_to, name, last_version, last_version, changed
                    ),
                }
            ],
        )
        _insert_labels(connection, secret_id, labels)
        secret_count.add(connection, workspace_id, private_to, secret_id)

    def add_version(
        self,
        connection: Connection,
        *,
        secret_id: str,
        number: int,
        keys: Sequence[str],
        digest: bytes,
        user_id: str,
        placed: Mapping[str, str],
        now: int,
    ) -> None:
        """Adds a version and where it lies: store id to locator."""
        _INSERT_VERSION.run(
            connection,
            [
                {
                    "secret_id": secret_id,
                    "number": number,
                    "key_names": _encode(keys),
                    "digest": digest,
                    "created": now,
                    "created_by_id": user_id,
                }
            ],
        )
        for store_id, locator in placed.items():
            _INSERT_PLACEMENT.run(
                connection,
                [{"secret_id": secret_id, "number": number, "store_id": store_id, "locator": locator, "state": PRESENT}],
            )

    def advance(self, connection: Connection, known: SecretRow, changes: Mapping[str, Any]) -> bool:
        """Compare-and-set: applies the changes if the secret is still as it was `known`. False if it has moved on or is gone.

        `changes` are columns of `secrets`; a new `labels` comes as a mapping. `ConstraintViolated` when a new name is taken. The
        caller must have looked at `is_bound`: from here on the row is one that strongroom wrote.
        """
        columns = dict(changes)
        after = msgspec.structs.replace(known, **{name: columns[name] for name in _POINTER if name in columns})
        columns["pointer_mark"] = self._binding.pointer_mark(*after.pointer)
        if "labels" in columns:
            columns["labels"] = _encode(columns["labels"])
        moved = connection.execute(
            update(secrets)
            .where(
                secrets.c.id == known.id,
                secrets.c.current_version == known.current_version,
                secrets.c.last_version == known.last_version,
                secrets.c.private_to == known.private_to,
                secrets.c.name == known.name,
                secrets.c.updated == known.updated,  # grows with each change: what the caller tells is all of one moment
            )
            .values(**columns)
        )
        if moved.rowcount != 1:
            return False
        if "labels" in columns:
            connection.execute(_DELETE_LABELS, {"of": known.id})
            _insert_labels(connection, known.id, changes["labels"])
        if columns.get("private_to", known.private_to) != known.private_to:
            secret_count.move(connection, known.workspace_id, known.private_to, columns["private_to"], known.id)
        return True

    def forget_versions(self, connection: Connection, secret_id: str, up_to: int, keeping: int) -> list[tuple[str, str]]:
        """Drops all versions numbered up to `up_to`, but neither `keeping` nor the current one.

        Returns their former placements, where stores hold something: store id and locator.
        """
        old = list(connection.execute(_OLD_VERSIONS, {"of": secret_id, "up_to": up_to, "keeping": keeping}).scalars())
        if not old:
            return []
        # Whoever places a copy holds its version: from here on there are no other placements than those that are read.
        connection.execute(_HOLD_VERSIONS.where(versions.c.number.in_(_numbers)), {"of": secret_id, "numbers": old})
        placed = connection.execute(_PLACED, {"of": secret_id, "numbers": old}).all()
        connection.execute(_DELETE_PLACEMENTS, {"of": secret_id, "numbers": old})
        connection.execute(_DELETE_VERSIONS, {"of": secret_id, "numbers": old})
        return [(store_id, locator) for store_id, locator in placed]

    def delete(self, connection: Connection, known: SecretRow) -> list[tuple[str, str]] | None:
        """Deletes a secret and all its versions. Their former placements, or None if somebody else was faster or moved it."""
        lock = select(secrets.c.private_to).where(secrets.c.id == known.id).with_for_update()
        if connection.execute(lock).scalar() != known.private_to:
            return None
        connection.execute(_HOLD_VERSIONS, {"of": known.id})  # as in `forget_versions`
        placed = connection.execute(_ALL_PLACED, {"of": known.id}).all()
        for statement in (_DELETE_ALL_PLACEMENTS, _DELETE_ALL_VERSIONS, _DELETE_LABELS, _DELETE_SECRET):
            connection.execute(statement, {"of": known.id})
        secret_count.remove(connection, known.workspace_id, known.private_to, known.id)
        return [(store_id, locator) for store_id, locator in placed]

    def list_versions(self, connection: Connection, secret_id: str) -> list[VersionRow]:
        """All kept versions, newest first."""
        found: dict[int, VersionRow] = {}
        for number, keys, created, created_by, store_id, state in connection.execute(_VERSIONS, {"of": secret_id}):
            row = found.setdefault(number, VersionRow(number, decode_keys(keys), created, created_by, []))
            if store_id is not None:
                row.placements.append((store_id, state))
        return list(found.values())

    def names_starting_with(
        self, connection: Connection, workspace_id: str, namespaces: Sequence[str], letters: str, limit: int
    ) -> list[str]:
        """Up to `limit` visible names that start with one of the letters."""
        names: list[str] = []
        for letter in letters:
            for namespace in namespaces:
                rows = connection.execute(
                    _NAMES,
                    {
                        "workspace_id": workspace_id,
                        "namespace": namespace,
                        "low": letter,
                        "high": letter + "\x7f",
                        "limit": limit,
                    },
                )
                names += rows.scalars()
        return names


_Row = TypeVar("_Row", SecretRow, KeysRow)


def _batches(texts: Collection[str]) -> list[Sequence[str]]:
    """What can be there at all, in portions for one query each."""
    wanted = [text for text in texts if can_be_stored(text)]
    return [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]


def _among(workspace_id: str, namespaces: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    return {"workspace_id": workspace_id, "namespace": namespaces[0], "other": namespaces[-1], "values": list(names)}


def _first_of_each(rows: Sequence[_Row], namespaces: Sequence[str]) -> dict[str, _Row]:
    """By name, the row of the namespace that comes first."""
    return {row.name: row for row in sorted(rows, key=lambda row: namespaces.index(row.private_to), reverse=True)}


def _finder(beside: Beside, field: ColumnElement[Any], number: ColumnElement[int], *, several: bool = False) -> Select[Any]:
    source = with_version(number).outerjoin(
        placements, and_(placements.c.secret_id == secrets.c.id, placements.c.number == versions.c.number)
    )
    return (
        select(*SECRET_COLUMNS, placements.c.store_id, placements.c.locator, placements.c.state, *beside.columns)
        .select_from(beside.join(source))
        .where(
            field.in_(_values) if several else field == bindparam("value"),
            secrets.c.workspace_id == bindparam("workspace_id"),
            secrets.c.private_to.in_([bindparam("namespace"), bindparam("other")]),
        )
    )


_POINTER = ("private_to", "name", "current_version", "last_version", "updated")
"""The columns under `pointer_mark` that change."""
_NUMBER = SECRET_COLUMNS.index(versions.c.number)


def assemble(rows: Sequence[Sequence[Any]], binding: Binding | None = None) -> list[SecretRow]:
    """One `SecretRow` per version out of one row per placement. With `binding` they were asked for as current versions."""
    found: dict[tuple[str, int], SecretRow] = {}
    for row in rows:
        key = row[0], row[_NUMBER]
        secret = found.get(key)
        if secret is None:
            secret = found[key] = secret_row(row[:_WIDTH], binding)
        store_id, locator, state, *beside = row[_WIDTH:]
        if store_id is not None:
            secret.placements.append(PlacementRow(store_id, locator, state, beside))
    return list(found.values())


def secret_row(columns: Sequence[Any], binding: Binding | None = None) -> SecretRow:
    """The row of `SECRET_COLUMNS`, with its placements still to come."""
    bound = True
    if binding is not None:
        secret_id, workspace_id, private_to, name, _, _, current_version, last_version, _, updated, *_ = columns
        bound = binding.is_pointer(columns[-1], secret_id, workspace_id, private_to, name, current_version, last_version, updated)
    return SecretRow(*(*columns[:-3], decode_keys(columns[-3]), columns[-2], columns[-1], [], bound))


def _insert_labels(connection: Connection, secret_id: str, labels: Mapping[str, str]) -> None:
    if labels:
        rows = [{"secret_id": secret_id, "key": key, "value": value} for key, value in labels.items()]
        connection.execute(_INSERT_LABEL, rows)


def _encode(data: object) -> str:
    return msgspec.json.encode(data).decode()


_numbers: BindParameter[int] = bindparam("numbers", expanding=True)
_KEYS = (
    select(secrets.c.id, secrets.c.private_to, secrets.c.name, versions.c.number, versions.c.key_names)
    .join(versions, and_(versions.c.secret_id == secrets.c.id, versions.c.number == secrets.c.current_version))
    .where(
        secrets.c.name.in_(_values),
        secrets.c.workspace_id == bindparam("workspace_id"),
        secrets.c.private_to.in_([bindparam("namespace"), bindparam("other")]),
    )
)
_VISIBLE = select(secrets.c.id).where(
    secrets.c.id.in_(_values),
    secrets.c.workspace_id == bindparam("workspace_id"),
    secrets.c.private_to.in_([bindparam("namespace"), bindparam("other")]),
)
_INSERT_SECRET = PreparedInsert(secrets)
_INSERT_LABEL = insert(secret_labels)
_INSERT_VERSION = PreparedInsert(versions)
_INSERT_PLACEMENT = PreparedInsert(placements)
_OLD_VERSIONS = (
    select(versions.c.number)
    .join(secrets, secrets.c.id == versions.c.secret_id)
    .where(
        versions.c.secret_id == _of,
        versions.c.number <= bindparam("up_to"),
        versions.c.number != bindparam("keeping"),
        versions.c.number != secrets.c.current_version,
    )
)
_HOLD_VERSIONS = select(versions.c.number).where(versions.c.secret_id == _of).order_by(versions.c.number).with_for_update()
# What a store was emptied of is to be deleted there already.
_ALL_PLACED = select(placements.c.store_id, placements.c.locator).where(placements.c.secret_id == _of, placements.c.state == PRESENT)
_PLACED = _ALL_PLACED.where(placements.c.number.in_(_numbers))
_DELETE_PLACEMENTS = delete(placements).where(placements.c.secret_id == _of, placements.c.number.in_(_numbers))
_DELETE_VERSIONS = delete(versions).where(versions.c.secret_id == _of, versions.c.number.in_(_numbers))
_DELETE_ALL_PLACEMENTS = delete(placements).where(placements.c.secret_id == _of)
_DELETE_ALL_VERSIONS = delete(versions).where(versions.c.secret_id == _of)
_DELETE_LABELS = delete(secret_labels).where(secret_labels.c.secret_id == _of)
_DELETE_SECRET = delete(secrets).where(secrets.c.id == _of)
_VERSIONS = (
    select(
        versions.c.number,
        versions.c.key_names,
        versions.c.created,
        _creator.c.name,
        placements.c.store_id,
        placements.c.state,
    )
    .join(_creator, _creator.c.id == versions.c.created_by_id)
    .outerjoin(placements, and_(placements.c.secret_id == versions.c.secret_id, placements.c.number == versions.c.number))
    .where(versions.c.secret_id == _of)
    .order_by(versions.c.number.desc(), placements.c.store_id)
)
_NAMES = (
    select(secrets.c.name)
    .where(
        secrets.c.workspace_id == bindparam("workspace_id"),
        secrets.c.private_to == bindparam("namespace"),
        secrets.c.name >= bindparam("low"),
        secrets.c.name < bindparam("high"),
    )
    .order_by(secrets.c.name)
    .limit(bindparam("limit"))
)
