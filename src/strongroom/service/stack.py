"""The rules of stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import UNSET
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated
from strongroom.db.identifiers import new_id
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, NothingToChange, Unavailable, printable
from strongroom.metadata import stack as index
from strongroom.metadata.component import ComponentRow
from strongroom.metadata.stack import DEFAULT, StackRow
from strongroom.models.component import Component, check_plain_name
from strongroom.models.filter import from_microseconds, parse_text_filter
from strongroom.models.flavor import STACK_TYPES, ComponentType
from strongroom.models.near import near_names
from strongroom.models.page import Page, check_page, offset_of
from strongroom.models.stack import (
    ActivateStack,
    ComponentUse,
    CreateStack,
    DeleteStack,
    GetStack,
    ListStacks,
    Stack,
    StackUse,
    UpdateStack,
)
from strongroom.service.component import connectors_of, decode_configuration, find_flavor, flavor_of, named_component, shown_component
from strongroom.service.deployment import Deployment
from strongroom.service.revision import Revisions

_NEEDED = (ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE)
_ATTEMPTS = 5

Result = TypeVar("Result")


class StackService:
    """Registers, shows, changes, chooses and deletes stacks. Thread-safe; each write is one transaction."""

    def __init__(self, deployment: Deployment, revisions: Revisions) -> None:
        self._database, self._revisions = deployment.database, revisions

    def create(self, actor: Actor, request: CreateStack) -> Stack:
        """Registers a stack of existing components. `AlreadyExists`, `NotFound` for a component, `InvalidInput`."""
        name = check_plain_name(request.name, "the stack")
        _check_types(request.components)
        for needed in _NEEDED:
            if needed not in request.components:
                raise InvalidInput(
                    f"a stack needs an {needed.words}", hint=f"give --{needed.command} NAME; 'default' is always there"
                )
        stack_id = new_id()

        def write(connection: Connection) -> Stack:
            parts = {kind.value: named_component(connection, actor, kind, part).id for kind, part in request.components.items()}
            index.insert_stack(
                connection,
                stack_id=stack_id,
                workspace_id=actor.workspace_id,
                name=name,
                user_id=actor.user_id,
                parts=parts,
                now=now(),
            )
            if request.activate:
                index.activate(connection, actor.user_id, actor.workspace_id, stack_id)
            return _shown(connection, actor, named_stack(connection, actor, name))

        return self._write(actor, write, name)

    def get(self, actor: Actor, request: GetStack) -> Stack:
        """The stack of this name, or the active one. `NotFound`."""
        with self._database.snapshot() as connection:
            return _shown(connection, actor, named_stack(connection, actor, request.name))

    def use(self, actor: Actor, request: GetStack) -> StackUse:
        """What it takes to use the stack: attributes as they are stored, and flavors. `NotFound`, `ApprovalNeeded`."""
        with self._database.snapshot() as connection:
            row = named_stack(connection, actor, request.name)
            reviewed = self._revisions.review_stack(connection, actor, row)
            self._revisions.require(connection, actor, reviewed)
            return StackUse(
                id=row.id,
                name=row.name,
                components=[component_use(connection, actor, part) for part in row.components],
                connectors=[component_use(connection, actor, each) for each in connectors_of(connection, actor, row.components)],
                state=reviewed.state,
            )

    def list(self, actor: Actor, request: ListStacks) -> Page[Stack]:
        """A page of stacks, by name."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            rows, total = index.list_stacks(
                connection,
                actor.workspace_id,
                name=None if request.name is None else parse_text_filter(request.name),
                offset=offset_of(request.page, request.size),
                size=request.size,
            )
            items = [_shown(connection, actor, row) for row in rows]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def update(self, actor: Actor, request: UpdateStack) -> Stack:
        """Puts components in, takes them out, renames. `NotFound`, `AlreadyExists`, `NothingToChange`, `InvalidInput`."""
        if request.name is UNSET and not request.components:
            raise NothingToChange("there is nothing to change", hint="give components to put in or to take out, or a new name")
        _check_types(request.components)
        wanted = None if request.name is UNSET else check_plain_name(request.name, "the stack")
        for kind, part in request.components.items():
            if part is None and kind in _NEEDED:
                raise InvalidInput(f"a stack needs an {kind.words}", hint="put another one in instead")

        def write(connection: Connection) -> Stack:
            row = self._locked(connection, actor, request.id)
            if row.name == DEFAULT and wanted not in (None, DEFAULT):
                raise InvalidInput("the default stack keeps its name", hint="register another stack")
            name = row.name if wanted is None else wanted
            parts = {
                kind.value: None if part is None else named_component(connection, actor, kind, part).id
                for kind, part in request.components.items()
            }
            index.update_stack(connection, row.id, name, parts, actor.user_id, max(now(), row.updated + 1))
            return _shown(connection, actor, named_stack(connection, actor, name))

        return self._write(actor, write, wanted, request.id)

    def delete(self, actor: Actor, request: DeleteStack) -> None:
        """Deletes a stack that is neither the default nor one's active one; its components stay. `NotFound`, `InvalidInput`."""

        def write(connection: Connection) -> None:
            row = self._locked(connection, actor, request.id)
            if row.name == DEFAULT:
                raise InvalidInput("the default stack stays")
            if row.name == index.active_stack_name(connection, actor.user_id, actor.workspace_id):
                raise InvalidInput(
                    f"stack '{row.name}' is your active one", hint=f"choose another one first: strongroom stack set {DEFAULT}"
                )
            index.delete_stack(connection, row.id)

        self._write(actor, write)

    def activate(self, actor: Actor, request: ActivateStack) -> Stack:
        """Makes a stack the active one of whoever asks. `NotFound`."""

        def write(connection: Connection) -> Stack:
            row = named_stack(connection, actor, request.name)
            index.activate(connection, actor.user_id, actor.workspace_id, row.id)
            return _shown(connection, actor, row)

        return self._write(actor, write)

    def _write(
        self, actor: Actor, change: Callable[[Connection], Result], name: str | None = None, own_id: str | None = None
    ) -> Result:
        """Runs the change as one transaction; again when it lost against somebody who chose, made or deleted something just then.

        `AlreadyExists` when it lost because a stack other than its own has the name that it gives.
        """
        for _ in range(_ATTEMPTS):
            try:
                with self._database.write() as connection:
                    return change(connection)
            except ConstraintViolated:
                with self._database.snapshot() as connection:
                    taken = None if name is None else index.find_stack(connection, actor.workspace_id, name)
                if taken is not None and taken.id != own_id:
                    raise AlreadyExists(
                        f"stack '{name}' already exists in workspace '{actor.workspace}'",
                        hint=f"change it with: strongroom stack update {name}",
                    ) from None
        raise Unavailable("the database keeps refusing this change", hint="try again")

    @staticmethod
    def _locked(connection: Connection, actor: Actor, stack_id: str) -> StackRow:
        row = index.lock_stack(connection, actor.workspace_id, stack_id)
        if row is None:
            raise _no_such_id(stack_id)
        return row


