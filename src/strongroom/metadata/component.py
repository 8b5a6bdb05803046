"""The index of components and custom flavors."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from strongroom.db.tables import approvals, components, flavors, stack_components, stacks, users, workspaces
from strongroom.metadata.conditions import can_be_stored, text_condition
from strongroom.models.filter import TextFilter
from strongroom.models.page import check_page_bytes


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """A component; `configuration` is JSON, times are in microseconds since 1970. An unknown author is None.

    A `mixed` revision keeps attributes of one of another user that its author had not approved.
    """

    id: str
    workspace_id: str
    type: str
    name: str
    flavor: str
    configuration: str
    created: int
    updated: int
    workspace: str
    owner: str
    revision: int
    author_id: str | None
    author: str | None
    mixed: int


@dataclass(frozen=True, slots=True)
class FlavorRow:
    """A custom flavor; `description` is JSON."""

    description: str
    revision: int
    author_id: str | None
    author: str | None


author_of_component = users.alias("component_author")
author_of_flavor = users.alias("flavor_author")

COMPONENT_COLUMNS = (
    components.c.id,
    components.c.workspace_id,
    components.c.type,
    components.c.name,
    components.c.flavor,
    components.c.configuration,
    components.c.created,
    components.c.updated,
    workspaces.c.name,
    users.c.name,
    components.c.revision,
    components.c.author_id,
    author_of_component.c.name,
    components.c.mixed,
)
WITH_OWNER = (
    components.join(workspaces, workspaces.c.id == components.c.workspace_id)
    .join(users, users.c.id == components.c.owner_id)
    .outerjoin(author_of_component, author_of_component.c.id == components.c.author_id)
)
_SELECT = select(*COMPONENT_COLUMNS).select_from(WITH_OWNER)


def component_row(columns: Sequence[Any]) -> ComponentRow:
    """The row of `COMPONENT_COLUMNS`."""
    return ComponentRow(*columns)


def find_component(connection: Connection, workspace_id: str, component_type: str, name_or_id: str) -> ComponentRow | None:
    """The component of this type that has this id, or else this exact name: an id never leads to another one of that name."""
    if not can_be_stored(name_or_id):
        return None
    mine = (components.c.workspace_id == workspace_id) & (components.c.type == component_type)
    rows = connection.execute(_SELECT.where(mine, (components.c.name == name_or_id) | (components.c.id == name_or_id))).all()
    found = [component_row(row) for row in rows]
    return next((row for row in found if row.id == name_or_id), found[0] if found else None)


def find_component_by_id(connection: Connection, workspace_id: str, component_id: str) -> ComponentRow | None:
    """The component of this id."""
    if not can_be_stored(component_id):
        return None
    statement = _SELECT.where(components.c.workspace_id == workspace_id, components.c.id == component_id)
    row = connection.execute(statement).one_or_none()
    return component_row(row) if row else None


def list_named(connection: Connection, workspace_id: str, component_type: str, names: Collection[str]) -> list[ComponentRow]:
    """Those of exactly these names, by name."""
    storable = [name for name in names if can_be_stored(name)]
    mine = (components.c.workspace_id == workspace_id) & (components.c.type == component_type)
    statement = _SELECT.where(mine, components.c.name.in_(storable)).order_by(components.c.name)
    return [component_row(row) for row in connection.execute(statement)] if storable else []


def list_mentioning(connection: Connection, workspace_id: str, text: str) -> list[ComponentRow]:
    """The components in whose attributes this text stands somewhere, by type and name."""
    statement = _SELECT.where(components.c.workspace_id == workspace_id, components.c.configuration.contains(text, autoescape=True))
    return [component_row(row) for row in connection.execute(statement.order_by(components.c.type, components.c.name))]


def lock_component(connection: Connection, workspace_id: str, component_id: str) -> ComponentRow | None:
    """The component of this id, locked until the transaction ends (outside of one: just read)."""
    if not can_be_stored(component_id):
        return None
    statement = _SELECT.where(components.c.workspace_id == workspace_id, components.c.id == component_id)
    row = connection.execute(statement.with_for_update(of=components)).one_or_none()
    return component_row(row) if row else None


def list_components(
    connection: Connection,
    workspace_id: str,
    *,
    component_type: str | None,
    name: TextFilter | None,
    flavor: TextFilter | None,
    offset: int,
    size: int,
) -> tuple[list[ComponentRow], int]:
    """A page of components by type and name, and how many there are in all. `TooLarge` for a page that holds too much."""
    wanted = [components.c.workspace_id == workspace_id]
    wanted += [components.c.type == component_type] if component_type else []
    for column, given in ((components.c.name, name), (components.c.flavor, flavor)):
        wanted += [text_condition(column, given, connection.dialect.name)] if given else []
    total = connection.execute(select(func.count()).select_from(components).where(*wanted)).scalar_one()
    order = (components.c.type, components.c.name)
    page = select(components.c.configuration).where(*wanted).order_by(*order).offset(offset).limit(size).subquery()
    check_page_bytes(connection.execute(select(func.sum(func.length(page.c.configuration)))).scalar())
    statement = _SELECT.where(*wanted).order_by(*order).offset(offset).limit(size)
    return [component_row(row) for row in connection.execute(statement)], total


def insert_component(connection: Connection, **columns: Any) -> None:
    """Adds a component. `ConstraintViolated` when its type has one of that name."""
    connection.execute(insert(components).values(**columns))


def update_component(connection: Connection, component_id: str, author_id: str, *, mixed: bool, **columns: Any) -> None:
    """Makes a new revision of a component, by this author. `ConstraintViolated` when the new name is taken."""
    changed = {**columns, "author_id": author_id, "mixed": int(mixed), "revision": components.c.revision + 1}
    connection.execute(update(components).where(components.c.id == component_id).values(**changed))


def delete_component(connection: Connection, component_id: str) -> None:
    """Deletes a component. `ConstraintViolated` when a stack has it."""
    connection.execute(delete(components).where(components.c.id == component_id))
    connection.execute(delete(approvals).where(approvals.c.subject_id == component_id))


def stacks_with(connection: Connection, component_id: str) -> Sequence[str]:
    """The names of the stacks that have this component."""
    statement = select(stacks.c.name).join(stack_components, stack_components.c.stack_id == stacks.c.id)
    return (
        connection.execute(statement.where(stack_components.c.component_id == component_id).order_by(stacks.c.name)).scalars().all()
    )


def names_of_type(connection: Connection, workspace_id: str, component_type: str, limit: int) -> Sequence[str]:
    """Some names of components of this type."""
    statement = select(components.c.name).where(components.c.workspace_id == workspace_id, components.c.type == component_type)
    return connection.execute(statement.order_by(components.c.name).limit(limit)).scalars().all()


def put_flavor(
    connection: Connection, workspace_id: str, component_type: str, name: str, description: str, author_id: str, now: int
) -> None:
    """Makes a custom flavor, or a new revision of it, by this author; `description` is JSON.

    One that says what the flavor says already changes nothing.
    """
    key = _flavor_key(workspace_id, component_type, name)
    former = connection.execute(select(flavors.c.description).where(*key).with_for_update()).scalar()
    if former is None:
        values = {"workspace_id": workspace_id, "type": component_type, "name": name, "description": description, "created": now}
        connection.execute(insert(flavors).values(**values, author_id=author_id))
    elif former != description:
        changed = {"description": description, "author_id": author_id, "revision": flavors.c.revision + 1}
        connection.execute(update(flavors).where(*key).values(**changed))


def find_flavor(connection: Connection, workspace_id: str, component_type: str, name: str) -> str | None:
    """The description of a custom flavor, or None."""
    if not can_be_stored(name):
        return None
    return connection.execute(select(flavors.c.description).where(*_flavor_key(workspace_id, component_type, name))).scalar()


def find_flavors(connection: Connection, workspace_id: str, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], FlavorRow]:
    """The custom flavors of these types and names that there are."""
    if not keys:
        return {}
    columns = (
        flavors.c.type,
        flavors.c.name,
        flavors.c.description,
        flavors.c.revision,
        flavors.c.author_id,
        author_of_flavor.c.name,
    )
    source = flavors.outerjoin(author_of_flavor, author_of_flavor.c.id == flavors.c.author_id)
    named = or_(*((flavors.c.type == kind) & (flavors.c.name == name) for kind, name in keys))
    rows = connection.execute(select(*columns).select_from(source).where(flavors.c.workspace_id == workspace_id, named))
    return {(kind, name): FlavorRow(*others) for kind, name, *others in rows}


def list_flavors(connection: Connection, workspace_id: str) -> Sequence[str]:
    """The descriptions of all custom flavors, by type and name."""
    statement = select(flavors.c.description).where(flavors.c.workspace_id == workspace_id)
    return connection.execute(statement.order_by(flavors.c.type, flavors.c.name)).scalars().all()


def delete_flavor(connection: Connection, workspace_id: str, component_type: str, name: str) -> bool:
    """Deletes a custom flavor; whether there was one."""
    return bool(connection.execute(delete(flavors).where(*_flavor_key(workspace_id, component_type, name))).rowcount)


def components_of_flavor(connection: Connection, workspace_id: str, component_type: str, flavor: str) -> Sequence[str]:
    """The names of the components of this flavor."""
    statement = select(components.c.name).where(
        components.c.workspace_id == workspace_id, components.c.type == component_type, components.c.flavor == flavor
    )
    return connection.execute(statement.order_by(components.c.name)).scalars().all()


def _flavor_key(workspace_id: str, component_type: str, name: str) -> tuple[Any, ...]:
    return flavors.c.workspace_id == workspace_id, flavors.c.type == component_type, flavors.c.name == name
