"""Whether an actor still has the rights with which a call began.

A call proves who is asking before it waits: for the rest of its request, for a thread, a connection, a lock or a secrets store. The
right may be taken away meanwhile. So it is established again at the moment of use: for a change within its own transaction, which
then holds the rows that give the right until it ends; for a read after its last wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.errors import Unauthenticated
from strongroom.metadata.authority import AuthorityRow, find_authority, lock_authority

if TYPE_CHECKING:
    from sqlalchemy import Connection


class AuthorityChanged(Exception):
    """The actor's rights are others than those with which the call began; `actor` has the present ones."""

    def __init__(self, actor: Actor) -> None:
        super().__init__("the rights of the caller have changed")
        self.actor = actor


class Authority:
    """Looks at rights again. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold(self, connection: Connection, actor: Actor) -> None:
        """Makes sure of the actor's rights until the caller's transaction ends. `AuthorityChanged`, `Unauthenticated`.

        Call it before the transaction's first change. On a database server it locks the rows of token, user and membership against
        changes; on SQLite nobody else can write meanwhile.
        """
        if actor.token_id is None:
            return
        key = actor.token_id, actor.user_id, actor.workspace_id
        _compare(actor, lock_authority(connection, *key))

    def check(self, actor: Actor) -> None:
        """Looks whether the actor has its rights now. One statement. `AuthorityChanged`, `Unauthenticated`."""
        if actor.token_id is None:
            return
        key = actor.token_id, actor.user_id, actor.workspace_id
        _compare(actor, self._database.recall(("authority", *key), lambda connection: find_authority(connection, *key), fresh=True))


def _compare(actor: Actor, row: AuthorityRow | None) -> None:
    if row is None or (row.expires is not None and row.expires <= now()):
        raise Unauthenticated("this token is not valid, or not any more", hint="log in again: strongroom login URL")
    role = Role.NONE if row.role is None else Role(row.role)
    admin = row.admin and actor.run is None
    if (role, admin) != (actor.role, actor.admin):
        raise AuthorityChanged(msgspec.structs.replace(actor, role=role, admin=admin))
