"""Revisions of components and stacks: what they take of a user, and whether that user may use them.

The author of the current revision decides what is sent where. So a revision of another user is used only if it takes nothing of the
user, or if the user approved it. Everything that uses a stack or a component passes `Revisions.require`: in the snapshot in which the
attributes are read, in that in which their references are resolved, and in the transaction that grants a run its secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.errors import ApprovalNeeded, NotFound, StaleVersion
from strongroom.flavors import CONNECTOR, find_builtin
from strongroom.metadata import approval as approvals
from strongroom.metadata import component as components
from strongroom.metadata import stack as stacks
from strongroom.metadata.approval import ApprovalRow
from strongroom.metadata.component import ComponentRow, FlavorRow
from strongroom.metadata.secret import KeysRow, SecretIndex
from strongroom.metadata.stack import StackRow
from strongroom.models.approval import Review, Revision, RevisionStatus, Taking, TakingKind, one_line
from strongroom.models.filter import from_microseconds
from strongroom.models.flavor import ComponentType, Flavor, masked
from strongroom.models.reference import UseOf, find_references
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.component import connectors_of, decode_configuration, decode_flavor
from strongroom.service.deployment import Deployment
from strongroom.service.secret_lookup import namespaces_of
from strongroom.service.takings import addresses_of, exchangeable, takings_of

STACK = "stack"
_MOST_CHANGES = 50


class Document(msgspec.Struct, frozen=True):
    """What is kept of an approved revision: what it took, and how it was shown."""

    takes: list[Taking]
    shown: dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A revision as the rules look at it. `authors` are all who decide what it does; None among them is one that is not known."""

    revision: Revision
    state: str
    authors: frozenset[str | None]
    shown: dict[str, Any]


@dataclass(frozen=True)
class Reviewed:
    """A stack or a component with all that it consists of. `found` are the secrets that its references lead to, by name."""

    id: str
    name: str
    is_stack: bool
    subjects: Sequence[Subject]
    found: Mapping[str, KeysRow]

    @property
    def state(self) -> str:
        """Stands for the revisions of all subjects; the same for all users."""
        return _digest([subject.state for subject in self.subjects])

    @property
    def waiting(self) -> list[Subject]:
        """What the user has to approve."""
        return [subject for subject in self.subjects if subject.revision.status is RevisionStatus.WAITING]

    def shown(self, user_id: str, account: str | None) -> Review:
        """As it is shown to people."""
        revisions = [subject.revision for subject in self.subjects]
        seen = _digest([user_id, self.state, msgspec.to_builtins(revisions)])
        return Review(id=self.id, name=self.name, account=account, seen=seen, revisions=revisions)


_decode_document = msgspec.json.Decoder(Document).decode


