"""The encryption keys of a deployment: found at the start, rotated online.

Which keys a database was written with is written in the database (their ids only). A source holds the keys themselves. A rotation
moves in small steps, each of which leaves everything readable, so it can be cut off anywhere and run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from strongroom.config import PREFIX, Settings
from strongroom.crypto import aead, envelope
from strongroom.crypto.key_source import KeyFile, KeySource, SystemKeyring
from strongroom.crypto.keyring import Keyring, UnknownKey, key_id
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.errors import EncryptionKeyError
from strongroom.metadata import deployment as rows
from strongroom.metadata.deployment import Deployment
from strongroom.secrets_stores.sql import SqlSecretsStore

_BATCH = 200
_ATTEMPTS = 5


class EncryptionKeys:
    """The keys at hand for one database. `find_source` is asked at each reading, for a rotation may move the keys. Thread-safe."""

    def __init__(self, database: Database, find_source: Callable[[], KeySource]) -> None:
        self._database, self._find_source = database, find_source
        self._lock = threading.Lock()
        self.keyring = self._read()

    def reload(self) -> Keyring:
        """Reads source and database again, for when another process has rotated the key."""
        with self._lock:
            self.keyring = self._read()
            return self.keyring

    def digest_key(self) -> bytes:
        """The key for digests of values. It outlives rotations."""
        for _ in range(_ATTEMPTS):
            with self._database.read() as connection:
                row = rows.find_deployment(connection)
            assert row is not None, "opened databases have a deployment"
            try:
                return unwrap_digest_key(self.keyring, row)
            except UnknownKey:  # another process has rotated the key since ours was read
                self.reload()
        raise _changed()

    def _read(self) -> Keyring:
        for _ in range(_ATTEMPTS):
            with self._database.read() as connection:
                known = rows.list_keys(connection)
            self.source = self._find_source()
            keys = self.source.load()
            active = next((known_id for known_id, is_active in known.items() if is_active), "none")
            if active in map(key_id, keys):
                return Keyring(keys, active)
            with self._database.read() as connection:
                if rows.list_keys(connection) == known:
                    break  # else a rotation moved on between the two looks: look again
        if not keys:
            raise EncryptionKeyError(
                f"the encryption key of this database is gone: {self.source.description} is empty or missing",
                hint=f"put it back, or give it in {PREFIX}ENCRYPTION_KEY; without it the values cannot be read",
            )
        held = ", ".join(map(key_id, keys))
        raise EncryptionKeyError(
            f"wrong encryption key: the database uses {active}, but {self.source.description} holds {held}",
            hint="give the key that the database was made with; if it was rotated, give both, the newer one first",
        )


@dataclass(frozen=True)
class Rotation:
    """What a rotation did. `corrupt` names versions (secret id, number) that open under no key; they keep a former key alive."""

    key_id: str
    rewrapped: int
    retired: list[str]
    corrupt: list[tuple[str, int]]
    operator_given: bool


def rotate(
    database: Database,
    keys: EncryptionKeys,
    store: SqlSecretsStore,
    target: KeySource,
    progress: Callable[[int, int], None],
) -> Rotation:
    """Puts a new key in charge and wraps every data key by it, while others read and write.

    A key that strongroom manages is made anew; one that the operator gives has to stand before the current one. Calls `progress`
    with (done, total). Safe to interrupt: run again, it goes on where it was.
    """
    source = keys.source
    if not source.managed and target is not source:
        raise EncryptionKeyError(f"the key comes from {source.description}", hint="unset it to let strongroom keep the key")
    with database.write() as connection, _missing_key_named():
        keyring, former = _activate_next(connection, source, target)
    keys.reload()
    done = 0
    while True:
        rewrapped, corrupt = _rewrap_all(database, store, keyring, former, progress)
        done += rewrapped
        retired = [each for each in former if _retire(database, each)]
        if len(retired) == len(former) or corrupt:
            break  # else somebody who had not heard of the new key yet wrote behind our back: go once more
    if source.managed:
        with database.write() as connection:
            _drop_retired(connection, source, target)
    keys.reload()
    return Rotation(keyring.active_id, done, retired, corrupt, operator_given=not source.managed)


def _activate_next(connection: Connection, source: KeySource, target: KeySource) -> tuple[Keyring, list[str]]:
    """Finds or makes the key that is to be in charge, keeps it safe, then registers it. Also gives the ids of the former keys.

    Source and database change under the lock of the deployment's row: of two rotations at once, the later one joins the earlier.
    """
    row = rows.find_deployment(connection, lock=True)
    assert row is not None, "opened databases have a deployment"
    known = rows.list_keys(connection)
    keys = source.load()
    if not keys:
        raise EncryptionKeyError(f"{source.description} is empty", hint="was the key moved by another rotation? try again")
    first, others = keys[0], [key for key in keys[1:] if key_id(key) in known]
    if key_id(first) not in known or (known[key_id(first)] and len(known) > 1):
        key = first  # given by the operator, or left by a rotation that was cut off
    elif source.managed:
        key, others = aead.new_key(), [first, *others]
    else:
        raise EncryptionKeyError(
            f"{source.description} holds no new key to rotate to",
            hint="put a new key before the current one, separated by a comma; make one with: strongroom server generate-key",
        )
    if source.managed:
        for each in (source, target) if source is not target else (source,):
            each.replace([key, *others])
    keyring = Keyring([key, *others], key_id(key))
    if keyring.active_id not in known:
        wrapped = envelope.rewrap(keyring, row.key_id, row.wrapped_key, _digest_place(row.id))[1]
        rows.activate_key(connection, keyring.active_id, wrapped, now())
    # Only these are rewrapped: a key that another rotation puts in charge before this one ends is none of its business.
    return keyring, sorted(known.keys() - {keyring.active_id})


def _drop_retired(connection: Connection, source: KeySource, target: KeySource) -> None:
    """Removes keys that the database knows no more, under the same lock."""
    rows.find_deployment(connection, lock=True)
    known = rows.list_keys(connection)
    kept = [key for key in source.load() if key_id(key) in known]
    if kept:  # else another rotation has moved them
        target.replace(kept)
        if source is not target:
            source.clear()


@contextmanager
def _missing_key_named() -> Iterator[None]:
    try:
        yield
    except UnknownKey as error:
        raise EncryptionKeyError(
            f"the rotation needs the former key {error.key_id}, which is not at hand",
            hint="add it behind the current one, then rotate again",
        ) from None


def _rewrap_all(
    database: Database, store: SqlSecretsStore, keyring: Keyring, former: Sequence[str], progress: Callable[[int, int], None]
) -> tuple[int, list[tuple[str, int]]]:
    with database.read() as connection:
        total = store.count_under(connection, former)
    done = 0
    corrupt: list[tuple[str, int]] = []
    after: str | None = ""
    while after is not None:
        with database.write() as connection, _missing_key_named():
            batch = store.rewrap(connection, keyring, former, after, _BATCH)
        done, after = done + batch.done, batch.next_after
        corrupt += batch.corrupt
        progress(done, total)
    return done, corrupt


def _retire(database: Database, former_id: str) -> bool:
    try:
        with database.write() as connection:
            rows.retire_key(connection, former_id)
    except ConstraintViolated:
        return False
    return True


def make_digest_key(keyring: Keyring, deployment_id: str) -> tuple[str, bytes, bytes]:
    """A new digest key as it is stored: the id of the key that wraps it, the wrapped data key, the sealed digest key."""
    sealed = envelope.seal(keyring, aead.new_key(), _digest_place(deployment_id))
    return sealed.key_id, sealed.wrapped_key, sealed.sealed


def unwrap_digest_key(keyring: Keyring, row: Deployment) -> bytes:
    """The digest key in clear."""
    try:
        return envelope.unseal(keyring, envelope.Envelope(row.key_id, row.wrapped_key, row.digest_key), _digest_place(row.id))
    except aead.DecryptionFailed:
        raise _changed() from None


def _changed() -> EncryptionKeyError:
    return EncryptionKeyError("the database's row of encryption data was changed", hint="restore it from a backup")


def key_target(settings: Settings, name: str) -> KeySource:
    """The managed source of this name, `file` or `keyring`."""
    return SystemKeyring(str(settings.folder)) if name == "keyring" else KeyFile(settings.folder / "encryption.key")


def _digest_place(deployment_id: str) -> bytes:
    return b"strongroom digest key\0" + deployment_id.encode()
