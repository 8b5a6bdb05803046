"""The encryption keys of a deployment: found at the start, rotated online.

Which keys a database was written with is written in the database (their ids only). A source holds the keys themselves. A rotation
moves in small steps, each of which leaves everything readable, so it can be cut off anywhere and run again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import forking
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

if TYPE_CHECKING:
    from sqlalchemy import Connection

OPERATION = "deployment.rotate_key"
"""As the audit trail calls it when a key is put in charge."""

_BATCH = 200


class EncryptionKeys:
    """The keys at hand for one database. `find_source` is asked at each reading, for a rotation may move the keys. Thread-safe."""

    def __init__(self, database: Database, find_source: Callable[[], KeySource]) -> None:
        self._database, self._find_source = database, find_source
        self._lock = forking.renewed(self, "_lock", threading.RLock)
        self.keyring = self._read()

    def reload(self) -> Keyring:
        """Reads source and database again, for when another process has rotated the key."""
        with self._lock:
            self.keyring = self._read()
            return self.keyring

    def digest_key(self) -> bytes:
        """The key for digests of values. It outlives rotations."""
        missing = None
        while True:
            with self._database.read() as connection:
                row = rows.find_deployment(connection)
            assert row is not None, "opened databases have a deployment"
            try:
                return unwrap_digest_key(self.keyring, row)
            except UnknownKey as error:  # another process has rotated the key since ours was read
                if error.key_id == missing:
                    raise _changed() from None
                missing = error.key_id
                self.reload()

    def _read(self) -> Keyring:
        while True:
            active, self.source = self._active(), self._find_source()
            keys = self.source.load()
            ids = [key_id(key) for key in keys]
            if active in ids:
                return Keyring(keys, active)
            if active == self._active():
                break  # else another process has rotated the key between the two looks
        if not keys:
            raise EncryptionKeyError(
                f"the encryption key of this database is gone: {self.source.description} is empty or missing",
                hint=f"put it back, or give it in {PREFIX}ENCRYPTION_KEY; without it the values cannot be read",
            )
        raise EncryptionKeyError(
            f"wrong encryption key: the database uses {active}, but {self.source.description} holds {', '.join(ids)}",
            hint="give the key that the database was made with; if it was rotated, give both, the newer one first",
        )

    def _active(self) -> str:
        with self._database.read() as connection:
            known = rows.list_keys(connection)
        return next((known_id for known_id, is_active in known.items() if is_active), "none")


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
    activated: Callable[[Connection, str], None],
) -> Rotation:
    """Puts a new key in charge and wraps every data key by it, while others read and write.

    A key that strongroom manages is made anew; one that the operator gives has to stand before the current one. Calls `activated`
    with the key's id in the transaction that puts it in charge, and `progress` with (done, total). Safe to interrupt: run again, it
    goes on where it was.
    """
    source = keys.source
    if not source.managed and target is not source:
        raise EncryptionKeyError(f"the key comes from {source.description}", hint="unset it to let strongroom keep the key")
    with database.write() as connection, _missing_key_named():
        # Under one lock: of two rotations that begin at once, the second one has to find the key of the first.
        row = rows.lock_deployment(connection)
        known = rows.list_keys(connection)
        key, others = _next_key(known, source)
        new_id = key_id(key)
        keyring = Keyring([key, *others], new_id)
        if source.managed:
            for each in {id(place): place for place in (source, target)}.values():
                each.replace([key, *others])
        if new_id not in known:
            wrapped = envelope.rewrap(keyring, row.key_id, row.wrapped_key, _digest_place(row.id))[1]
            rows.activate_key(connection, new_id, wrapped, now())
            activated(connection, new_id)
    keys.reload()
    former = sorted(known.keys() - {new_id})
    done = 0
    while True:
        rewrapped, corrupt = _rewrap_all(database, store, keyring, former, progress)
        done += rewrapped
        retired = [each for each in former if _retire(database, each)]
        if len(retired) == len(former) or corrupt:
            break  # else somebody who had not heard of the new key yet wrote behind our back: go once more
    if source.managed:
        _forget_keys(database, source, target)
    keys.reload()
    return Rotation(new_id, done, retired, corrupt, operator_given=not source.managed)


def _next_key(known: Mapping[str, bool], source: KeySource) -> tuple[bytes, list[bytes]]:
    """The key that is to be in charge, and the others that are still needed."""
    keys = source.load()
    if not keys:
        raise EncryptionKeyError(f"{source.description} is empty", hint="was the key moved by another rotation? try again")
    first, rest = keys[0], [key for key in keys[1:] if key_id(key) in known]
    if key_id(first) not in known:
        return first, rest  # given by the operator, or left by a rotation that was cut off before its first step
    if len(known) > 1 and known[key_id(first)]:
        return first, rest  # a rotation was cut off later
    if source.managed:
        return aead.new_key(), [first, *rest]
    raise EncryptionKeyError(
        f"{source.description} holds no new key to rotate to",
        hint="put a new key before the current one, separated by a comma; make one with: strongroom server generate-key",
    )


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


def _forget_keys(database: Database, source: KeySource, target: KeySource) -> None:
    """Leaves only those keys in the target that the database knows; these may include the next one of another rotation."""
    with database.write() as connection:
        rows.lock_deployment(connection)
        known = rows.list_keys(connection)
        kept = [key for key in source.load() if key_id(key) in known]
        if kept:
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


def _retire(database: Database, former_id: str) -> bool:
    try:
        with database.write() as connection:
            rows.retire_key(connection, former_id)
    except ConstraintViolated:
        return False
    return True


def make_digest_key(keyring: Keyring, deployment_id: str) -> tuple[str, bytes, bytes]:
    """A new digest key as it is stored: the id of the key that wraps it, the wrapped data key, the sealed digest key."""
    return seal_digest_key(keyring, aead.new_key(), deployment_id)


def seal_digest_key(keyring: Keyring, digest_key: bytes, deployment_id: str) -> tuple[str, bytes, bytes]:
    """A digest key as it is stored for a deployment."""
    sealed = envelope.seal(keyring, digest_key, _digest_place(deployment_id))
    return sealed.key_id, sealed.wrapped_key, sealed.sealed


def unwrap_digest_key(keyring: Keyring, row: Deployment) -> bytes:
    """The digest key in clear."""
    try:
        return envelope.unseal(keyring, envelope.Envelope(row.key_id, row.wrapped_key, row.digest_key), _digest_place(row.id))
    except aead.DecryptionFailed:
        raise _changed() from None


def unwrap_former_digest_key(keyring: Keyring, row: Deployment) -> bytes | None:
    """The digest key in clear if it is sealed as before versions and pointers were bound, see `service/binding.py`."""
    try:
        return envelope.unseal(keyring, envelope.Envelope(row.key_id, row.wrapped_key, row.digest_key), _former_place(row.id))
    except aead.DecryptionFailed:
        return None


def reseal_digest_key(keyring: Keyring, row: Deployment, deployment_id: str) -> tuple[str, bytes, bytes]:
    """The same digest key as it is stored for a deployment of another id."""
    return seal_digest_key(keyring, unwrap_digest_key(keyring, row), deployment_id)


def _changed() -> EncryptionKeyError:
    return EncryptionKeyError("the database's row of encryption data was changed", hint="restore it from a backup")


def key_target(settings: Settings, name: str) -> KeySource:
    """The managed source of this name, `file` or `keyring`."""
    return SystemKeyring(str(settings.folder)) if name == "keyring" else KeyFile(settings.folder / "encryption.key")


def _digest_place(deployment_id: str) -> bytes:
    return b"strongroom digest key 2\0" + deployment_id.encode()


def _former_place(deployment_id: str) -> bytes:
    return b"strongroom digest key\0" + deployment_id.encode()
