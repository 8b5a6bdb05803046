"""Which secret an actor means: exact names and full ids, among the secrets that they may see."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.db.engine import Database
from strongroom.errors import NotFound, printable
from strongroom.metadata.secret import SecretIndex, SecretRow
from strongroom.models import near
from strongroom.models.secret import MAX_VERSION, GetSecretByName, Scope


class SecretLookup:
    """Finds rows of the index, as of the latest committed state. Thread-safe.

    Visible are the secrets of the actor's workspace and, in it, their own user-scoped ones. All others do not exist: errors read the
    same for them, and name none of them.
    """

    def __init__(self, database: Database, index: SecretIndex) -> None:
        self._database, self._index = database, index

    def find(self, actor: Actor, secret_id: str, version: int | None = None) -> SecretRow | None:
        """The visible secret of this full id at this version, or at its current one."""
        at = (actor.workspace_id, actor.user_id, secret_id, version)
        return self._database.recall(("secret", *at), lambda connection: self._index.find_by_id(connection, *at))

    def by_id(self, actor: Actor, secret_id: str, version: int | None = None) -> SecretRow:
        """The same. `NotFound`."""
        row = self.find(actor, secret_id)
        if row is None:
            raise no_such_id(secret_id)
        return self._at(actor, row, version)

    def by_name(self, actor: Actor, request: GetSecretByName) -> SecretRow:
        """The visible secret of this exact name at the version that is asked for: the actor's own one first. `NotFound`."""
        namespaces = namespaces_of(actor, request.scope)
        row = self._database.recall(
            ("secret by name", actor.workspace_id, request.name, *namespaces),
            lambda connection: self._index.find_by_name(connection, actor.workspace_id, namespaces, request.name),
        )
        if row is None:
            raise self._no_such_name(actor, namespaces, request.name)
        return self._at(actor, row, request.version)

    def no_such_version(self, row: SecretRow, version: int) -> NotFound:
        """What to say when the secret does not keep this version."""
        with self._database.read() as connection:
            kept = [str(each.number) for each in reversed(self._index.list_versions(connection, row.id))]
        return NotFound(f"secret '{row.name}' keeps no version {version}", hint=f"it keeps: {', '.join(kept)}")

    def _at(self, actor: Actor, row: SecretRow, version: int | None) -> SecretRow:
        if version is None or version == row.number:
            return row
        older = None
        if 0 < version <= MAX_VERSION:
            with self._database.read() as connection:
                older = self._index.find_by_id(connection, actor.workspace_id, actor.user_id, row.id, version)
        if older is None:
            raise self.no_such_version(row, version)
        return older

    def _no_such_name(self, actor: Actor, namespaces: Sequence[str], name: str) -> NotFound:
        where = {"": "the workspace", actor.user_id: "your user scope"}
        places = "" if len(namespaces) > 1 else f" in {where[namespaces[0]]}"
        with self._database.read() as connection:
            similar = near_names(self._index, connection, actor, namespaces, name)
        hint = f"did you mean {' or '.join(similar)}?" if similar else "see them with: strongroom secret list"
        return NotFound(f"there is no secret '{printable(name)}'{places}", hint=hint)


def near_names(index: SecretIndex, connection: Connection, actor: Actor, namespaces: Sequence[str], name: str) -> list[str]:
    """Up to three names that the actor may see and that look like this one."""
    if not (name and len(name) <= near.MAX_LENGTH and name.isascii() and name.isprintable()):
        return []
    letters = {name[0].lower(), name[0].upper()}
    names = index.names_starting_with(connection, actor.workspace_id, namespaces, "".join(sorted(letters)), limit=near.MAX_NAMES)
    folded = {each.lower(): each for each in names}
    return [folded[each] for each in near.near_names(name.lower(), folded, 3, 0.7)]


def namespace_of(actor: Actor, scope: Scope) -> str:
    """Where a secret of this scope has its name to itself."""
    return actor.user_id if scope is Scope.USER else ""


def namespaces_of(actor: Actor, scope: Scope | None) -> list[str]:
    """The namespaces to look in, the first of which wins."""
    return [actor.user_id, ""] if scope is None else [namespace_of(actor, scope)]


def no_such_id(secret_id: str) -> NotFound:
    """What to say when there is no visible secret of this id."""
    return NotFound(f"there is no secret with the id {printable(secret_id)}", hint="see them with: strongroom secret list")