def named_stack(connection: Connection, actor: Actor, name: str | None) -> StackRow:
    """The stack of this name, or the active one. `NotFound` with names like it."""
    wanted = index.active_stack_name(connection, actor.user_id, actor.workspace_id) if name is None else name
    row = index.find_stack(connection, actor.workspace_id, wanted)
    if row is None:
        near = near_names(wanted, index.names_of_stacks(connection, actor.workspace_id, 500), 3, 0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else "see them with: strongroom stack list"
        raise NotFound(f"there is no stack '{printable(wanted)}'", hint=hint)
    return row


def _shown(connection: Connection, actor: Actor, row: StackRow) -> Stack:
    return Stack(
        id=row.id,
        name=row.name,
        workspace=row.workspace,
        owner=row.owner,
        active=row.name == index.active_stack_name(connection, actor.user_id, actor.workspace_id),
        components=[_shown_part(connection, actor, part) for part in row.components],
        connectors=[_shown_part(connection, actor, each) for each in connectors_of(connection, actor, row.components)],
        created=from_microseconds(row.created),
        updated=from_microseconds(row.updated),
        revision=row.revision,
        author=row.author,
    )


def _shown_part(connection: Connection, actor: Actor, part: ComponentRow) -> Component:
    return shown_component(part, find_flavor(connection, actor, ComponentType(part.type), part.flavor))


def component_use(connection: Connection, actor: Actor, part: ComponentRow) -> ComponentUse:
    """What it takes to use a component, for those who may."""
    return ComponentUse(
        id=part.id,
        name=part.name,
        type=ComponentType(part.type),
        flavor=flavor_of(connection, actor, ComponentType(part.type), part.flavor),
        configuration=decode_configuration(part.configuration),
    )


def _check_types(kinds: Iterable[ComponentType]) -> None:
    if not set(kinds) <= set(STACK_TYPES):
        raise InvalidInput(
            "a stack has no service connectors of its own",
            hint="name it in the attribute 'connector' of a component: strongroom artifact-store update NAME --connector=...",
        )


def _no_such_id(stack_id: str) -> NotFound:
    return NotFound(f"there is no stack with the id {printable(stack_id)}")
