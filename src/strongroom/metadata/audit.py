"""The audit trail in the index: events, and the head of their chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from strongroom.db.query import Prepared, PreparedInsert
from strongroom.db.tables import audit_events, audit_head, audit_journals
from strongroom.metadata.conditions import can_be_stored
from strongroom.metadata.private_name import target_is

_HEAD, _BASE = 1, 2
_LAST = select(func.max(audit_events.c.number)).scalar_subquery()
_FIND_ROW = select(audit_head.c.number, audit_head.c.mark, audit_head.c.head)
_FIND_HEAD = _FIND_ROW.where(audit_head.c.id == _HEAD)
_FIND_HEAD_AND_LAST = select(audit_head.c.number, audit_head.c.mark, audit_head.c.head, _LAST).where(audit_head.c.id == _HEAD)
_LOCK_HEAD = Prepared(_FIND_HEAD_AND_LAST.with_for_update())
_LOCK_FREE_HEAD = Prepared(_FIND_HEAD_AND_LAST.with_for_update(skip_locked=True))
_MOVE_HEAD = Prepared(
    update(audit_head)
    .where(audit_head.c.id == _HEAD)
    .values(number=bindparam("last"), mark=bindparam("its_mark"), head=bindparam("both"))
)
_INSERT = PreparedInsert(audit_events)


class EventRow(msgspec.Struct, frozen=True):
    """An event; `facts` is canonical JSON."""

    number: int
    facts: bytes
    mark: bytes


class NewEvent(msgspec.Struct, frozen=True):
    """An event to be added, with what it is found by: the columns in their order."""

    number: int
    actor: str
    operation: str
    target: str
    target_id: str
    outcome: str
    facts: bytes
    mark: bytes
    entry: str | None


class HeadRow(msgspec.Struct, frozen=True):
    """The last event's number and mark, the mark of both, and the greatest number that an event really has."""

    number: int
    mark: bytes
    head: bytes
    last: int


def find_head(connection: Connection) -> tuple[int, bytes, bytes] | None:
    """The last event's number and mark, and the mark of both; None if the row is missing."""
    return next(((row[0], row[1], row[2]) for row in connection.execute(_FIND_HEAD)), None)


def find_base(connection: Connection) -> tuple[int, bytes, bytes] | None:
    """Returns number and mark of the last archived event, and the mark of both; None if no event was archived."""
    return next(((row[0], row[1], row[2]) for row in connection.execute(_FIND_ROW.where(audit_head.c.id == _BASE))), None)


def put_base(connection: Connection, number: int, mark: bytes, base: bytes) -> None:
    """Removes all events up to this number, and has the chain begin behind it."""
    connection.execute(delete(audit_head).where(audit_head.c.id == _BASE))
    connection.execute(insert(audit_head).values(id=_BASE, number=number, mark=mark, head=base))
    connection.execute(delete(audit_events).where(audit_events.c.number <= number))


def delete_events_from(connection: Connection, number: int) -> None:
    """Removes all events from this number on."""
    connection.execute(delete(audit_events).where(audit_events.c.number >= number))


def lock_head(connection: Connection, *, patient: bool = True) -> HeadRow | None:
    """Returns the head locked: until the transaction ends, no other process adds an event. None if the row is missing.

    Unless `patient`, also None on a database server while another process holds the lock. There `last` may be older than the lock.
    """
    rows = (_LOCK_HEAD if patient else _LOCK_FREE_HEAD).all(connection, {})
    return next((HeadRow(row[0], bytes(row[1]), bytes(row[2]), row[3] or 0) for row in rows), None)


def begin(connection: Connection, number: int, mark: bytes, head: bytes) -> None:
    """Adds the row of the head. `ConstraintViolated` if there is one."""
    connection.execute(insert(audit_head).values(id=_HEAD, number=number, mark=mark, head=head))


def append(connection: Connection, events: Sequence[NewEvent], head: bytes) -> None:
    """Adds events behind the head, which the caller has locked."""
    _INSERT.run_rows(connection, [msgspec.structs.astuple(event) for event in events])
    last = events[-1]
    _MOVE_HEAD.run(connection, [{"last": last.number, "its_mark": last.mark, "both": head}])


