"""The rules of stacks."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import UNSET
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated
from strongroom.db.identifiers import new_id
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, NothingToChange, printable
from strongroom.metadata import stack as index
from strongroom.metadata.stack import DEFAULT, StackRow
from strongroom.models.component import check_plain_name
from strongroom.models.filter import from_microseconds, parse_text_filter
from strongroom.models.flavor import ComponentType
from strongroom.models.page import Page, check_page
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
from strongroom.service.component import decode_configuration, find_flavor, flavor_of, named_component, shown_component
from strongroom.service.deployment import Deployment

_NEEDED = (ComponentType.ORCHESTRATOR, ComponentType.ARTIFACT_STORE)


class StackService:
    """Registers, shows, changes, chooses and deletes stacks. Thread-safe; each write is one transaction."""

    def __init__(self, deployment: Deployment) -> None:
        self._database = deployment.database

    def create(self, actor: Actor, request: CreateStack) -> Stack:
        """Registers a stack of existing components. `AlreadyExists`, `NotFound` for a component, `InvalidInput`."""
        name = check_plain_name(request.name, "the stack")
        for needed in _NEEDED:
            if needed not in request.components:
                raise InvalidInput(
                    f"a stack needs an {needed.words}", hint=f"give --{needed.command} NAME; 'default' is always there"
                )
        stack_id = new_id()
        with _name_taken(name, actor), self._database.write() as connection:
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
            return _shown(connection, actor, _named(connection, actor, name))

    def get(self, actor: Actor, request: GetStack) -> Stack:
        """The stack of this name, or the active one. `NotFound`."""
        with self._database.snapshot() as connection:
            return _shown(connection, actor, _named(connection, actor, request.name))

    def use(self, actor: Actor, request: GetStack) -> StackUse:
        """What it takes to use the stack: attributes as they are stored, and flavors. `NotFound`."""
        with self._database.snapshot() as connection:
            row = _named(connection, actor, request.name)
            return StackUse(
                id=row.id,
                name=row.name,
                components=[
                    ComponentUse(
                        id=part.id,
                        name=part.name,
                        type=ComponentType(part.type),
                        flavor=flavor_of(connection, actor, ComponentType(part.type), part.flavor),
                        configuration=decode_configuration(part.configuration),
                    )
                    for part in row.components
                ],
            )

    def list(self, actor: Actor, request: ListStacks) -> Page[Stack]:
        """A page of stacks, by name."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            rows, total = index.list_stacks(
                connection,
                actor.workspace_id,
                name=None if request.name is None else parse_text_filter(request.name),
                offset=(request.page - 1) * request.size,
                size=request.size,
            )
            items = [_shown(connection, actor, row) for row in rows]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def update(self, actor: Actor, request: UpdateStack) -> Stack:
        """Puts components in, takes them out, renames. `NotFound`, `AlreadyExists`, `NothingToChange`, `InvalidInput`."""
        if request.name is UNSET and not request.components:
            raise NothingToChange("there is nothing to change", hint="give components to put in or to take out, or a new name")
        with self._database.read() as connection:
            row = self._known(connection, actor, request.id)
        new_name = row.name if request.name is UNSET else check_plain_name(request.name, "the stack")
        if row.name == DEFAULT and new_name != DEFAULT:
            raise InvalidInput("the default stack keeps its name", hint="register another stack")
        for kind, part in request.components.items():
            if part is None and kind in _NEEDED:
                raise InvalidInput(f"a stack needs an {kind.words}", hint="put another one in instead")
        with _name_taken(new_name, actor), self._database.write() as connection:
            parts = {
                kind.value: None if part is None else named_component(connection, actor, kind, part).id
                for kind, part in request.components.items()
            }
            if not index.update_stack(connection, row.id, new_name, parts, max(now(), row.updated + 1)):
                raise _no_such_id(request.id)
            return _shown(connection, actor, _named(connection, actor, new_name))

    def delete(self, actor: Actor, request: DeleteStack) -> None:
        """Deletes a stack that is neither the default nor one's active one; its components stay. `NotFound`, `InvalidInput`."""
        with self._database.write() as connection:
            row = self._known(connection, actor, request.id)
            if row.name == DEFAULT:
                raise InvalidInput("the default stack stays")
            if row.name == index.active_stack_name(connection, actor.user_id, actor.workspace_id):
                raise InvalidInput(
                    f"stack '{row.name}' is your active one", hint=f"choose another one first: strongroom stack set {DEFAULT}"
                )
            index.delete_stack(connection, row.id)

    def activate(self, actor: Actor, request: ActivateStack) -> Stack:
        """Makes a stack the active one of whoever asks. `NotFound`."""
        with self._database.write() as connection:
            row = _named(connection, actor, request.name)
            index.activate(connection, actor.user_id, actor.workspace_id, row.id)
            return _shown(connection, actor, row)

    @staticmethod
    def _known(connection: Connection, actor: Actor, stack_id: str) -> StackRow:
        row = index.find_stack_by_id(connection, actor.workspace_id, stack_id)
        if row is None:
            raise _no_such_id(stack_id)
        return row


@contextmanager
def _name_taken(name: str, actor: Actor) -> Iterator[None]:
    try:
        yield
    except ConstraintViolated:
        raise AlreadyExists(
            f"stack '{name}' already exists in workspace '{actor.workspace}'", hint=f"change it with: strongroom stack update {name}"
        ) from None


def _named(connection: Connection, actor: Actor, name: str | None) -> StackRow:
    """The stack of this name, or the active one."""
    wanted = index.active_stack_name(connection, actor.user_id, actor.workspace_id) if name is None else name
    row = index.find_stack(connection, actor.workspace_id, wanted)
    if row is None:
        near = difflib.get_close_matches(wanted, index.names_of_stacks(connection, actor.workspace_id, 500), 3, 0.7)
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
        components=[
            shown_component(part, find_flavor(connection, actor, ComponentType(part.type), part.flavor)) for part in row.components
        ],
        created=from_microseconds(row.created),
        updated=from_microseconds(row.updated),
    )


def _no_such_id(stack_id: str) -> NotFound:
    return NotFound(f"there is no stack with the id {printable(stack_id)}")
