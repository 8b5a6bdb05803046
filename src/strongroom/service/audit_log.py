"""Writing the audit trail.

On SQLite, which has one writer at a time anyway, events go straight to the chain in the transaction of the change that they tell of.
On a database server, taking the head of the chain would make all writers wait for each other, and for a process that stopped while it
held the head. There, events go into an outbox in the change's own transaction, and processes move them on to the chain shortly after.
Decision 0040 tells more.
"""

from __future__ import annotations

import contextlib
import hmac
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from strongroom import forking
from strongroom.audit.anchor import Anchor, JournalMark, OutboxNote
from strongroom.audit.chain import audit_key, canonical, extend, head_mark
from strongroom.audit.journal import SUPPORTED, Journal
from strongroom.crypto import marks
from strongroom.db.engine import ConstraintViolated, Deadlocked
from strongroom.db.failures import translated
from strongroom.db.identifiers import new_id
from strongroom.errors import StrongroomError, Unavailable
from strongroom.metadata import audit as index
from strongroom.metadata import outbox
from strongroom.metadata.audit import NewEvent
from strongroom.service.audit_head import ANCHOR, COLLECT, Head, trouble
from strongroom.service.audit_journals import COLLECTED, Journals
from strongroom.service.deployment import Deployment
from strongroom.service.facts import Facts, decode_facts

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["COLLECTED", "AuditLog", "new_event"]

CHAINED = 500
"""So many events are moved from the outbox to the chain in one transaction at most."""

MOST_REMEMBERED = 200_000
"""So many events of the outbox a process remembers; the oldest are forgotten first."""


