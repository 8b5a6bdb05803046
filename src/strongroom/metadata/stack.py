"""The index of stacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from strongroom.db.identifiers import new_id
from strongroom.db.tables import active_stacks, approvals, components, stack_components, stacks, users, workspaces
from strongroom.metadata.component import COMPONENT_COLUMNS, WITH_OWNER, ComponentRow, component_row
from strongroom.metadata.conditions import can_be_stored, text_condition
from strongroom.models.filter import TextFilter
from strongroom.models.page import check_page_bytes

DEFAULT = "default"
_DEFAULT_COMPONENTS = ("artifact_store", "orchestrator")


@dataclass(frozen=True, slots=True)
class StackRow:
    """A stack with its components, by type; times in microseconds since 1970.

    Revision and author are those of its composition. An unknown author is None.
    """

    id: str
    workspace_id: str
    name: str
    created: int
    updated: int
    workspace: str
    owner: str
    revision: int
    author_id: str | None
    author: str | None
    components: list[ComponentRow] = field(default_factory=list)


_owner, _author = users.alias("stack_owner"), users.alias("stack_author")
_COLUMNS = (
    *(stacks.c.id, stacks.c.workspace_id, stacks.c.name, stacks.c.created, stacks.c.updated, workspaces.c.name, _owner.c.name),
    *(stacks.c.revision, stacks.c.author_id, _author.c.name),
)
_SELECT = (
    select(*_COLUMNS)
    .select_from(stacks)
    .join(workspaces, workspaces.c.id == stacks.c.workspace_id)
    .join(_owner, _owner.c.id == stacks.c.owner_id)
    .outerjoin(_author, _author.c.id == stacks.c.author_id)
)


def find_stack(connection: Connection, workspace_id: str, name: str) -> StackRow | None:
    """The stack of exactly this name with its components."""
    if not can_be_stored(name):
        return None
    return _one(connection, (stacks.c.workspace_id == workspace_id) & (stacks.c.name == name))


def find_stack_by_id(connection: Connection, workspace_id: str, stack_id: str) -> StackRow | None:
    """The stack of this id with its components."""
    if not can_be_stored(stack_id):
        return None
    return _one(connection, (stacks.c.workspace_id == workspace_id) & (stacks.c.id == stack_id))


def lock_stack(connection: Connection, workspace_id: str, stack_id: str) -> StackRow | None:
    """The stack of this id with its components, locked until the transaction ends."""
    if not can_be_stored(stack_id):
        return None
    wanted = (stacks.c.workspace_id == workspace_id) & (stacks.c.id == stack_id)
    return _one(connection, wanted, lock=True)


def _one(connection: Connection, condition: Any, *, lock: bool = False) -> StackRow | None:
    statement = _SELECT.where(condition)
    rows = connection.execute(statement.with_for_update(of=stacks) if lock else statement).all()
    return _with_components(connection, [StackRow(*row) for row in rows])[0] if rows else None


def list_stacks(
    connection: Connection, workspace_id: str, *, name: TextFilter | None, offset: int, size: int
) -> tuple[list[StackRow], int]:
    """A page of stacks by name, and how many there are in all. `TooLarge` for a page whose components hold too much."""
    wanted = [stacks.c.workspace_id == workspace_id]
    wanted += [text_condition(stacks.c.name, name, connection.dialect.name)] if name else []
    total = connection.execute(select(func.count()).select_from(stacks).where(*wanted)).scalar_one()
    rows = connection.execute(_SELECT.where(*wanted).order_by(stacks.c.name).offset(offset).limit(size)).all()
    found = [StackRow(*row) for row in rows]
    parts = components.join(stack_components, stack_components.c.component_id == components.c.id)
    held = select(func.sum(func.length(components.c.configuration))).select_from(parts)
    check_page_bytes(connection.execute(held.where(stack_components.c.stack_id.in_([row.id for row in found]))).scalar())
    return _with_components(connection, found), total


def _with_components(connection: Connection, found: list[StackRow]) -> list[StackRow]:
    by_id = {row.id: row for row in found}
    statement = (
        select(stack_components.c.stack_id, *COMPONENT_COLUMNS)
        .select_from(WITH_OWNER.join(stack_components, stack_components.c.component_id == components.c.id))
        .where(stack_components.c.stack_id.in_(list(by_id)))
        .order_by(stack_components.c.type)
    )
    for stack_id, *columns in connection.execute(statement) if by_id else ():
        by_id[stack_id].components.append(component_row(columns))
    return found


def names_of_stacks(connection: Connection, workspace_id: str, limit: int) -> Sequence[str]:
    """Some names of stacks."""
    statement = select(stacks.c.name).where(stacks.c.workspace_id == workspace_id).order_by(stacks.c.name).limit(limit)
    return connection.execute(statement).scalars().all()


def insert_stack(
    connection: Connection, *, stack_id: str, workspace_id: str, name: str, user_id: str, parts: Mapping[str, str], now: int
) -> None:
    """Adds a stack of components: type to id. `ConstraintViolated` when the name is taken."""
    connection.execute(
        insert(stacks).values(
            id=stack_id, workspace_id=workspace_id, name=name, owner_id=user_id, author_id=user_id, created=now, updated=now
        )
    )
    _insert_parts(connection, stack_id, parts)


def update_stack(connection: Connection, stack_id: str, name: str, parts: Mapping[str, str | None], author_id: str, now: int) -> None:
    """Makes a new revision of a stack, by this author: renames it, puts components in, takes those out whose id is None.

    `ConstraintViolated` when the name is taken.
    """
    changed = {"name": name, "updated": now, "author_id": author_id, "revision": stacks.c.revision + 1}
    connection.execute(update(stacks).where(stacks.c.id == stack_id).values(**changed))
    if parts:
        touched = stack_components.c.type.in_(list(parts))
        connection.execute(delete(stack_components).where(stack_components.c.stack_id == stack_id, touched))
    _insert_parts(connection, stack_id, {kind: component_id for kind, component_id in parts.items() if component_id})


def _insert_parts(connection: Connection, stack_id: str, parts: Mapping[str, str]) -> None:
    rows = [{"stack_id": stack_id, "type": kind, "component_id": component_id} for kind, component_id in parts.items()]
    if rows:
        connection.execute(insert(stack_components), rows)


def delete_stack(connection: Connection, stack_id: str) -> None:
    """Deletes a stack. Whoever used it falls back to the default one."""
    connection.execute(delete(active_stacks).where(active_stacks.c.stack_id == stack_id))
    connection.execute(delete(stack_components).where(stack_components.c.stack_id == stack_id))
    connection.execute(delete(stacks).where(stacks.c.id == stack_id))
    connection.execute(delete(approvals).where(approvals.c.subject_id == stack_id))


def activate(connection: Connection, user_id: str, workspace_id: str, stack_id: str) -> None:
    """Makes the stack the user's active one in the workspace. `ConstraintViolated` when they were choosing at the same time."""
    mine = (active_stacks.c.user_id == user_id) & (active_stacks.c.workspace_id == workspace_id)
    if not connection.execute(update(active_stacks).where(mine).values(stack_id=stack_id)).rowcount:
        connection.execute(insert(active_stacks).values(user_id=user_id, workspace_id=workspace_id, stack_id=stack_id))


def active_stack_name(connection: Connection, user_id: str, workspace_id: str) -> str:
    """The name of the user's active stack in the workspace."""
    statement = select(stacks.c.name).join(active_stacks, active_stacks.c.stack_id == stacks.c.id)
    mine = (active_stacks.c.user_id == user_id) & (active_stacks.c.workspace_id == workspace_id)
    return connection.execute(statement.where(mine)).scalar() or DEFAULT


def create_defaults(connection: Connection, workspace_id: str, user_id: str, now: int) -> None:
    """Gives a workspace what exists from the start: a local orchestrator, a local artifact store, and a stack of them."""
    if find_stack(connection, workspace_id, DEFAULT) is not None:
        return
    parts = {}
    for kind in _DEFAULT_COMPONENTS:
        parts[kind] = new_id()
        connection.execute(
            insert(components).values(
                id=parts[kind],
                workspace_id=workspace_id,
                type=kind,
                name=DEFAULT,
                flavor="local",
                configuration="{}",
                owner_id=user_id,
                author_id=user_id,
                created=now,
                updated=now,
            )
        )
    insert_stack(connection, stack_id=new_id(), workspace_id=workspace_id, name=DEFAULT, user_id=user_id, parts=parts, now=now)
