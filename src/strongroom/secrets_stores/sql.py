"""The `sql` secrets store: sealed values in the index's own database.

Because it shares the database, its writes belong to the transaction that moves the index, and its reads ride on the index's query.
Values are sealed by an envelope (see `crypto.envelope`) bound to secret, version and locator: a row that was copied, swapped or
rolled back does not open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec
from sqlalchemy import ColumnElement, Connection, FromClause, and_, bindparam, delete, func, select, update

from strongroom.crypto import envelope
from strongroom.crypto.aead import DecryptionFailed
from strongroom.crypto.envelope import Envelope
from strongroom.crypto.keyring import Keyring, UnknownKey
from strongroom.db.checkpoints import wipe_after_commit
from strongroom.db.query import PreparedInsert
from strongroom.db.tables import placements, sql_values
from strongroom.errors import EncryptionKeyError, ValuesCorrupt, ValuesMissing

STORE_ID = "sql"


class Keys(Protocol):
    """Gives the encryption keys; another process may rotate them at any time."""

    @property
    def keyring(self) -> Keyring:
        """The keys as known now."""

    def reload(self) -> Keyring:
        """The keys, freshly read from their source and the database."""


class Place(NamedTuple):
    """Where a version belongs; sealed values open nowhere else."""

    secret_id: str
    number: int
    locator: str

    def __bytes__(self) -> bytes:
        return f"strongroom values\0{self.secret_id}\0{self.number}\0{self.locator}".encode()


@dataclass(frozen=True)
class Rewrapped:
    """What one batch did: how many data keys it wrapped anew, which versions do not open, and where the next batch goes on."""

    done: int
    corrupt: list[tuple[str, int]]
    next_after: str | None


class SqlSecretsStore:
    """Stateless but for the keys; thread-safe."""

    columns: Sequence[ColumnElement[Any]] = (sql_values.c.key_id, sql_values.c.wrapped_key, sql_values.c.sealed)
    """What a query of the index selects beside its own columns to read values at once."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def join(self, source: FromClause) -> FromClause:
        """A query's source that contains `placements`, extended by this store's rows."""
        return source.outerjoin(sql_values, and_(placements.c.locator == sql_values.c.locator, placements.c.store_id == STORE_ID))

    def seal(self, place: Place, values: dict[str, str]) -> Envelope:
        """The values as they will be stored at this place, under the active key."""
        return envelope.seal(self._keys.keyring, msgspec.json.encode(values), bytes(place))

    def unseal(self, place: Place, row: Sequence[Any]) -> dict[str, str]:
        """The values in the columns that a query selected, or `ValuesMissing`, `ValuesCorrupt`, `EncryptionKeyError`."""
        if row[0] is None:
            raise ValuesMissing("the values of this secret are missing from the database", hint="restore them from a backup")
        sealed = Envelope(*row)
        try:
            return _decode(self._open(self._keys.keyring, sealed, place))
        except UnknownKey:
            try:  # another process may have rotated the key since ours was read
                return _decode(self._open(self._keys.reload(), sealed, place))
            except UnknownKey as error:
                raise EncryptionKeyError(
                    f"these values are encrypted with the key {error.key_id}, which is not at hand",
                    hint="add the former key behind the current one",
                ) from None

    def insert(self, connection: Connection, place: Place, sealed: Envelope) -> None:
        """Writes sealed values as part of the caller's transaction. The database refuses a retired key (`ConstraintViolated`)."""
        _INSERT.run(
            connection,
            [
                {
                    "locator": place.locator,
                    "secret_id": place.secret_id,
                    "number": place.number,
                    "key_id": sealed.key_id,
                    "wrapped_key": sealed.wrapped_key,
                    "sealed": sealed.sealed,
                }
            ],
        )

    def delete(self, connection: Connection, locators: Iterable[str], *, soon: bool = False) -> None:
        """Deletes what lies at the locators, as part of the caller's transaction; what is gone is no error.

        On SQLite, no byte of it stays in the files of the database; with `soon`, after a while. See `wipe_after_commit`.
        """
        wipe_after_commit(connection, soon=soon)
        connection.execute(_DELETE, {"locators": list(locators)})

    def scan(self, connection: Connection, after: str, limit: int) -> list[Place]:
        """Where values lie, in the order of their locators, which come after `after`. No value is read."""
        return [Place(row.secret_id, row.number, row.locator) for row in connection.execute(_SCAN, {"after": after, "limit": limit})]

    def holds(self, connection: Connection, locator: str) -> bool:
        """Whether something lies at the locator. No value is read."""
        return connection.execute(_HOLDS, {"at": locator}).scalar() is not None

    def rewrap(self, connection: Connection, keyring: Keyring, former: Sequence[str], after: str, limit: int) -> Rewrapped:
        """Wraps data keys that are under the `former` keys by the active one, in the caller's transaction.

        Takes up to `limit` rows whose locators come after `after`. Rows that do not open are left and named; `UnknownKey` if the
        keyring lacks a former key.
        """
        rows = connection.execute(_UNDER, {"keys": list(former), "after": after, "limit": limit}).all()
        corrupt = []
        for locator, secret_id, number, key_id, wrapped_key in rows:
            try:
                new_key_id, rewrapped = envelope.rewrap(keyring, key_id, wrapped_key, bytes(Place(secret_id, number, locator)))
            except DecryptionFailed:
                corrupt.append((secret_id, number))
                continue
            wipe_after_commit(connection)
            connection.execute(_REWRAP, {"at": locator, "former": key_id, "new_key_id": new_key_id, "rewrapped": rewrapped})
        return Rewrapped(len(rows) - len(corrupt), corrupt, rows[-1].locator if len(rows) == limit else None)

    def count_under(self, connection: Connection, key_ids: Sequence[str]) -> int:
        """How many rows are wrapped by these keys."""
        return connection.execute(_COUNT_UNDER, {"keys": list(key_ids)}).scalar_one()

    @staticmethod
    def _open(keyring: Keyring, sealed: Envelope, place: Place) -> bytes:
        try:
            return envelope.unseal(keyring, sealed, bytes(place))
        except DecryptionFailed:
            raise _corrupt(place.secret_id, place.number) from None


