"""Journals beside an SQLite file: what is on record there gets into the chain once, and what was done to them is on record."""

from __future__ import annotations

import contextlib
import hmac
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from strongroom.audit import journal as files
from strongroom.audit.anchor import Anchor, load_journal_mark
from strongroom.audit.journal import Journal, Position, Read, start_of
from strongroom.crypto import marks
from strongroom.db.engine import Database
from strongroom.errors import Unavailable
from strongroom.metadata import audit as index
from strongroom.metadata.audit import JournalRow
from strongroom.service.audit_head import COLLECT, UNFINISHED, trouble
from strongroom.service.facts import Facts, decode_facts

if TYPE_CHECKING:
    from sqlalchemy import Connection

COLLECTED = 128
"""So many events are moved from a journal to the chain at once: others wait meanwhile, a millisecond or two."""

OPEN, DONE, GONE, MISSING, MARKED = 0, 1, 2, 3, 4
"""What became of a journal: it may grow; all is in the chain and the file is being removed; it is removed; it was taken away.

A marked one may grow, and a file outside the database holds how far its writer got.
"""

_LIVE = (OPEN, MARKED)

Append = Callable[["Connection", Sequence[Facts], Sequence[bytes]], None]
"""Adds events to the chain: the facts, and the same as canonical bytes."""

_ENTRY = re.compile(rb'"entry":"[0-9a-f]+/([0-9]{1,18})"}$')


def seal_of(key: bytes, row: JournalRow) -> bytes:
    """The mark of what is noted of a journal."""
    numbers = row.position.to_bytes(8, "big", signed=True) + (row.state or 0).to_bytes(1, "big")
    return marks.mark(key, b"noted\0" + numbers + row.mark + row.name.encode())


def noted_row(key: bytes, name: str, at: Position, state: int) -> JournalRow:
    """What is noted of a journal, under its seal."""
    row = JournalRow(name, at.offset, at.mark, state, None)
    return msgspec.structs.replace(row, seal=seal_of(key, row))


def seal_former_rows(connection: Connection, key: bytes) -> None:
    """Seals what former versions noted, once, at the upgrade."""
    for row in index.list_journals(connection):
        if row.seal is None:
            at = Position(max(row.position, 0), bytes(row.mark))
            index.move_journal(connection, noted_row(key, row.name, at, OPEN if row.position >= 0 else DONE))