def find_entries(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Returns which of these ids of the outbox belong to events in the chain."""
    rows = connection.execute(select(audit_events.c.entry).where(audit_events.c.entry.in_(ids)))
    return {str(entry) for entry in rows.scalars()}


def last_event(connection: Connection) -> EventRow | None:
    """Returns the event with the greatest number."""
    statement = select(audit_events.c.number, audit_events.c.facts, audit_events.c.mark)
    rows = connection.execute(statement.order_by(audit_events.c.number.desc()).limit(1))
    return next((EventRow(row[0], row[1], row[2]) for row in rows), None)


def find_event(connection: Connection, number: int) -> EventRow | None:
    """The event with this number, or the next one that there is."""
    statement = select(audit_events.c.number, audit_events.c.facts, audit_events.c.mark).where(audit_events.c.number >= number)
    rows = connection.execute(statement.order_by(audit_events.c.number).limit(1))
    return next((EventRow(row[0], row[1], row[2]) for row in rows), None)


def list_events(
    connection: Connection,
    filters: Mapping[str, str],
    viewer_id: str,
    *,
    after: int | None,
    offset: int,
    size: int,
    first: int | None = None,
    end: int | None = None,
) -> tuple[list[EventRow], int]:
    """A page of events, newest first, or with `after` the oldest first of those behind it; and how many there are in all.

    Only those from number `first` on, and before number `end`. The filter `target` finds names that the viewer may know.
    """
    if not all(can_be_stored(text) for text in filters.values()):
        return [], 0
    wanted = [target_is(text, viewer_id) if name == "target" else audit_events.c[name] == text for name, text in filters.items()]
    wanted += [] if after is None else [audit_events.c.number > after]
    wanted += [] if first is None else [audit_events.c.number >= first]
    wanted += [] if end is None else [audit_events.c.number < end]
    total = connection.execute(select(func.count()).select_from(audit_events).where(*wanted)).scalar_one()
    order = audit_events.c.number.desc() if after is None else audit_events.c.number
    statement = select(audit_events.c.number, audit_events.c.facts, audit_events.c.mark).where(*wanted).order_by(order)
    return [EventRow(row[0], row[1], row[2]) for row in connection.execute(statement.offset(offset).limit(size))], total


def all_events(connection: Connection, upto: int, batch: int = 2_000) -> Iterator[tuple[EventRow, NewEvent]]:
    """All events up to a number, in order, each with the columns that it is found by; in batches, so that memory is bounded."""
    after = -(2**62)
    while True:
        rows = connection.execute(
            select(audit_events)
            .where(audit_events.c.number > after, audit_events.c.number <= upto)
            .order_by(audit_events.c.number)
            .limit(batch)
        ).all()
        for row in rows:
            yield EventRow(row.number, row.facts, row.mark), NewEvent(*row)
        if len(rows) < batch:
            return
        after = rows[-1].number


# Journals


class JournalRow(msgspec.Struct, frozen=True):
    """How many bytes of a journal are in the chain, the mark of the entry that ends there, and what became of the file."""

    name: str
    position: int
    mark: bytes
    state: int | None
    seal: bytes | None


_JOURNAL = select(*audit_journals.c)
_FIND_JOURNAL = Prepared(_JOURNAL.where(audit_journals.c.name == bindparam("journal")))
_MOVE_JOURNAL = Prepared(
    update(audit_journals)
    .where(audit_journals.c.name == bindparam("journal"))
    .values(position=bindparam("upto"), mark=bindparam("its_mark"), state=bindparam("its_state"), seal=bindparam("its_seal"))
)


def find_journal(connection: Connection, name: str) -> JournalRow | None:
    """Returns what is noted of a journal."""
    return next((JournalRow(*row) for row in _FIND_JOURNAL.all(connection, {"journal": name})), None)


def list_journals(connection: Connection) -> list[JournalRow]:
    """Returns all journals that were ever noted."""
    return [JournalRow(*row) for row in connection.execute(_JOURNAL)]


def add_journal(connection: Connection, row: JournalRow) -> None:
    """Notes a journal."""
    connection.execute(insert(audit_journals).values(**msgspec.structs.asdict(row)))


def move_journal(connection: Connection, row: JournalRow) -> None:
    """Overwrites what is noted of a journal."""
    parameters = {"upto": row.position, "its_mark": row.mark, "its_state": row.state, "its_seal": row.seal}
    _MOVE_JOURNAL.run(connection, [{"journal": row.name, **parameters}])


def find_facts_with(connection: Connection, text: bytes) -> Iterator[bytes]:
    """Yields the facts of events that hold the text, newest first. Reads the whole table."""
    rows = connection.execute(select(audit_events.c.facts).order_by(audit_events.c.number.desc()))
    yield from (bytes(row[0]) for row in rows if text in bytes(row[0]))
