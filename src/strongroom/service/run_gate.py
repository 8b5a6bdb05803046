"""What somebody with a run token gets: everything that is asked in the name of a run passes here, and nowhere else.

A secret that the run was not granted is refused in the same words, and with as many statements in the database, whether there is one
or not: a run token is no way to find out which secrets there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.auth.actor import Actor
from strongroom.auth.run_access import RunAccess
from strongroom.errors import Forbidden
from strongroom.metadata.secret import SecretIndex
from strongroom.models.reference import (
    CheckedReference,
    CheckedReferences,
    CheckReferences,
    Reference,
    ReferenceStatus,
    ResolvedReference,
    ResolvedReferences,
    ResolveReferences,
)
from strongroom.models.secret import GetSecret, GetSecretByName, Scope, Secret
from strongroom.models.stack import GetStack, StackUse
from strongroom.operations import info as of_info
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import stack as of_stack
from strongroom.operations import user as of_user
from strongroom.operations.operation import Operation
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.deployment import Deployment
from strongroom.service.secret_lookup import namespaces_of

Handler = Callable[[Actor, Any], Any]


class RunGate:
    """Answers the operations that are open to runs, by what the run was granted. Thread-safe as far as the handlers are."""

    def __init__(self, deployment: Deployment, store: SqlSecretsStore, handlers: Mapping[str, Handler]) -> None:
        self._database, self._index, self._handlers = deployment.database, SecretIndex(store, deployment.binding), handlers
        own, open_to_all = self._of_own_run, self._as_it_is
        self._rules: dict[str, Handler] = {
            of_info.INFO.name: open_to_all(of_info.INFO),
            of_run.FIND_CACHED_STEP.name: open_to_all(of_run.FIND_CACHED_STEP),
            of_run.GET.name: own(of_run.GET, "name"),
            of_run.RECORD_READS.name: own(of_run.RECORD_READS, "id"),
            of_run.UPDATE_STEP.name: own(of_run.UPDATE_STEP, "id"),
            of_secret.CHECK.name: self._check,
            of_secret.GET.name: self._get(of_secret.GET),
            of_secret.GET_BY_NAME.name: self._get_by_name(of_secret.GET),
            of_secret.GET_METADATA.name: self._get(of_secret.GET_METADATA),
            of_secret.GET_METADATA_BY_NAME.name: self._get_by_name(of_secret.GET_METADATA),
            of_secret.RESOLVE.name: self._resolve,
            of_stack.USE.name: self._use_stack,
            of_user.WHO_AM_I.name: open_to_all(of_user.WHO_AM_I),
        }

    @property
    def operations(self) -> frozenset[str]:
        """The names of all operations that it answers."""
        return frozenset(self._rules)

    def call(self, operation: Operation[Any, Any], actor: Actor, request: Any) -> Any:
        """The operation's response, as far as the actor's run may see it. `Forbidden`, and what the operation raises."""
        return self._rules[operation.name](actor, request)

    def _as_it_is(self, operation: Operation[Any, Any]) -> Handler:
        return self._handlers[operation.name]

    def _of_own_run(self, operation: Operation[Any, Any], field: str) -> Handler:
        def answer(actor: Actor, request: Any) -> Any:
            access = _access(actor)
            if getattr(request, field) not in (access.run_id, access.run):
                raise Forbidden("a run token is for the record of its own run", hint="do this outside of the run, as yourself")
            return self._handlers[operation.name](actor, msgspec.structs.replace(request, **{field: access.run_id}))

        return answer

    def _get(self, operation: Operation[GetSecret, Secret]) -> Handler:
        def answer(actor: Actor, request: GetSecret) -> Secret:
            return self._current(operation, actor, request.id, request.version)

        return answer

    def _get_by_name(self, operation: Operation[GetSecret, Secret]) -> Handler:
        def answer(actor: Actor, request: GetSecretByName) -> Secret:
            secret_id = self._ids(actor, request.scope, [request.name]).get(request.name, "")
            return self._current(operation, actor, secret_id, request.version)

        return answer

    def _current(self, operation: Operation[GetSecret, Secret], actor: Actor, secret_id: str, version: int | None) -> Secret:
        """The granted keys of a secret's current version. What is older may be what somebody took back: no run reads that."""
        access = _access(actor)
        if not access.covers_any(secret_id):
            raise _refusal()
        secret: Secret = self._handlers[operation.name](actor, GetSecret(id=secret_id))
        if version not in (None, secret.version):
            raise Forbidden("a run token reads the current version of a secret alone", hint="leave the version out")
        return access.narrowed(secret)

    def _check(self, actor: Actor, request: CheckReferences) -> CheckedReferences:
        granted = self._granted(actor, request.references)
        checked = self._handlers[of_secret.CHECK.name](actor, CheckReferences(references=list(granted)))
        items = dict(zip(granted, checked.items, strict=True))
        refused = [
            items.get(reference) or CheckedReference(name=reference.name, key=reference.key, status=ReferenceStatus.NOT_GRANTED)
            for reference in request.references
        ]
        return CheckedReferences(items=refused, may_read=checked.may_read)

    def _resolve(self, actor: Actor, request: ResolveReferences) -> ResolvedReferences:
        access = _access(actor)
        if request.run_id not in (None, access.run_id):
            raise Forbidden("a run token is for the record of its own run", hint="leave 'run_id' out")
        granted = self._granted(actor, request.references)
        resolved = self._handlers[of_secret.RESOLVE.name](
            actor, ResolveReferences(references=list(granted), run_id=access.run_id if granted else None)
        )
        # Looked at again: a secret may have taken the name of another one since.
        items = {
            Reference(item.name, item.key): item
            for item in resolved.items
            if item.secret_id is not None and access.covers(item.secret_id, item.key)
        }
        return ResolvedReferences(items=[items.get(reference) or _refused(reference) for reference in request.references])

    def _granted(self, actor: Actor, references: Sequence[Reference]) -> dict[Reference, None]:
        """Those that lead to what the run was granted. One query for a thousand names."""
        ids = self._ids(actor, None, list(dict.fromkeys(reference.name for reference in references)))
        return {each: None for each in references if each.name in ids and _access(actor).covers(ids[each.name], each.key)}

    def _ids(self, actor: Actor, scope: Scope | None, names: Sequence[str]) -> dict[str, str]:
        with self._database.read() as connection:
            found = self._index.find_keys(connection, actor.workspace_id, namespaces_of(actor, scope), names)
        return {name: row.id for name, row in found.items()}

    def _use_stack(self, actor: Actor, request: GetStack) -> StackUse:
        access = _access(actor)
        if request.name not in (None, access.stack):
            raise Forbidden("a run token is for the stack of its run", hint="leave the stack's name out")
        use: StackUse = self._handlers[of_stack.USE.name](actor, msgspec.structs.replace(request, name=access.stack))
        return use


def _access(actor: Actor) -> RunAccess:
    assert actor.run is not None
    return actor.run


_NOT_GRANTED = "the run was not granted this when it began: there was none, or neither its stack nor its settings nor a step named it"
_DECLARE = 'declare what steps read by themselves: @step(secrets=["NAME"])'


def _refusal() -> Forbidden:
    return Forbidden(_NOT_GRANTED, hint=_DECLARE)


def _refused(reference: Reference) -> ResolvedReference:
    return ResolvedReference(
        name=reference.name, key=reference.key, status=ReferenceStatus.NOT_GRANTED, message=f"{_NOT_GRANTED}; {_DECLARE}"
    )
