"""Pages of the index of secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, false, func, select, union_all
from sqlalchemy.sql.selectable import Select

from strongroom.db.tables import secret_labels, secrets, users
from strongroom.metadata.conditions import can_be_stored, exactly, text_condition, time_condition
from strongroom.metadata.secret import SECRET_COLUMNS, SecretRow, secret_row, with_version
from strongroom.metadata.secret_count import Counts
from strongroom.models.filter import TextFilter, TimeFilter

SORTABLE = {
    "created": secrets.c.id,  # ids are UUIDv7: they sort by creation
    "updated": secrets.c.updated,
    "name": secrets.c.name,
    "scope": secrets.c.private_to,
}


@dataclass(frozen=True)
class SecretQuery:
    """Which secrets, in which order. `namespaces` are the visible ones ('' is the workspace); all filters have to hold."""

    workspace_id: str
    namespaces: Sequence[str]
    text: Mapping[str, TextFilter] = field(default_factory=dict)  # by field: id, name, owner
    labels: Mapping[str, str] = field(default_factory=dict)
    created: Sequence[TimeFilter] = ()
    updated: Sequence[TimeFilter] = ()
    sort_by: str = "created"
    descending: bool = False
    offset: int = 0
    size: int = 20


def list_secrets(connection: Connection, query: SecretQuery) -> tuple[list[SecretRow], int]:
    """One page of secrets with their current versions, without placements, and the total. Needs a snapshot.

    Without filters, pages in the order of creation cost the same wherever they lie and however many secrets there are; other
    orders skip index entries from the nearer end; filters read what they filter.
    """
    if not (query.text or query.labels or query.created or query.updated):
        counts = Counts(connection, query.workspace_id, query.namespaces)
        total = counts.total
    else:
        counts = None
        total = connection.execute(select(func.count()).select_from(secrets).where(_condition(connection, query))).scalar_one()
    first, last = query.offset, min(query.offset + query.size, total)
    if first >= last:
        return [], total
    # Count from the nearer end; in the order of creation always from the front, for which there are counts.
    backwards = query.descending
    if backwards:
        first, last = total - last, total - first
    if counts and query.sort_by == "created":
        position = counts.position(first)
        ids = _ids(connection, query, SORTABLE["created"], False, position.skip, last - first, position.first_id)
    else:
        flip = first > total - last
        if flip:
            first, last = total - last, total - first
        ids = _ids(connection, query, SORTABLE[query.sort_by], flip, first, last - first)
        if flip:
            ids.reverse()
    if backwards:
        ids.reverse()
    rows = {row[0]: secret_row(row) for row in connection.execute(_ROWS, {"ids": ids})}
    return [rows[secret_id] for secret_id in ids], total


def _ids(
    connection: Connection,
    query: SecretQuery,
    column: ColumnElement[str],
    descending: bool,
    skip: int,
    count: int,
    from_id: str = "",
) -> list[str]:
    """The ids of `count` secrets after the first `skip`. Each namespace is read in its index's order, then they are merged."""
    order: tuple[ColumnElement[Any], ...] = (column.desc(), secrets.c.id.desc()) if descending else (column, secrets.c.id)
    parts: list[Select[tuple[str, str]]] = []
    for namespace in query.namespaces:
        part = select(column.label("position"), secrets.c.id).where(_condition(connection, query, [namespace]))
        if from_id:
            part = part.where(secrets.c.id >= from_id)
        part = part.order_by(*order)
        if len(query.namespaces) == 1:
            return list(connection.execute(part.offset(skip).limit(count).with_only_columns(secrets.c.id)).scalars())
        parts.append(select(part.limit(skip + count).subquery()))
    merged = union_all(*parts).subquery()
    merged_order = (merged.c.position.desc(), merged.c.id.desc()) if descending else (merged.c.position, merged.c.id)
    return list(connection.execute(select(merged.c.id).order_by(*merged_order).offset(skip).limit(count)).scalars())


def _condition(connection: Connection, query: SecretQuery, namespaces: Sequence[str] | None = None) -> ColumnElement[bool]:
    dialect = connection.dialect.name
    wanted = namespaces or query.namespaces
    private = secrets.c.private_to == wanted[0] if len(wanted) == 1 else secrets.c.private_to.in_(wanted)
    conditions = [secrets.c.workspace_id == query.workspace_id, private]
    for name, text in query.text.items():
        if name == "owner":
            owners = select(users.c.id).where(text_condition(users.c.name, text, dialect))
            conditions.append(secrets.c.owner_id.in_(owners))
        else:
            conditions.append(text_condition(secrets.c[name], text, dialect))
    for key, value in query.labels.items():
        if not can_be_stored(key) or not value.isprintable():  # no such label is ever stored
            return false()
        same = exactly(secret_labels.c.key, key, dialect) & exactly(secret_labels.c.value, value, dialect)
        conditions.append(exists().where(secret_labels.c.secret_id == secrets.c.id, same))
    conditions += [time_condition(secrets.c.created, wanted_time) for wanted_time in query.created]
    conditions += [time_condition(secrets.c.updated, wanted_time) for wanted_time in query.updated]
    return and_(*conditions)


_ROWS = (
    select(*SECRET_COLUMNS)
    .select_from(with_version(secrets.c.current_version))
    .where(secrets.c.id.in_(bindparam("ids", expanding=True)))
)
