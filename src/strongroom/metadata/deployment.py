"""The deployment itself: its one row, the users and workspaces it starts with, and the ids of its encryption keys."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from strongroom.db.identifiers import new_id
from strongroom.db.tables import active_workspaces, deployment, encryption_keys, members, stores, users, workspaces

DEFAULT = "default"


@dataclass(frozen=True)
class Deployment:
    """The digest key is wrapped by the encryption key `key_id`, like a data key."""

    id: str
    key_id: str
    wrapped_key: bytes
    digest_key: bytes


@dataclass(frozen=True)
class LocalIdentity:
    """The user of an embedded store at work in a workspace; `role` is None if they do not belong to it."""

    user_id: str
    workspace_id: str
    workspace: str
    role: str | None


_DEPLOYMENT = select(deployment.c.id, deployment.c.key_id, deployment.c.wrapped_key, deployment.c.digest_key)
_KEYS = select(encryption_keys.c.id, encryption_keys.c.active)
_LOCAL = select(users.c.id, active_workspaces.c.workspace_id).outerjoin(active_workspaces, active_workspaces.c.user_id == users.c.id)


def find_deployment(connection: Connection) -> Deployment | None:
    """The deployment's row, or None in a database that was never used."""
    row = connection.execute(_DEPLOYMENT).one_or_none()
    return Deployment(*row) if row else None


def lock_deployment(connection: Connection) -> Deployment:
    """The deployment's row, locked until the transaction ends."""
    return Deployment(*connection.execute(_DEPLOYMENT.with_for_update()).one())


def create_deployment(
    connection: Connection, deployment_id: str, key_id: str, wrapped_key: bytes, digest_key: bytes, now: int
) -> None:
    """Writes the first rows of a database: its key's id, the deployment, the `default` user and workspace, and the `sql` store."""
    connection.execute(insert(encryption_keys).values(id=key_id, active=True, created=now))
    connection.execute(
        insert(deployment).values(id=deployment_id, created=now, key_id=key_id, wrapped_key=wrapped_key, digest_key=digest_key)
    )
    connection.execute(insert(users).values(id=new_id(), name=DEFAULT, admin=True, created=now))
    connection.execute(insert(workspaces).values(id=new_id(), name=DEFAULT, created=now))
    connection.execute(insert(stores).values(id="sql", type="sql", created=now))


def adopt_deployment(connection: Connection, deployment_id: str, key_id: str, wrapped_key: bytes, digest_key: bytes) -> None:
    """Gives the deployment another id, and its digest key sealed for that one."""
    connection.execute(update(deployment).values(id=deployment_id, key_id=key_id, wrapped_key=wrapped_key, digest_key=digest_key))


def local_identity(connection: Connection, workspace: str | None = None) -> LocalIdentity | None:
    """The `default` user in the workspace of this name, else in the one that they have chosen. None if there is no such workspace."""
    user_id, chosen = connection.execute(_LOCAL.where(users.c.name == DEFAULT)).one()
    wanted = workspaces.c.id == chosen if workspace is None and chosen else workspaces.c.name == (workspace or DEFAULT)
    mine = workspaces.outerjoin(members, (members.c.workspace_id == workspaces.c.id) & (members.c.user_id == user_id))
    row = connection.execute(select(workspaces.c.id, workspaces.c.name, members.c.role).select_from(mine).where(wanted)).one_or_none()
    return LocalIdentity(user_id, *row) if row else None


def list_keys(connection: Connection) -> dict[str, bool]:
    """The ids of all encryption keys that the database was written with, and whether each is the active one."""
    return {row.id: row.active for row in connection.execute(_KEYS)}


def activate_key(connection: Connection, key_id: str, wrapped_key: bytes, now: int) -> None:
    """Makes a new key the active one, and lets it wrap the digest key. The former one stays until it is retired."""
    connection.execute(update(encryption_keys).values(active=False))
    connection.execute(insert(encryption_keys).values(id=key_id, active=True, created=now))
    connection.execute(update(deployment).values(key_id=key_id, wrapped_key=wrapped_key))


def retire_key(connection: Connection, key_id: str) -> None:
    """Forgets a key. The database refuses (`ConstraintViolated`) while any row is wrapped by it."""
    connection.execute(delete(encryption_keys).where(encryption_keys.c.id == key_id))