class AuditLog:
    """Records events. Thread-safe; any number of processes may share a database.

    Where the database is a file, a process that answers many requests may put their events on record in a journal beside it, which
    costs less. Readers of the trail, and servers that start, collect what is in the journals.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._database, self._key = deployment.database, audit_key(deployment.digest_key)
        self._chains_at_once = self._database.has_one_writer
        self.unchained = forking.renewed(self, "unchained", threading.Event)
        """Set when this process has put events into the outbox."""
        outside = deployment.settings.audit_anchor or deployment.settings.folder
        anchor = Anchor(outside, deployment.id, self._key)
        self.head = Head(self._key, anchor, of_file=self._chains_at_once)
        self._unmoved: dict[str, None] = forking.renewed(self, "_unmoved", dict)
        """The events in the outbox that this process wrote, until they are in the chain."""
        self._note = OutboxNote(outside, deployment.id) if SUPPORTED and not self._chains_at_once else None
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._wrote = False
        beside = self._chains_at_once and SUPPORTED
        self._folder = Path(f"{self._database.url.database}-audit") if beside else None
        self._journals: Journals | None = None
        if self._folder is not None:
            self._journals = Journals(self._database, self._key, self._folder, anchor, self._append)

    def record(self, facts: Sequence[Facts]) -> None:
        """Records the events durably, all of them or none. `Unavailable` when that cannot be done."""
        if not facts:
            return
        if not self._chains_at_once:
            with self._database.write_once() as connection:
                self.add(connection, facts)
            return
        with self._database.write() as connection:
            self.add(connection, facts)

    def add(self, connection: Connection, facts: Sequence[Facts], *, on_trial: bool = False) -> None:
        """Records the events in the caller's transaction, in one statement on a database server. `Unavailable` if that fails.

        With `on_trial`, the caller will undo it.
        """
        if self._chains_at_once:
            try:
                self._append(connection, facts, [canonical(item) for item in facts])
            except DBAPIError as error:
                if not isinstance(translated(error), ConstraintViolated):
                    raise
                raise Unavailable("the audit trail is damaged", hint="look at it with: strongroom audit verify") from None
        elif facts:
            rows = [(number, _with_entry(item, number)) for item in facts for number in (new_id(),)]
            outbox.insert(connection, [(number, item, self._outbox_mark(number, item)) for number, item in rows])
            if not on_trial:
                self._database.after_commit(lambda: self._remember([number for number, _ in rows]))

    def _append(self, connection: Connection, facts: Sequence[Facts], written: Sequence[bytes]) -> None:
        """Adds the events to the chain, behind an event that tells of damage if the head is not what it must be."""
        if facts:
            self._append_behind(connection, index.lock_head(connection), facts, written)

    def _append_behind(
        self, connection: Connection, row: index.HeadRow | None, facts: Sequence[Facts], written: Sequence[bytes]
    ) -> None:
        number, mark, troubles = self.head.place(connection, row)
        if troubles:
            facts, written = [*troubles, *facts], [*map(canonical, troubles), *written]
        if not facts:
            return
        entries = extend(self._key, number, mark, written)
        events = [new_event(entry.number, entry.facts, entry.mark, item) for entry, item in zip(entries, facts, strict=True)]
        last = events[-1]
        index.append(connection, events, head_mark(self._key, last.number, last.mark))
        self._wrote = True

    def chain(self, connection: Connection, facts: Sequence[Facts]) -> None:
        """Adds the events to the chain itself, on every database, in the caller's transaction. All others wait until it ends."""
        self._append(connection, facts, [canonical(item) for item in facts])

    # The head

    def keep_head(self, *, durable: bool = False) -> None:
        """Notes the newest event outside the database, and records damage to the head or to the anchor first. `Unavailable`.

        Two reads, unless something is wrong. A place that cannot be written is left alone: `verify` tells that there is no anchor.
        """
        with self._database.read() as connection:
            row = index.find_head(connection)
        if row is None or not self.head.is_genuine(*row):
            self._repair()
        else:
            lack = self.head.what_the_anchor_lacks(row[0])
            known = self.head.known()
            if lack is not None or (
                known is not None and (row[0] < known.number or (row[0] == known.number and row[1] != known.mark))
            ):
                self._repair(lack)
        with self._database.read() as connection:
            row = index.find_head(connection)
        if row is not None and self.head.is_genuine(*row):
            self.head.saw(row[0], row[1])
        with contextlib.suppress(OSError):
            self.head.save(durable=durable)

    def adopt(self, deployment_id: str) -> None:
        """Notes the newest event for the deployment of this id, too, which this database has become."""
        self.keep_head(durable=True)
        known = self.head.known()
        if known is not None:
            with contextlib.suppress(OSError):
                Anchor(self.head.anchor.path.parent, deployment_id, self._key).save(known, durable=True)

    def _repair(self, lack: str | None = None) -> None:
        """Records what is wrong with the head, and with the anchor."""
        facts = [] if lack is None else [trouble(ANCHOR, self.head.anchor.path.name, lack)]
        with self._database.write() as connection:
            self._append_behind(connection, index.lock_head(connection), facts, [canonical(item) for item in facts])

    def close(self) -> None:
        """Notes where the chain ends, if this process added to it. Nothing may be recorded afterwards."""
        with contextlib.suppress(StrongroomError):  # without a database, or with nothing left of the trail, `verify` reports it
            if self._unmoved:
                self.check_outbox()
            if self._wrote:
                self.keep_head(durable=True)
        with self._lock:
            if self._note is not None:
                with contextlib.suppress(OSError):
                    self._note.release(remove=not self._unmoved)

    # The outbox

    def move_from_outbox(self, *, patient: bool = True) -> int:
        """Moves the oldest events of the outbox on to the chain, in one transaction; returns how many.

        Each event is moved once, by one of the processes that try. Unless `patient`, 0 while another process is moving events. An
        event that was changed in the outbox is on record as broken, one that was moved before as replayed.
        """
        with self._database.read() as connection:
            if outbox.is_empty(connection):
                return 0
        for _ in range(5):
            try:
                with self._database.write() as connection:
                    head = index.lock_head(connection, patient=patient)
                    if head is None and index.find_head(connection) is not None:
                        return 0
                    rows = outbox.oldest(connection, CHAINED)
                    former = index.find_entries(connection, [row.id for row in rows])
                    intact = [row for row in rows if hmac.compare_digest(row.mark, self._outbox_mark(row.id, row.facts))]
                    moved = [row for row in intact if row.id not in former]
                    genuine = [row.facts for row in moved]
                    facts = [decode_facts(item) for item in genuine]
                    for outcome, count in (("broken", len(rows) - len(intact)), ("replayed", len(intact) - len(moved))):
                        if count:
                            facts.append(trouble(COLLECT, "outbox", outcome, f"{count} events"))
                            genuine.append(canonical(facts[-1]))
                    if facts:
                        self._append_behind(connection, head, facts, genuine)
                    outbox.delete_rows(connection, [row.id for row in rows])
            except (ConstraintViolated, Deadlocked):  # two processes made the head again at once
                continue
            else:
                self._forget([row.id for row in moved])
                return len(rows)
        raise Unavailable("the audit trail cannot be written", hint="try again")

    def settle(self) -> None:
        """Moves what waits in the outbox on to the chain, unless another process is doing so. Does nothing on SQLite."""
        if not self._chains_at_once:
            while self.move_from_outbox(patient=False) >= CHAINED:
                pass

    def check_outbox(self) -> None:
        """Records as missing what this process put into the outbox, and is neither there nor in the chain any more.

        Likewise for processes that were killed on this machine.
        """
        with self._lock:
            if self._note is not None:
                with contextlib.suppress(OSError):
                    self._unmoved.update(dict.fromkeys(self._note.adopt()))
            ids = list(self._unmoved)
        for first in range(0, len(ids), CHAINED):
            some = ids[first : first + CHAINED]
            with self._database.snapshot() as connection:
                waiting = outbox.find_ids(connection, some)
                moved = index.find_entries(connection, some)
            lost = [each for each in some if each not in waiting and each not in moved]
            if lost:
                self.record([trouble(COLLECT, "outbox", "missing", f"{len(lost)} events, the first {lost[0]}")])
            self._forget([*moved, *lost])

    def _remember(self, ids: Sequence[str]) -> None:
        with self._lock:
            self._unmoved.update(dict.fromkeys(ids))
            while len(self._unmoved) > MOST_REMEMBERED:
                del self._unmoved[next(iter(self._unmoved))]
            if self._note is not None:
                with contextlib.suppress(OSError):  # then only this process knows of them
                    self._note.add(ids)
        self.unchained.set()

    def _forget(self, ids: Sequence[str]) -> None:
        with self._lock:
            for each in ids:
                self._unmoved.pop(each, None)
            if self._note is not None:
                with contextlib.suppress(OSError):
                    self._note.keep(self._unmoved)

    def _outbox_mark(self, number: str, facts: bytes) -> bytes:
        return marks.mark(self._key, b"outbox\0" + number.encode() + facts)

    # Journals

    def new_journal(self, spare: Path | None = None) -> Journal | None:
        """A journal for this process, on the place of a spare one; None where the database is no file. `OSError`, `Unavailable`."""
        if self._folder is None:
            return None
        return self.register(Journal(self._folder, self._key, spare))

    def register(self, journal: Journal) -> Journal:
        """Notes a new journal, and makes the file that holds how far it gets. Closes it if that fails. `Unavailable`."""
        assert self._journals is not None
        with contextlib.suppress(OSError):  # then only the database knows of it
            journal.watermark = JournalMark(self.head.anchor.journal_mark(journal.path.name), journal.end)
        try:
            self._journals.register(journal)
        except BaseException:
            journal.close()
            raise
        return journal

    def collect(self, source: Path | Journal, *, patient: bool = True) -> int:
        """Moves up to `COLLECTED` events of a journal, or a few more, on to the chain, in one transaction; returns how many.

        Each is moved once. Unless `patient`, `OthersWrite` when another process or thread is writing.
        """
        with self._database.together(patient=patient) as connection:
            return self.collect_in(connection, source)[0]

    def collect_in(self, connection: Connection, source: Path | Journal) -> tuple[int, bool]:
        """Does so in the caller's transaction; see `Journals.collect_in`."""
        assert self._journals is not None
        return self._journals.collect_in(connection, source)

    def finish(self, source: Path | Journal, *, keep: bool = False) -> tuple[int, Path | None]:
        """Moves all events of a journal on to the chain and removes it, if its process ended or it is our own."""
        assert self._journals is not None
        return self._journals.finish(source, keep=keep)

    def collect_all(self) -> None:
        """Moves all events of the outbox and of all journals on to the chain, and removes the journals of processes that ended.

        What is missing, or was changed, is on record then.
        """
        if not self._chains_at_once:
            while self.move_from_outbox() >= CHAINED:
                pass
            self.check_outbox()
            self.settle()
        if self._journals is not None:
            self._journals.collect_all()

    def problems(self) -> list[str]:
        """What is wrong beside the chain, and not yet on record."""
        return [] if self._journals is None else self._journals.problems()


def _with_entry(facts: Facts, number: str) -> bytes:
    return canonical(facts)[:-1] + b',"entry":"%b"}' % number.encode()


def new_event(number: int, written: bytes, mark: bytes, facts: Facts) -> NewEvent:
    """The event with the columns that it is found by. The name of a private secret is no column: nobody finds it by guessing."""
    entry = facts.entry if facts.entry and "/" not in facts.entry else None
    return NewEvent(
        number,
        facts.actor,
        facts.operation,
        "" if facts.is_private else facts.target,
        facts.target_id,
        facts.outcome,
        written,
        mark,
        entry,
    )
