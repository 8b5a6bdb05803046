"""Pages of the index of secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, false, func, select, union_all
from sqlalchemy.sql.selectable import Select

from strongroom.db.tables import secret_labels, secrets, users
from strongroom.metadata import secret_count
from strongroom.metadata.conditions import can_be_stored, text_condition, time_condition
from strongroom.metadata.secret import SECRET_COLUMNS, SecretRow, secret_row, with_version
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
    sizes = dict.fromkeys(query.namespaces, 0)
    filters = _filters(query, connection.dialect.name)
    if filters:
        wanted = (secrets.c.workspace_id == query.workspace_id, secrets.c.private_to.in_(query.namespaces), *filters)
        total = connection.execute(select(func.count()).select_from(secrets).where(*wanted)).scalar_one()
    else:
        sizes = secret_count.totals(connection, query.workspace_id, query.namespaces)
        total = sum(sizes.values())
    # Positions in the sort order, from 0; a page of the descending order is the mirror image of one of the ascending order.
    first, last = query.offset, min(query.offset + query.size, total)
    if first >= last:
        return [], total
    if query.descending:
        first, last = total - last, total - first
    count = last - first
    from_id, skip, backwards = "", first, False
    if first > total - last:  # skip from the nearer end
        skip, backwards = total - last, True
    if skip > secret_count.LONGEST and query.sort_by == "created" and not filters:
        backwards = False
        from_id, skip = secret_count.position(connection, query.workspace_id, sizes, first)
    shape = (query.sort_by, backwards, len(sizes))
    if filters:
        # SQLite, which knows little about its rows, would go through all in their order until it has found a page of them.
        statement = _page(*shape, filters, first_filter=connection.dialect.name == "sqlite" and total <= secret_count.LONGEST)
    else:
        statement = _page_without_filters(*shape)
    parameters: dict[str, Any] = {"workspace": query.workspace_id, "skip": skip, "count": count}
    if query.sort_by == "created":
        parameters["from_id"] = from_id
    if len(sizes) > 1:
        parameters["until"] = skip + count
    parameters |= {f"private{number}": namespace for number, namespace in enumerate(sizes)}
    rows = [secret_row(row) for row in connection.execute(statement, parameters)]
    if query.descending != backwards:
        rows.reverse()
    return rows, total


def _page(
    sort_by: str, backwards: bool, namespaces: int, filters: Sequence[ColumnElement[bool]] = (), *, first_filter: bool = False
) -> Select[Any]:
    """The statement for a page: `count` secrets after the first `skip` from `from_id` on.

    Each namespace is read in the order of its index, then they are merged, then the rest of each secret is looked up. With
    `first_filter` SQLite finds all that pass the filters by the index that is best for those, and sorts them.
    """
    column = SORTABLE[sort_by]

    def order(position: ColumnElement[Any], secret_id: ColumnElement[str]) -> list[ColumnElement[Any]]:
        # In the order of creation the position is the id; naming it twice would make SQLite sort what is sorted.
        columns = [secret_id] if sort_by == "created" else [position, secret_id]
        return [column.desc() for column in columns] if backwards else columns

    parts = [
        select(column.label("position"), secrets.c.id)
        .where(
            secrets.c.workspace_id == bindparam("workspace"),
            secrets.c.private_to == bindparam(f"private{number}"),
            *([secrets.c.id >= bindparam("from_id")] if sort_by == "created" else []),
            *filters,
        )
        .order_by(*(order(*map(_without_index, (column, secrets.c.id))) if first_filter else order(column, secrets.c.id)))
        for number in range(namespaces)
    ]
    if len(parts) == 1:
        page = parts[0].offset(bindparam("skip")).limit(bindparam("count")).subquery()
    else:
        merged = union_all(*(select(part.limit(bindparam("until")).subquery()) for part in parts)).subquery()
        ordered = select(merged.c.position, merged.c.id).order_by(*order(merged.c.position, merged.c.id))
        page = ordered.offset(bindparam("skip")).limit(bindparam("count")).subquery()
    source = with_version(secrets.c.current_version).join(page, page.c.id == secrets.c.id)
    return select(*SECRET_COLUMNS).select_from(source).order_by(*order(page.c.position, page.c.id))


def _without_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same to sort by, but for which SQLite sees no index."""
    return func.ifnull(column, column)


@cache
def _page_without_filters(sort_by: str, backwards: bool, namespaces: int) -> Select[Any]:
    """The same, made once: that costs more than running it."""
    return _page(sort_by, backwards, namespaces)


def _filters(query: SecretQuery, dialect: str) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for name, text in query.text.items():
        if name == "owner":
            owners = select(users.c.id).where(text_condition(users.c.name, text, dialect))
            conditions.append(secrets.c.owner_id.in_(owners))
        else:
            conditions.append(text_condition(secrets.c[name], text, dialect))
    for key, value in query.labels.items():
        if not can_be_stored(key) or value != value.strip() or not value.isprintable():
            return [false()]
        same = (secret_labels.c.key == key) & (secret_labels.c.value == value)
        conditions.append(secrets.c.id.in_(select(secret_labels.c.secret_id).where(same)))
    conditions += [time_condition(secrets.c.created, wanted_time) for wanted_time in query.created]
    conditions += [time_condition(secrets.c.updated, wanted_time) for wanted_time in query.updated]
    return conditions
