"""Opening a deployment: its database, its schema, its encryption keys, and the first rows of a new one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from strongroom.audit.anchor import Anchor, Known
from strongroom.audit.chain import START, audit_key
from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.config import PREFIX, Settings
from strongroom.crypto.aead import new_key
from strongroom.crypto.binding import Binding
from strongroom.crypto.key_source import KeySource, SystemKeyring, find_key_source
from strongroom.crypto.keyring import Keyring, key_id
from strongroom.db import schema
from strongroom.db.clock import follow_clock, now
from strongroom.db.engine import Database
from strongroom.db.identifiers import new_id
from strongroom.errors import EncryptionKeyError, NotFound, printable
from strongroom.metadata import audit as audit_rows
from strongroom.metadata import deployment as rows
from strongroom.metadata.deployment import DEFAULT
from strongroom.metadata.identity import put_member
from strongroom.metadata.stack import create_defaults
from strongroom.service.audit_head import begin_chain
from strongroom.service.audit_journals import seal_former_rows
from strongroom.service.binding import bind_former_rows
from strongroom.service.encryption_keys import EncryptionKeys, make_digest_key, unwrap_digest_key


@dataclass(frozen=True)
class Deployment:
    """An open database with its keys, and the identity of whoever uses it without a server."""

    id: str
    settings: Settings
    database: Database
    keys: EncryptionKeys
    digest_key: bytes
    binding: Binding
    local_actor: Actor

    def close(self) -> None:
        """Closes the database's connections."""
        self.database.close()


def open_deployment(settings: Settings) -> Deployment:
    """Opens the database, making or upgrading it if needed. A wrong or missing key is an error and changes nothing."""
    database = Database(settings.database_url, settings.database_timeout)
    try:
        source = find_key_source(settings)
        if not schema.is_current(database):
            _check_key(database, settings, source)
            schema.upgrade(database, lambda connection: _begin(connection, settings, source))
        keys = EncryptionKeys(database, lambda: _where_the_key_is(settings))
        with database.read() as connection:
            if not database.has_one_writer:
                follow_clock(connection)
            row = rows.find_deployment(connection)
        assert row is not None, "opened databases have a deployment"
        digest_key, actor = keys.digest_key(), local_actor(database, settings.active_workspace)
        return Deployment(row.id, settings, database, keys, digest_key, Binding(digest_key), actor)
    except BaseException:
        database.close()
        raise


def local_actor(database: Database, workspace: str | None) -> Actor:
    """Whoever uses the database without a server: its first user, who administers it, in this workspace or the chosen one."""
    with database.read() as connection:
        identity = rows.local_identity(connection, workspace)
    if identity is None:
        raise NotFound(f"there is no workspace '{printable(workspace or '')}'", hint=f"check {PREFIX}ACTIVE_WORKSPACE")
    role = Role.NONE if identity.role is None else Role(identity.role)
    return Actor(identity.user_id, DEFAULT, identity.workspace_id, identity.workspace, role, admin=True)


def _check_key(database: Database, settings: Settings, source: KeySource) -> None:
    """Refuses a key that cannot work before any table is made: MySQL could not undo that."""
    with database.read() as connection:
        new = schema.revision(connection) is None
    if new and source.managed and not settings.is_local_database:
        raise EncryptionKeyError(
            f"set {PREFIX}ENCRYPTION_KEY or {PREFIX}ENCRYPTION_KEY_FILE: a database that others share needs a key of yours",
            hint="make one with: strongroom server generate-key",
        )
    source.load()


def _begin(connection: Connection, settings: Settings, source: KeySource) -> None:
    """Writes the first rows of a new database, and those that a former version did not know. Runs under the database's lock."""
    is_new = False
    if rows.find_deployment(connection) is None:
        keys = source.load() or source.add_first(new_key())
        keyring = Keyring(keys, key_id(keys[0]))
        deployment_id = new_id()
        rows.create_deployment(connection, deployment_id, *make_digest_key(keyring, deployment_id), now=now())
        is_new = True
    identity = rows.local_identity(connection, DEFAULT)
    assert identity is not None
    create_defaults(connection, identity.workspace_id, identity.user_id, now())
    put_member(connection, identity.workspace_id, identity.user_id, Role.ADMIN)
    _begin_trail(connection, settings, source if is_new else _where_the_key_is(settings))


def _begin_trail(connection: Connection, settings: Settings, source: KeySource) -> None:
    """Makes the head of the audit trail, seals what is noted of journals, and makes the anchor: later they must be there.

    Binds the rows that a former version wrote.
    """
    keys = source.load()
    row = rows.find_deployment(connection)
    assert row is not None, "it was made before"
    if row.key_id not in map(key_id, keys):
        raise EncryptionKeyError(
            f"{source.description} does not hold the key {row.key_id}, which the database uses",
            hint="give the key that the database was made with; if it was rotated, give both, the newer one first",
        )
    keyring = Keyring(keys, row.key_id)
    bind_former_rows(connection, keyring, row)
    row = rows.find_deployment(connection)
    assert row is not None, "it is still there"
    digest_key = unwrap_digest_key(keyring, row)
    key = audit_key(digest_key)
    head = audit_rows.find_head(connection)
    if head is None and audit_rows.last_event(connection) is None:
        begin_chain(connection, digest_key)
        head = (0, START, b"")
    seal_former_rows(connection, key)
    anchor = Anchor(settings.audit_anchor or settings.folder, row.id, key)
    with suppress(OSError):  # `verify` tells that there is none
        if head is not None and not anchor.path.exists():
            anchor.save(Known(head[0], bytes(head[1])), durable=True)


def _where_the_key_is(settings: Settings) -> KeySource:
    """The source that the settings name, or the system's keyring where a rotation has moved the key into it."""
    source = find_key_source(settings)
    if source.managed and not isinstance(source, SystemKeyring) and not source.load():
        keyring = SystemKeyring(str(settings.folder))
        try:
            if keyring.load():
                return keyring
        except EncryptionKeyError:  # no keyring either: the caller reports that the key is missing
            pass
    return source