def _corrupt(secret_id: str, number: int) -> ValuesCorrupt:
    return ValuesCorrupt(
        f"version {number} of secret {secret_id} does not decrypt: its row was damaged, copied or changed",
        hint="roll back to another version, or restore the database from a backup",
    )


_decode: Callable[[bytes], dict[str, str]] = msgspec.json.Decoder(dict[str, str]).decode
_INSERT = PreparedInsert(sql_values)
_SCAN = (
    select(sql_values.c.secret_id, sql_values.c.number, sql_values.c.locator)
    .where(sql_values.c.locator > bindparam("after"))
    .order_by(sql_values.c.locator)
    .limit(bindparam("limit"))
)
_DELETE = delete(sql_values).where(sql_values.c.locator.in_(bindparam("locators", expanding=True)))
_HOLDS = select(sql_values.c.number).where(sql_values.c.locator == bindparam("at"))
_under: ColumnElement[bool] = sql_values.c.key_id.in_(bindparam("keys", expanding=True))
_UNDER = (
    select(sql_values.c.locator, sql_values.c.secret_id, sql_values.c.number, sql_values.c.key_id, sql_values.c.wrapped_key)
    .where(_under, sql_values.c.locator > bindparam("after"))
    .order_by(sql_values.c.locator)
    .limit(bindparam("limit"))
)
_COUNT_UNDER = select(func.count()).select_from(sql_values).where(_under)
_REWRAP = (
    update(sql_values)
    .where(sql_values.c.locator == bindparam("at"), sql_values.c.key_id == bindparam("former"))
    .values(key_id=bindparam("new_key_id"), wrapped_key=bindparam("rewrapped"))
)