class Journals:
    """The journals of all processes that share a database. Thread-safe."""

    def __init__(self, database: Database, key: bytes, folder: Path, anchor: Anchor, append: Append) -> None:
        self._database, self._key, self.folder, self._anchor, self._append = database, key, folder, anchor, append

    def register(self, journal: Journal) -> None:
        """Notes a new journal: from now on its absence is noticed. `Unavailable`."""
        state = OPEN if journal.watermark is None else MARKED
        with self._database.write() as connection:
            index.add_journal(connection, noted_row(self._key, journal.path.name, start_of(journal.path), state))

    def collect_in(self, connection: Connection, source: Path | Journal) -> tuple[int, bool]:
        """Moves up to `COLLECTED` events of a journal, or a few more, to the chain; returns how many.

        Also whether something is wrong. Events of this process's own journal are taken from memory. Those of another journal are not
        touched while something is wrong with what is noted of it: its writer, or `finish`, decides then.
        """
        own, path = (source, source.path) if isinstance(source, Journal) else (None, source)
        row = self._genuine(index.find_journal(connection, path.name))
        if own is not None:
            found = own.after(None if row is None else Position(row.position, row.mark), COLLECTED)
            own.damaged = own.damaged or row is None or row.state not in _LIVE
            state = OPEN if row is None or row.state is None else row.state
        elif row is None or row.state not in _LIVE:
            return 0, True
        else:
            try:
                found = files.read(path, self._key, Position(row.position, row.mark), COLLECTED)
            except FileNotFoundError:
                return 0, False
            except OSError as error:
                raise _unreadable(error) from None
            state = row.state
        self._move(connection, path.name, found, state)
        return len(found.facts), found.broken

    def _move(self, connection: Connection, name: str, found: Read, state: int, skip: int = 0) -> None:
        facts = [item for item in found.facts if number_of(item) > skip] if skip else found.facts
        if facts:
            self._append(connection, [decode_facts(item) for item in facts], facts)
        if found.facts:
            self._note(connection, noted_row(self._key, name, found.end, state))

    def _note(self, connection: Connection, row: JournalRow) -> None:
        if index.find_journal(connection, row.name) is None:
            index.add_journal(connection, row)
        else:
            index.move_journal(connection, row)

    def _genuine(self, row: JournalRow | None) -> JournalRow | None:
        """The row, unless it was changed."""
        if row is None or row.seal is None or row.state not in (*_LIVE, DONE, GONE, MISSING) or not 0 <= row.position < 2**62:
            return None
        return row if hmac.compare_digest(bytes(row.seal), seal_of(self._key, row)) else None

    def find_row(self, name: str) -> tuple[JournalRow | None, bool]:
        """What is noted of a journal, and whether something is noted that was changed."""
        with self._database.read() as connection:
            row = index.find_journal(connection, name)
        genuine = self._genuine(row)
        return genuine, row is not None and genuine is None

    def collect_all(self) -> None:
        """Moves all events to the chain, removes the journals of processes that ended, and records what is wrong."""
        found = files.journals(self.folder)
        for path in found:
            while self._has_more(path):
                with self._database.together() as connection:
                    if self.collect_in(connection, path)[0] < COLLECTED:
                        break
            self.finish(path)
        with self._database.read() as connection:
            rows = index.list_journals(connection)
        present = {path.name for path in found}
        for row in rows:
            if row.state not in (GONE, MISSING) and row.name not in present:
                self._miss(row.name)

    def _miss(self, name: str) -> None:
        with self._database.together() as connection:
            row = index.find_journal(connection, name)
            if row is None or row.state in (GONE, MISSING) or (self.folder / name).exists():
                return
            genuine = self._genuine(row)
            if genuine is None or genuine.state in _LIVE:
                self._record(connection, trouble(COLLECT, name, "missing"))
            state = GONE if genuine is not None and genuine.state == DONE else MISSING
            at = start_of(Path(name)) if genuine is None else Position(genuine.position, genuine.mark)
            index.move_journal(connection, noted_row(self._key, name, at, state))

    def _has_more(self, path: Path) -> bool:
        """Whether a journal has events that are not in the chain. Asks without a turn to write."""
        row, _ = self.find_row(path.name)
        if row is None or row.state not in _LIVE:
            return False
        try:
            return bool(files.read(path, self._key, Position(row.position, row.mark), 1).facts)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                return False
            raise _unreadable(error) from None

    def finish(self, source: Path | Journal, *, keep: bool = False) -> tuple[int, Path | None]:
        """Moves all events of a journal to the chain and removes its file, if its process ended or it is our own; else does nothing.

        A journal that was changed, cut off, put back, or is not registered is on record then. Returns how many events were moved,
        and with `keep` the spare file that the journal has become.
        """
        if isinstance(source, Journal):
            return self._finish(source.path, source, keep=keep)
        with files.taken_over(source) as ours:
            return self._finish(source, None, keep=keep) if ours else (0, None)

    def _finish(self, path: Path, own: Journal | None, *, keep: bool) -> tuple[int, Path | None]:
        outcome, skip, told = None, 0, False
        row, forged = self.find_row(path.name)
        at = start_of(path) if row is None else Position(row.position, row.mark)
        if row is None:
            outcome = "broken" if forged else "unregistered"
        elif row.state in (GONE, MISSING):
            outcome = "replayed"
        if own is None and row is None:
            skip = self._last_number(path.name)
        marked = load_journal_mark(self._anchor.journal_mark(path.name))
        unmarked = row is not None and row.state == MARKED and marked is None
        outcome = self._examine(path, own, at, marked, outcome) or ("broken" if unmarked else None)
        moved, count = 0, COLLECTED
        while count >= COLLECTED:
            with self._database.together() as connection:
                if own is not None:
                    count, _ = self.collect_in(connection, own)
                elif row is not None and row.state == DONE:
                    count = 0
                else:
                    count, at = self._collect_left(connection, path, at, skip)
                moved += count
                if not told and (outcome is not None or (own is not None and own.damaged)):
                    self._record(connection, trouble(COLLECT, path.name, outcome or "broken"))
                    told = True
                if count < COLLECTED:
                    end = at if own is None else own.end
                    self._note(connection, noted_row(self._key, path.name, end, DONE))
                    at = end
        spare = None
        with contextlib.suppress(FileNotFoundError):
            if keep and outcome is None:
                spare = files.set_aside(path)
            else:
                files.remove(path)
        if own is not None:
            own.close()
        with contextlib.suppress(OSError):
            self._anchor.journal_mark(path.name).unlink(missing_ok=True)
        with self._database.write() as connection:
            index.move_journal(connection, noted_row(self._key, path.name, at, GONE))
        return moved, spare

    def _examine(self, path: Path, own: Journal | None, at: Position, marked: Position | None, outcome: str | None) -> str | None:
        """What is wrong with the file of a journal that nobody writes to any more."""
        try:
            found, end, torn = files.positions(path, self._key)
        except OSError as error:
            if own is None:
                raise _unreadable(error) from None
            return outcome or "broken"
        if outcome == "unregistered" and end.offset == 0 and not torn:
            return None  # its process was killed while it made the journal
        if own is not None:
            return outcome or (None if end == own.end else "broken")
        whole = all(each is None or found.get(each.offset) == each.mark for each in (at, marked))
        if whole and torn and marked is not None:
            return outcome or UNFINISHED
        return outcome or ("broken" if torn or not whole else None)

    def _collect_left(self, connection: Connection, path: Path, at: Position, skip: int) -> tuple[int, Position]:
        """As `collect_in`, for a journal that was taken over, from a position that the caller trusts."""
        row = self._genuine(index.find_journal(connection, path.name))
        if row is not None:
            at = Position(row.position, row.mark)
        try:
            found = files.read(path, self._key, at, COLLECTED)
        except OSError as error:
            raise _unreadable(error) from None
        state = OPEN if row is None or row.state is None else row.state
        self._move(connection, path.name, found, state, skip)
        return len(found.facts), found.end

    def _last_number(self, name: str) -> int:
        """The number of the journal's last event that is in the chain. Reads all of the chain; needed after tampering only."""
        with self._database.snapshot() as connection:
            text = b'"entry":"%b/' % Path(name).stem.encode()
            return max(map(number_of, index.find_facts_with(connection, text)), default=0)

    def _record(self, connection: Connection, facts: Facts) -> None:
        self._append(connection, [facts], [msgspec.json.encode(facts, order="deterministic")])

    def problems(self) -> list[str]:
        """What is wrong with journals that are being written, as far as another process can tell."""
        found = []
        for path in files.journals(self.folder):
            row, forged = self.find_row(path.name)
            if row is None:
                found.append(f"the journal {path.name} {'is noted wrongly' if forged else 'is not registered'}")
                continue
            try:
                positions, _, _ = files.positions(path, self._key)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _unreadable(error) from None
            if positions.get(row.position) != row.mark and self.find_row(path.name)[0] == row and path.exists():
                found.append(f"the journal {path.name} was changed")
        return found


def number_of(facts: bytes) -> int:
    """The number of an event within its journal; 0 if it has none."""
    found = _ENTRY.search(facts)
    return 0 if found is None else int(found[1])


def _unreadable(error: OSError) -> Unavailable:
    return Unavailable(f"a journal of the audit trail cannot be read: {error.strerror}", hint="look at the disk")