class Revisions:
    """Reviews revisions for a user, and refuses those that wait for an approval. Thread-safe; works on the caller's connection."""

    def __init__(self, deployment: Deployment, store: SqlSecretsStore) -> None:
        self._secrets = SecretIndex(store, deployment.binding)
        self._local_id = deployment.local_actor.user_id

    def review_stack(self, connection: Connection, actor: Actor, row: StackRow) -> Reviewed:
        """The stack's composition, its components, and the service connectors that they name."""
        parts = [*row.components, *connectors_of(connection, actor, row.components)]
        subjects, found = self._subjects(connection, actor, parts, row)
        return Reviewed(row.id, row.name, True, subjects, found)

    def review_component(self, connection: Connection, actor: Actor, row: ComponentRow) -> Reviewed:
        """The component by itself, and the service connector that it names."""
        subjects, found = self._subjects(connection, actor, [row, *connectors_of(connection, actor, [row])], None)
        return Reviewed(row.id, row.name, False, subjects, found)

    def waits(self, connection: Connection, actor: Actor, row: ComponentRow) -> bool:
        """Whether the component's revision itself waits for the actor's approval."""
        reviewed = self.review_component(connection, actor, row)
        return any(subject.revision.id == row.id for subject in reviewed.waiting)

    def require(self, connection: Connection, actor: Actor, reviewed: Reviewed, state: str | None = None) -> None:
        """`ApprovalNeeded` if something waits; `StaleVersion` if it is not as it was in the state that the caller knows."""
        if state is not None and state != reviewed.state:
            what = "stack" if reviewed.is_stack else "component"
            raise StaleVersion(f"the {what} '{reviewed.name}' was changed since it was read", hint="read it again, and look at it")
        if not reviewed.waiting:
            return
        named = "; ".join(_sentence(subject.revision) for subject in reviewed.waiting)
        what = f"stack '{reviewed.name}'" if reviewed.is_stack else reviewed.subjects[0].revision.title
        command = f"strongroom {'stack' if reviewed.is_stack else 'service-connector'} approve {reviewed.name}"
        if approvals.is_service_account(connection, actor.user_id):
            hint = f"an administrator of the workspace approves it: {command} --for {actor.name}"
        else:
            hint = f"look at it and approve it: {command}"
        raise ApprovalNeeded(f"{what} waits for an approval of '{actor.name}': {named}", hint=hint)

    def require_use(self, connection: Connection, actor: Actor, use: UseOf) -> Reviewed:
        """`require` for the stack or component of this id. `NotFound`."""
        stack = stacks.find_stack_by_id(connection, actor.workspace_id, use.id)
        if stack is not None:
            reviewed = self.review_stack(connection, actor, stack)
        else:
            row = components.find_component_by_id(connection, actor.workspace_id, use.id)
            if row is None:
                raise NotFound("what these references stand in was deleted", hint="read it again")
            reviewed = self.review_component(connection, actor, row)
        self.require(connection, actor, reviewed, use.state)
        return reviewed

    def _is_alone(self, actor: Actor) -> bool:
        """Whether this is the embedded store's only user, who proves nothing."""
        return actor.token_id is None and actor.user_id == self._local_id

    def _subjects(
        self, connection: Connection, actor: Actor, parts: Sequence[ComponentRow], stack: StackRow | None
    ) -> tuple[list[Subject], Mapping[str, KeysRow]]:
        kinds = [(part, ComponentType(part.type)) for part in parts]
        keys = {(part.type, part.flavor) for part, kind in kinds if find_builtin(kind, part.flavor) is None}
        custom = components.find_flavors(connection, actor.workspace_id, keys)
        names = {reference.name for part in parts for _, reference in find_references(decode_configuration(part.configuration))}
        found = self._secrets.find_keys(connection, actor.workspace_id, namespaces_of(actor, None), sorted(names))
        context = _Context(found, any(kind is ComponentType.SECRETS_MANAGER for _, kind in kinds), _named_by_stores(parts))
        subjects = [_of_component(part, custom.get((part.type, part.flavor)), context) for part in parts]
        if stack is not None:
            subjects.insert(0, _of_stack(stack, subjects))
        trusted = approvals.list_trusted(connection, actor.workspace_id, _authors(subjects) - {actor.user_id})
        approved = approvals.list_approvals(connection, actor.user_id, [subject.revision.id for subject in subjects])
        if self._is_alone(actor):
            subjects = [replace(subject, authors=frozenset({actor.user_id})) for subject in subjects]
        judged = [_judged(subject, actor.user_id, trusted, approved.get(subject.revision.id)) for subject in subjects]
        return judged, found


@dataclass(frozen=True)
class _Context:
    """What else there is beside a component: the secrets that references lead to, and the names of connectors that stores name."""

    found: Mapping[str, KeysRow]
    has_manager: bool
    connectors: frozenset[str]


def _named_by_stores(parts: Sequence[ComponentRow]) -> frozenset[str]:
    """The service connectors that artifact stores name: their address is where outputs go."""
    stores = (decode_configuration(part.configuration) for part in parts if part.type == ComponentType.ARTIFACT_STORE)
    return frozenset(str(store[CONNECTOR]) for store in stores if store.get(CONNECTOR))


def _of_component(part: ComponentRow, custom: FlavorRow | None, context: _Context) -> Subject:
    kind, configuration = ComponentType(part.type), decode_configuration(part.configuration)
    flavor = find_builtin(kind, part.flavor) or (decode_flavor(custom.description) if custom is not None else None)
    for_store = kind is ComponentType.SERVICE_CONNECTOR and part.name in context.connectors
    takes = {*takings_of(flavor, configuration, for_store=for_store), *_secrets(configuration, context)}
    revision = Revision(
        id=part.id,
        type=part.type,
        name=part.name,
        number=part.revision,
        author=_author(part, custom),
        written=from_microseconds(part.updated),
        status=RevisionStatus.WAITING,
        takes=sorted(takes),
        addresses=addresses_of(flavor, configuration),
        changes=None,
    )
    named = [context.found.get(reference.name) for reference in exchangeable(flavor, configuration)]
    moved = [[row.id, row.number] for row in named if row is not None]  # with another version, the requests go elsewhere
    state = _digest([part.id, part.revision, part.author_id, part.flavor, part.configuration, custom and custom.description, moved])
    authors = {part.author_id, *({custom.author_id} if custom is not None else ()), *((None,) if part.mixed else ())}
    return Subject(revision, state, frozenset(authors), _shown(flavor, part, configuration))


