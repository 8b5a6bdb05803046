"""The audit trail in the index: events, and the head of their chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from strongroom.db.query import Prepared, PreparedInsert
from strongroom.db.tables import audit_events, audit_head, audit_journals
from strongroom.metadata.conditions import can_be_stored

_HEAD = 1
_FIND_HEAD = select(audit_head.c.number, audit_head.c.mark, audit_head.c.head).where(audit_head.c.id == _HEAD)
_LOCK_HEAD = Prepared(_FIND_HEAD.with_for_update())
_LOCK_FREE_HEAD = Prepared(_FIND_HEAD.with_for_update(skip_locked=True))
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


def find_head(connection: Connection) -> tuple[int, bytes, bytes] | None:
    """The last event's number and mark, and the mark of both; None before the first event."""
    return next(((row[0], row[1], row[2]) for row in connection.execute(_FIND_HEAD)), None)


def lock_head(connection: Connection, *, patient: bool = True) -> tuple[int, bytes, bytes] | None:
    """Returns the head locked: until the transaction ends, no other process adds an event. None before the first event.

    Unless `patient`, also None on a database server while another process holds the lock.
    """
    rows = (_LOCK_HEAD if patient else _LOCK_FREE_HEAD).all(connection, {})
    return next(((row[0], row[1], row[2]) for row in rows), None)


def begin(connection: Connection, mark: bytes, head: bytes) -> None:
    """The head of an empty chain."""
    connection.execute(insert(audit_head).values(id=_HEAD, number=0, mark=mark, head=head))


def append(connection: Connection, events: Sequence[NewEvent], head: bytes) -> None:
    """Adds events behind the head, which the caller has locked."""
    _INSERT.run_rows(connection, [msgspec.structs.astuple(event) for event in events])
    last = events[-1]
    _MOVE_HEAD.run(connection, [{"last": last.number, "its_mark": last.mark, "both": head}])


def find_event(connection: Connection, number: int) -> EventRow | None:
    """The event with this number, or the next one that there is."""
    statement = select(audit_events.c.number, audit_events.c.facts, audit_events.c.mark).where(audit_events.c.number >= number)
    rows = connection.execute(statement.order_by(audit_events.c.number).limit(1))
    return next((EventRow(row[0], row[1], row[2]) for row in rows), None)


def list_events(
    connection: Connection,
    filters: Mapping[str, str],
    *,
    after: int | None,
    offset: int,
    size: int,
    first: int | None = None,
    end: int | None = None,
) -> tuple[list[EventRow], int]:
    """A page of events, newest first, or with `after` the oldest first of those behind it; and how many there are in all.

    Only those from number `first` on, and before number `end`.
    """
    if not all(can_be_stored(text) for text in filters.values()):
        return [], 0
    wanted = [audit_events.c[name] == text for name, text in filters.items()]
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

_FIND_JOURNAL = Prepared(
    select(audit_journals.c.position, audit_journals.c.mark).where(audit_journals.c.name == bindparam("journal"))
)
_MOVE_JOURNAL = Prepared(
    update(audit_journals)
    .where(audit_journals.c.name == bindparam("journal"))
    .values(position=bindparam("upto"), mark=bindparam("its_mark"))
)


def find_journal(connection: Connection, name: str) -> tuple[int, bytes] | None:
    """How many bytes of the journal are in the chain, and the mark of the entry that ends there."""
    return next(((row[0], row[1]) for row in _FIND_JOURNAL.all(connection, {"journal": name})), None)


def journal_names(connection: Connection) -> set[str]:
    """The names of all journals that are noted."""
    return set(connection.execute(select(audit_journals.c.name)).scalars())


def add_journal(connection: Connection, name: str, position: int, mark: bytes) -> None:
    """Notes a journal, and how much of it is in the chain."""
    connection.execute(insert(audit_journals).values(name=name, position=position, mark=mark))


def move_journal(connection: Connection, name: str, position: int, mark: bytes) -> None:
    """Notes that more of the journal is in the chain."""
    _MOVE_JOURNAL.run(connection, [{"journal": name, "upto": position, "its_mark": mark}])


def forget_journal(connection: Connection, name: str) -> None:
    """Drops the note, when there is no such file any more."""
    connection.execute(delete(audit_journals).where(audit_journals.c.name == name))
