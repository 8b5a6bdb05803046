"""Writing the audit trail.

On SQLite, which has one writer at a time anyway, events go straight to the chain in the transaction of the change that they tell of.
On a database server, taking the head of the chain would make all writers wait for each other, and for a process that stopped while it
held the head. There, events go into an outbox in the change's own transaction, and processes move them on to the chain shortly after.
Decision 0040 tells more.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from strongroom import forking
from strongroom.audit.chain import START, audit_key, canonical, extend, head_mark
from strongroom.audit.journal import SUPPORTED, Journal, Position, journals, read, remove, set_aside, start_of, taken_over
from strongroom.auth.actor import Actor
from strongroom.crypto import marks
from strongroom.db.engine import ConstraintViolated, Deadlocked
from strongroom.db.failures import translated
from strongroom.db.identifiers import new_id
from strongroom.errors import Unavailable
from strongroom.metadata import audit as index
from strongroom.metadata import outbox
from strongroom.metadata.audit import NewEvent
from strongroom.service.deployment import Deployment
from strongroom.service.facts import Facts, decode_facts, facts_of_administration

if TYPE_CHECKING:
    from sqlalchemy import Connection

COLLECTED = 128
"""So many events are moved from a journal to the chain at once: others wait meanwhile, a millisecond or two."""

CHAINED = 500
"""So many events are moved from the outbox to the chain in one transaction at most."""

_DONE = -1
"""The position of a journal whose events are all in the chain, and which nobody writes any more."""


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
        beside = self._chains_at_once and SUPPORTED
        self._folder = Path(f"{self._database.url.database}-audit") if beside else None

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

    def add(self, connection: Connection, facts: Sequence[Facts]) -> None:
        """Records the events in the caller's transaction, in one statement on a database server. `Unavailable` if that fails."""
        if self._chains_at_once:
            try:
                self._append(connection, facts, [canonical(item) for item in facts])
            except DBAPIError as error:
                if not isinstance(translated(error), ConstraintViolated):
                    raise
                raise Unavailable("the audit trail is damaged", hint="look at it with: strongroom audit verify") from None
        elif facts:
            rows = [(new_id(), canonical(item)) for item in facts]
            outbox.insert(connection, [(number, item, self._outbox_mark(number, item)) for number, item in rows])
            self._database.after_commit(self.unchained.set)

    def _append(self, connection: Connection, facts: Sequence[Facts], written: Sequence[bytes]) -> None:
        """Adds the events to the chain. `ConstraintViolated` when another process begins the chain at the same time."""
        if not facts:
            return
        head = index.lock_head(connection)
        if head is None:
            self._begin_chain(connection)
            head = (0, START, b"")
        entries = extend(self._key, head[0], head[1], written)
        events = [new_event(entry.number, entry.facts, entry.mark, item) for entry, item in zip(entries, facts, strict=True)]
        last = events[-1]
        index.append(connection, events, head_mark(self._key, last.number, last.mark))

    def _begin_chain(self, connection: Connection) -> None:
        index.begin(connection, START, head_mark(self._key, 0, START))

    # The outbox

    def move_from_outbox(self, *, patient: bool = True) -> int:
        """Moves the oldest events of the outbox on to the chain, in one transaction; returns how many.

        Each event is moved once, by one of the processes that try. Unless `patient`, 0 while another process is moving events. An
        event that was changed in the outbox is on record as broken.
        """
        with self._database.read() as connection:
            if outbox.is_empty(connection):
                return 0
        for _ in range(5):
            try:
                with self._database.write() as connection:
                    if index.lock_head(connection, patient=patient) is None:
                        if index.find_head(connection) is not None:
                            return 0
                        self._begin_chain(connection)
                    rows = outbox.oldest(connection, CHAINED)
                    genuine = [row.facts for row in rows if hmac.compare_digest(row.mark, self._outbox_mark(row.id, row.facts))]
                    facts = [decode_facts(item) for item in genuine]
                    if len(genuine) < len(rows):
                        broken = _trouble("outbox", "broken")
                        facts, genuine = [*facts, broken], [*genuine, canonical(broken)]
                    self._append(connection, facts, genuine)
                    outbox.delete_rows(connection, [row.id for row in rows])
            except (ConstraintViolated, Deadlocked):  # two processes began the chain at once
                continue
            else:
                return len(rows)
        raise Unavailable("the audit trail cannot be written", hint="try again")

    def settle(self) -> None:
        """Moves what waits in the outbox on to the chain, unless another process is doing so. Does nothing on SQLite."""
        if not self._chains_at_once:
            while self.move_from_outbox(patient=False) >= CHAINED:
                pass

    def _outbox_mark(self, number: str, facts: bytes) -> bytes:
        return marks.mark(self._key, b"outbox\0" + number.encode() + facts)

    # Journals

    def new_journal(self, spare: Path | None = None) -> Journal | None:
        """A journal for this process, on the place of a spare one; None where the database is no file. `OSError`, `Unavailable`."""
        if self._folder is None:
            return None
        journal = Journal(self._folder, self._key, spare)
        start = start_of(journal.path)
        try:
            with self._database.write() as connection:  # from now on it is told when the file is gone
                index.add_journal(connection, journal.path.name, start.offset, start.mark)
        except BaseException:
            journal.close()
            raise
        return journal

    def collect(self, path: Path, *, patient: bool = True) -> int:
        """Moves up to `COLLECTED` events of a journal, or a few more, on to the chain, in one transaction; gives how many.

        Each is moved once, whoever does it. Unless `patient`, `OthersWrite` when somebody else is writing.
        """
        with self._database.together(patient=patient) as connection:
            return self.collect_in(connection, path)[0]

    def collect_in(self, connection: Connection, path: Path) -> tuple[int, bool]:
        """The same in the caller's transaction, and whether the events end at something that is no entry."""
        noted = index.find_journal(connection, path.name)
        if noted is not None and noted[0] < 0:
            return 0, False
        # Looked at within the transaction: the note of a journal is dropped after its file is gone.
        try:
            found = read(path, self._key, start_of(path) if noted is None else Position(*noted), COLLECTED)
        except FileNotFoundError:
            return 0, False
        except OSError as error:
            raise Unavailable(f"a journal of the audit trail cannot be read: {error.strerror}", hint="look at the disk") from None
        if found.facts:
            self._append(connection, [decode_facts(item) for item in found.facts], found.facts)
            if noted is None:
                index.add_journal(connection, path.name, found.end.offset, found.end.mark)
            else:
                index.move_journal(connection, path.name, found.end.offset, found.end.mark)
        return len(found.facts), found.broken

    def collect_all(self) -> None:
        """Moves all events of the outbox and of all journals on to the chain, and removes the journals of processes that ended.

        A journal that is missing or was changed is on record then.
        """
        if not self._chains_at_once:
            while self.move_from_outbox() >= CHAINED:
                pass
        if self._folder is None:
            return
        found = journals(self._folder)
        for path in found:
            while self._has_more(path) and self.collect(path) >= COLLECTED:
                pass
            self.finish(path)
        with self._database.read() as connection:
            noted = index.journal_names(connection)
        for name in noted - {path.name for path in found}:
            with self._database.together() as connection:
                known = index.find_journal(connection, name)
                if known is not None and not (self._folder / name).exists():
                    if known[0] >= 0:
                        self.add(connection, [_trouble(name, "missing")])
                    index.forget_journal(connection, name)

    def finish(self, path: Path, *, keep: bool = False) -> tuple[int, Path | None]:
        """Moves all events of a journal on, and removes it, if it was left behind; else does nothing.

        Gives how many, and with `keep` the spare file that it has become.
        """
        moved, spare = 0, None
        with taken_over(path) as ours:
            if ours:
                count, broken = COLLECTED, False
                while count >= COLLECTED:
                    with self._database.together() as connection:
                        count, broken = self.collect_in(connection, path)
                        moved += count
                        if count < COLLECTED:
                            if broken:  # nobody was told that it is on record, unless somebody changed it
                                self.add(connection, [_trouble(path.name, "broken")])
                            index.move_journal(connection, path.name, _DONE, b"")
                if keep:
                    spare = set_aside(path)
                else:
                    remove(path)
                with self._database.write() as connection:
                    index.forget_journal(connection, path.name)
        return moved, spare

    def _has_more(self, path: Path) -> bool:
        """Whether a journal has events that are not in the chain. Asks without a turn to write."""
        with self._database.read() as connection:
            noted = index.find_journal(connection, path.name)
        if noted is not None and noted[0] < 0:
            return False
        try:
            return bool(read(path, self._key, start_of(path) if noted is None else Position(*noted), 1).facts)
        except OSError:  # whoever collects looks again
            return True


def _trouble(journal: str, outcome: str) -> Facts:
    return facts_of_administration("audit.collect", Actor.anonymous(), journal, "", outcome)


def new_event(number: int, written: bytes, mark: bytes, facts: Facts) -> NewEvent:
    """Returns the row of an event; `mark` binds it to the event before it."""
    return NewEvent(number, facts.actor, facts.operation, facts.target, facts.target_id, facts.outcome, written, mark)
