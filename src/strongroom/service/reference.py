"""What references lead to. Checking and resolving share their look-up, so that they agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.auth.policy import allows
from strongroom.errors import InvalidInput, StrongroomError
from strongroom.metadata.secret import KeysRow, SecretIndex, SecretRow
from strongroom.models.reference import (
    MAX_REFERENCES,
    CheckedReference,
    CheckedReferences,
    CheckReferences,
    Reference,
    ReferenceStatus,
    ResolvedReference,
    ResolvedReferences,
    ResolveReferences,
)
from strongroom.models.run import SecretRead
from strongroom.models.secret import Scope
from strongroom.operations.permission import Permission
from strongroom.redaction import SecretText
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.deployment import Deployment
from strongroom.service.placements import TRIES, Placements
from strongroom.service.revision import Revisions
from strongroom.service.secret_lookup import namespaces_of, near_names

_NEAR = 20
"""For so many missing names at most, names like them are looked for."""


class ReferenceService:
    """Checks and resolves references for an actor: their user scope first, then the workspace; names are exact. Thread-safe."""

    def __init__(
        self,
        deployment: Deployment,
        store: SqlSecretsStore,
        placements: Placements,
        record: Callable[[Actor, str, Sequence[SecretRead]], None],
        revisions: Revisions,
    ) -> None:
        self._database, self._placements, self._record = deployment.database, placements, record
        self._revisions = revisions
        self._index = SecretIndex(store, deployment.binding)

    def check(self, actor: Actor, request: CheckReferences) -> CheckedReferences:
        """Says of each reference whether it would resolve. Reads the index alone, in one query for a thousand names."""
        names = _names(request.references)
        with self._database.snapshot() as connection:
            found = self._index.find_keys(connection, actor.workspace_id, namespaces_of(actor, None), names)
            near = self._near(connection, actor, [name for name in names if name not in found])
        items = []
        for reference in request.references:
            row = found.get(reference.name)
            items.append(
                CheckedReference(
                    name=reference.name,
                    key=reference.key,
                    status=_status(row, reference),
                    secret_id=row.id if row else None,
                    version=row.number if row else None,
                    keys=row.key_names if row else [],
                    near=near.get(reference.name, []),
                )
            )
        return CheckedReferences(items=items, may_read=allows(actor.role, Permission.SECRET_READ_VALUES))

    def resolve(self, actor: Actor, request: ResolveReferences) -> ResolvedReferences:
        """Reads the values of all references in one snapshot. What leads nowhere says so in its item, and the others are still given.

        With `run_id`, what is given is on that run's record before it is given. With `use`, `ApprovalNeeded` when the actor may not
        use that, and `StaleVersion` when it was changed, in the snapshot of the secrets.
        """
        names = _names(request.references)
        for _ in range(TRIES):
            with self._database.snapshot() as connection:
                if request.use is not None:
                    self._revisions.require_use(connection, actor, request.use)
                found = self._index.find_by_names(connection, actor.workspace_id, namespaces_of(actor, None), names)
                near = self._near(connection, actor, [name for name in names if name not in found])
            wanted = list(found.values())
            read = self._placements.read_many(wanted, lambda row: self._find(actor, row))
            if all(isinstance(each, StrongroomError) or each[0] is row for each, row in zip(read, wanted, strict=True)):
                break  # else something was replaced meanwhile: all once more, so that it is one snapshot
        values: dict[str, dict[str, str]] = {}
        failures: dict[str, str] = {}
        for row, outcome in zip(wanted, read, strict=True):
            if isinstance(outcome, StrongroomError):
                failures[row.name] = outcome.message
            elif outcome[0] is row:
                values[row.name] = outcome[1]
            else:
                failures[row.name] = f"others keep changing '{row.name}'"
        items = [_resolved(reference, found.get(reference.name), near, values, failures) for reference in request.references]
        if request.run_id is not None:
            reads = [
                SecretRead(secret_id=item.secret_id, secret=item.name, version=item.version, key=item.key)
                for item in items
                if item.status is ReferenceStatus.OK and item.secret_id is not None and item.version is not None
            ]
            self._record(actor, request.run_id, reads)
        return ResolvedReferences(items=items)

    def _find(self, actor: Actor, row: SecretRow) -> SecretRow | None:
        with self._database.read() as connection:
            return self._index.find_by_id(connection, actor.workspace_id, actor.user_id, row.id)

    def _near(self, connection: Connection, actor: Actor, missing: Sequence[str]) -> dict[str, list[str]]:
        """For some names that are not there, those like them."""
        namespaces = namespaces_of(actor, None)
        return {name: near_names(self._index, connection, actor, namespaces, name) for name in missing[:_NEAR]}


def _names(references: Sequence[Reference]) -> list[str]:
    if len(references) > MAX_REFERENCES:
        raise InvalidInput(f"one request takes at most {MAX_REFERENCES} references")
    return list(dict.fromkeys(reference.name for reference in references))


def _status(row: KeysRow | SecretRow | None, reference: Reference) -> ReferenceStatus:
    if row is None:
        return ReferenceStatus.NO_SECRET
    return ReferenceStatus.OK if reference.key in row.key_names else ReferenceStatus.NO_KEY


def _resolved(
    reference: Reference,
    row: SecretRow | None,
    near: dict[str, list[str]],
    values: dict[str, dict[str, str]],
    failures: dict[str, str],
) -> ResolvedReference:
    status = _status(row, reference)
    if row is None:
        return ResolvedReference(name=reference.name, key=reference.key, status=status, near=near.get(reference.name, []))
    scope = Scope.USER if row.private_to else Scope.WORKSPACE
    known = ResolvedReference(
        name=reference.name, key=reference.key, status=status, secret_id=row.id, scope=scope, version=row.number, keys=row.key_names
    )
    if status is not ReferenceStatus.OK:
        return known
    if reference.name in failures:
        return msgspec.structs.replace(known, status=ReferenceStatus.UNREADABLE, message=failures[reference.name])
    return msgspec.structs.replace(known, value=SecretText(values[reference.name][reference.key]))