def _secrets(configuration: Mapping[str, Any], context: _Context) -> set[Taking]:
    """The references that lead into the user's own scope, or out of the store: to what the stack's secrets manager has."""
    taken = set()
    for path, reference in find_references(configuration):
        row = context.found.get(reference.name)
        if (row is None and context.has_manager) or (row is not None and row.private_to):
            taken.add(Taking(TakingKind.SECRET, str(reference), path))
    return taken


def _of_stack(row: StackRow, parts: Sequence[Subject]) -> Subject:
    """The composition: it takes what any of its parts takes, were it one of the user's own."""
    revision = Revision(
        id=row.id,
        type=STACK,
        name=row.name,
        number=row.revision,
        author=row.author,
        written=from_microseconds(row.updated),
        status=RevisionStatus.WAITING,
        takes=sorted({taking for part in parts for taking in part.revision.takes}),
        addresses=[],
        changes=None,
    )
    composition = {part.type: part.name for part in row.components}
    state = _digest([row.id, row.revision, row.author_id, [[part.type, part.id] for part in row.components]])
    return Subject(revision, state, frozenset({row.author_id}), {"name": row.name, **composition})


def _judged(subject: Subject, user_id: str, trusted: set[str], approval: ApprovalRow | None) -> Subject:
    """The subject with its status for this user, and what changed since the user's last approval."""
    revision, document = subject.revision, None if approval is None else _decode_document(approval.document)
    changes = None if document is None else _changes(document, subject)
    if subject.authors <= {user_id}:
        status = RevisionStatus.OWN
    elif not revision.takes:
        status = RevisionStatus.HARMLESS
    elif subject.authors <= trusted | {user_id}:
        status = RevisionStatus.TRUSTED
    elif approval is not None and document is not None and _covers(approval, document, subject):
        status = RevisionStatus.APPROVED
    else:
        status = RevisionStatus.WAITING
    revision = msgspec.structs.replace(revision, status=status, changes=changes)
    return replace(subject, revision=revision)


def _covers(approval: ApprovalRow, document: Document, subject: Subject) -> bool:
    return approval.state == subject.state and set(subject.revision.takes) <= set(document.takes)


def _changes(former: Document, subject: Subject) -> list[str]:
    """Lines that say what is different now, without values that are masked."""
    lines = []
    for name in dict.fromkeys((*former.shown, *subject.shown)):
        before, after = former.shown.get(name), subject.shown.get(name)
        if before != after:
            lines.append(f"{name}: {_line(before)} → {_line(after)}")
    taken = set(former.takes)
    lines += [f"takes now: {taking}" for taking in subject.revision.takes if taking not in taken]
    return [one_line(line) for line in lines[:_MOST_CHANGES]]


def _line(value: Any) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _shown(flavor: Flavor | None, part: ComponentRow, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What may be shown of a component, to be compared with a later revision."""
    source = {"source": flavor.source} if flavor is not None and not flavor.builtin else {}
    return {"name": part.name, "flavor": part.flavor, **source, **masked(flavor, configuration)}


def _sentence(revision: Revision) -> str:
    takes = ", ".join(one_line(str(taking)) for taking in revision.takes)
    return f"{revision.title} (revision {revision.number} by {revision.by}) would take {takes}"


def _author(part: ComponentRow, custom: FlavorRow | None) -> str | None:
    """The authors of a component and of its flavor, for people. Unknown if one of them is."""
    names = [part.author] if custom is None or custom.author_id == part.author_id else [part.author, custom.author]
    known = [name for name in names if name is not None]
    return None if len(known) < len(names) else ", ".join(known) + (" and others" if part.mixed else "")


def _authors(subjects: Sequence[Subject]) -> set[str]:
    return {author for subject in subjects for author in subject.authors if author is not None}


def _digest(data: object) -> str:
    return hashlib.sha256(msgspec.json.encode(data)).hexdigest()
