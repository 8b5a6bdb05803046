"""The rules of components and flavors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated
from strongroom.db.identifiers import new_id
from strongroom.errors import AlreadyExists, InvalidInput, NotFound, NothingToChange, printable
from strongroom.flavors import BUILTIN_FLAVORS, find_builtin
from strongroom.metadata import component as index
from strongroom.metadata.component import ComponentRow
from strongroom.models.component import (
    Component,
    CreateComponent,
    DeleteComponent,
    GetComponent,
    ListComponents,
    UpdateComponent,
    check_plain_name,
)
from strongroom.models.filter import from_microseconds, parse_text_filter
from strongroom.models.flavor import (
    AttributeKind,
    ComponentType,
    DeleteFlavor,
    Flavor,
    GetFlavor,
    ListFlavors,
    RegisterFlavor,
    check_configuration,
    configuration_warnings,
    masked,
)
from strongroom.models.near import near_names
from strongroom.models.page import Page, check_page, offset_of
from strongroom.service.connector import CONNECTOR, candidates, check_connector, connector_named, lock_named_connector
from strongroom.service.deployment import Deployment
from strongroom.service.secrets_manager import check_secrets_manager

_MAX_ATTRIBUTES = 200

decode_flavor = msgspec.json.Decoder(Flavor).decode
decode_configuration = msgspec.json.Decoder(dict[str, Any]).decode


class ComponentService:
    """Registers, shows, changes and deletes components and custom flavors. Thread-safe; each write is one transaction.

    What it shows has plain text in sensitive attributes masked. Imports no code of flavors.
    """

    def __init__(self, deployment: Deployment, waits: Callable[[Connection, Actor, ComponentRow], bool]) -> None:
        """`waits` tells whether a revision waits for the actor's approval."""
        self._database, self._waits = deployment.database, waits

    def create(self, actor: Actor, request: CreateComponent) -> Component:
        """Registers a component. `AlreadyExists`; `InvalidInput` when the flavor does not take its attributes."""
        name = check_plain_name(request.name, f"the {request.type.words}")
        moment, component_id = now(), new_id()
        with name_taken(request.type, name, actor), self._database.write() as connection:
            flavor = flavor_of(connection, actor, request.type, request.flavor)
            configuration = check_configuration(flavor, request.configuration)
            _check_rules(connection, actor, flavor, component_id, configuration)
            index.insert_component(
                connection,
                id=component_id,
                workspace_id=actor.workspace_id,
                type=request.type.value,
                name=name,
                flavor=flavor.name,
                configuration=_encode(configuration),
                owner_id=actor.user_id,
                author_id=actor.user_id,
                created=moment,
                updated=moment,
            )
            row = index.find_component(connection, actor.workspace_id, request.type, component_id)
        assert row is not None
        return shown_component(row, flavor, warnings=configuration_warnings(flavor, configuration))

    def get(self, actor: Actor, request: GetComponent) -> Component:
        """The component of this type and name (or id). `NotFound`."""
        with self._database.snapshot() as connection:
            row = named_component(connection, actor, request.type, request.name)
            return shown_component(row, find_flavor(connection, actor, ComponentType(row.type), row.flavor))

    def list(self, actor: Actor, request: ListComponents) -> Page[Component]:
        """A page of components, by type and name."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            rows, total = index.list_components(
                connection,
                actor.workspace_id,
                component_type=request.type,
                name=None if request.name is None else parse_text_filter(request.name),
                flavor=None if request.flavor is None else parse_text_filter(request.flavor),
                offset=offset_of(request.page, request.size),
                size=request.size,
            )
            flavors = _flavors(connection, actor)
        items = [shown_component(row, flavors.get((row.type, row.flavor))) for row in rows]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def update(self, actor: Actor, request: UpdateComponent) -> Component:
        """Merges attributes and renames. `NotFound`, `NothingToChange`, `AlreadyExists`; `InvalidInput` as for `create`.

        The actor is the author of the new revision; not the only one, where it keeps attributes that wait for the actor's approval.
        """
        if request.name is UNSET and not request.configuration and not request.remove:
            raise NothingToChange("there is nothing to change", hint="give attributes to set or remove, or a new name")
        with self._database.read() as connection:
            row = index.lock_component(connection, actor.workspace_id, request.id)
        if row is None:
            raise _no_such_id(request.id)
        component_type = ComponentType(row.type)
        new_name = row.name if request.name is UNSET else check_plain_name(request.name, f"the {component_type.words}")
        with name_taken(component_type, new_name, actor), self._database.write() as connection:
            row = index.lock_component(connection, actor.workspace_id, request.id)
            if row is None:
                raise _no_such_id(request.id)
            flavor = flavor_of(connection, actor, component_type, row.flavor)
            attributes = decode_configuration(row.configuration)
            for name in request.remove:
                if name in request.configuration:
                    raise InvalidInput(f"the attribute '{printable(name)}' is both set and removed")
                if name not in attributes:
                    raise InvalidInput(
                        f"{row.type.replace('_', ' ')} '{row.name}' has no attribute '{printable(name)}' to remove",
                        hint=f"it has: {', '.join(attributes) or 'none'}",
                    )
                del attributes[name]
            configuration = check_configuration(flavor, {**attributes, **request.configuration})
            _check_rules(connection, actor, flavor, row.id, configuration)
            if new_name != row.name:
                _check_unnamed(connection, actor, row, "renamed")
            mixed = bool(configuration.keys() - request.configuration.keys()) and self._waits(connection, actor, row)
            index.update_component(
                connection,
                row.id,
                actor.user_id,
                mixed=mixed,
                name=new_name,
                configuration=_encode(configuration),
                updated=max(now(), row.updated + 1),
            )
            changed = index.find_component(connection, actor.workspace_id, row.type, row.id)
        assert changed is not None
        touched = {name: value for name, value in configuration.items() if name in request.configuration}
        return shown_component(changed, flavor, warnings=configuration_warnings(flavor, touched))

    def delete(self, actor: Actor, request: DeleteComponent) -> None:
        """Deletes a component that is in no stack, and a connector that no component names. `NotFound`, `InvalidInput`."""
        with self._database.write() as connection:
            row = index.lock_component(connection, actor.workspace_id, request.id)
            if row is None:
                raise _no_such_id(request.id)
            using = index.stacks_with(connection, row.id)
            if using:
                raise InvalidInput(
                    f"{row.type.replace('_', ' ')} '{row.name}' is part of {_stacks(using)}",
                    hint="take it out of there, or delete the stack, first",
                )
            _check_unnamed(connection, actor, row, "deleted")
            index.delete_component(connection, row.id)

    def register_flavor(self, actor: Actor, request: RegisterFlavor) -> Flavor:
        """Makes a custom flavor known, or replaces its description. `AlreadyExists` when a built-in one has the name."""
        flavor = msgspec.structs.replace(request.flavor, builtin=False)
        check_plain_name(flavor.name, "a flavor")
        if find_builtin(flavor.type, flavor.name):
            raise AlreadyExists(f"the {flavor.type.words} flavor '{flavor.name}' is built in", hint="give yours another name")
        if len(flavor.attributes) > _MAX_ATTRIBUTES or len({attribute.name for attribute in flavor.attributes}) < len(
            flavor.attributes
        ):
            raise InvalidInput(f"a flavor has up to {_MAX_ATTRIBUTES} attributes, each once")
        for attribute in flavor.attributes:
            if not attribute.name.isidentifier() or not attribute.name.isascii() or attribute.name in ("name", "flavor"):
                raise InvalidInput(f"an attribute cannot be called '{printable(attribute.name)}'", hint="give it a name as in Python")
        if flavor.connector is not None:
            check_plain_name(flavor.connector, "a flavor")
            naming = flavor.attribute("connector")
            if naming is None or naming.kind is not AttributeKind.TEXT:
                raise InvalidInput("a flavor that can use a service connector has an attribute 'connector' that is text")
        if not flavor.source.isascii() or not flavor.source.isprintable() or len(flavor.source) > 512:
            raise InvalidInput("the source of a flavor is an import path")
        try:
            self._put_flavor(actor, flavor)
        except ConstraintViolated:  # somebody else was the first to register it, just now
            self._put_flavor(actor, flavor)
        return flavor

    def _put_flavor(self, actor: Actor, flavor: Flavor) -> None:
        with self._database.write() as connection:
            index.put_flavor(connection, actor.workspace_id, flavor.type, flavor.name, _encode(flavor), actor.user_id, now())

    def get_flavor(self, actor: Actor, request: GetFlavor) -> Flavor:
        """The flavor of this type and name. `NotFound`."""
        with self._database.read() as connection:
            return flavor_of(connection, actor, request.type, request.name)

    def list_flavors(self, actor: Actor, request: ListFlavors) -> Page[Flavor]:
        """All flavors of a type or of all types, on one page; built-in ones first."""
        with self._database.read() as connection:
            found = [flavor for flavor in _flavors(connection, actor).values() if request.type in (None, flavor.type)]
        return Page.of(found, total=len(found), page=1, size=max(1, len(found)))

    def delete_flavor(self, actor: Actor, request: DeleteFlavor) -> None:
        """Forgets a custom flavor that no component uses. `NotFound`, `InvalidInput`."""
        with self._database.write() as connection:
            if flavor_of(connection, actor, request.type, request.name).builtin:
                raise InvalidInput(f"the {request.type.words} flavor '{request.name}' is built in and stays")
            using = index.components_of_flavor(connection, actor.workspace_id, request.type, request.name)
            if using:
                raise InvalidInput(f"the flavor '{request.name}' is used by: {', '.join(using)}", hint="delete these first")
            index.delete_flavor(connection, actor.workspace_id, request.type, request.name)


@contextmanager
def name_taken(component_type: ComponentType, name: str, actor: Actor) -> Iterator[None]:
    """Says what it means when the database refuses a write here: the name is taken."""
    try:
        yield
    except ConstraintViolated:
        raise AlreadyExists(
            f"{component_type.words} '{name}' already exists in workspace '{actor.workspace}'",
            hint=f"change it with: strongroom {component_type.command} update {name}",
        ) from None


def find_flavor(connection: Connection, actor: Actor, component_type: ComponentType, name: str) -> Flavor | None:
    """The built-in or custom flavor of this type and name, or None."""
    builtin = find_builtin(component_type, name)
    if builtin is not None:
        return builtin
    custom = index.find_flavor(connection, actor.workspace_id, component_type, name)
    return None if custom is None else decode_flavor(custom)


def flavor_of(connection: Connection, actor: Actor, component_type: ComponentType, name: str) -> Flavor:
    """The same, or `NotFound` with names like it."""
    flavor = find_flavor(connection, actor, component_type, name)
    if flavor is None:
        known = [flavor.name for (kind, _), flavor in _flavors(connection, actor).items() if kind == component_type]
        near = near_names(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"the flavors are: {', '.join(known)}" if known else _OWN_FLAVOR
        raise NotFound(f"there is no {component_type.words} flavor '{printable(name)}'", hint=hint)
    return flavor


def named_component(connection: Connection, actor: Actor, component_type: ComponentType, name: str) -> ComponentRow:
    """The component of this type and name (or id), or `NotFound` with names like it."""
    row = index.find_component(connection, actor.workspace_id, component_type, name)
    if row is None:
        known = index.names_of_type(connection, actor.workspace_id, component_type, 500)
        near = near_names(name, known, 3, 0.7)
        hint = f"did you mean {' or '.join(near)}?" if near else f"see them with: strongroom {component_type.command} list"
        raise NotFound(f"there is no {component_type.words} '{printable(name)}'", hint=hint)
    return row


def connectors_of(connection: Connection, actor: Actor, parts: Sequence[ComponentRow]) -> list[ComponentRow]:
    """The service connectors that these components name, each once, by name."""
    flavors = [find_flavor(connection, actor, ComponentType(part.type), part.flavor) for part in parts]
    names = {connector_named(flavor, decode_configuration(part.configuration)) for flavor, part in zip(flavors, parts, strict=True)}
    return index.list_named(connection, actor.workspace_id, CONNECTOR, {name for name in names if name is not None})


def shown_component(row: ComponentRow, flavor: Flavor | None, warnings: Sequence[str] | None = None) -> Component:
    """A component as it may be shown to those who may not read values."""
    return Component(
        id=row.id,
        name=row.name,
        type=ComponentType(row.type),
        flavor=row.flavor,
        workspace=row.workspace,
        owner=row.owner,
        configuration=masked(flavor, decode_configuration(row.configuration)),
        created=from_microseconds(row.created),
        updated=from_microseconds(row.updated),
        revision=row.revision,
        author=f"{row.author} and others" if row.mixed else row.author,
        warnings=UNSET if warnings is None else list(warnings),
    )


def _check_rules(connection: Connection, actor: Actor, flavor: Flavor, component_id: str, configuration: dict[str, Any]) -> None:
    """What goes for the type: for a service connector or a component that names one, for a secrets manager. `InvalidInput`."""
    if flavor.type is CONNECTOR:
        check_connector(flavor, configuration)
    if flavor.type is ComponentType.SECRETS_MANAGER:
        check_secrets_manager(flavor, component_id, configuration)
    name = connector_named(flavor, configuration)
    if name is not None:
        lock_named_connector(connection, actor, flavor, name)


def _check_unnamed(connection: Connection, actor: Actor, row: ComponentRow, what: str) -> None:
    """`InvalidInput` when the component, which is locked, is a connector that others name."""
    if row.type != CONNECTOR:
        return
    using = [
        f"{each.type.replace('_', ' ')} '{each.name}'"
        for each in candidates(connection, actor, row.name)
        if connector_named(
            find_flavor(connection, actor, ComponentType(each.type), each.flavor), decode_configuration(each.configuration)
        )
        == row.name
    ]
    if using:
        raise InvalidInput(
            f"service connector '{row.name}' cannot be {what}: it is named by {', '.join(using)}",
            hint="remove their attribute 'connector', or delete them, first",
        )


def _flavors(connection: Connection, actor: Actor) -> dict[tuple[str, str], Flavor]:
    custom = [decode_flavor(text) for text in index.list_flavors(connection, actor.workspace_id)]
    return {(flavor.type.value, flavor.name): flavor for flavor in (*BUILTIN_FLAVORS, *custom)}


def _stacks(names: Sequence[str]) -> str:
    return f"the stack '{names[0]}'" if len(names) == 1 else f"the stacks {', '.join(names)}"


def _no_such_id(component_id: str) -> NotFound:
    return NotFound(f"there is no component with the id {printable(component_id)}")


def _encode(data: object) -> str:
    return msgspec.json.encode(data).decode()


_OWN_FLAVOR = "this type has no built-in flavor; make one and register it with: strongroom TYPE flavor register MODULE:CLASS"
