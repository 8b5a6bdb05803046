"""Journals: events that are on record, and not yet in the chain.

Each process that answers many requests has a file of its own, to which it adds the events of several requests at once: a length, a
mark, and the events' canonical facts, a line each. The mark is over the entry and the mark before it, so an entry that was changed,
or whose writing broke off, shows. Behind the last entry is a length of zero. Whoever has the database moves entries to the chain.

A file belongs to the process that holds the lock on it (flock, which ends with the process); nobody else writes to it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from strongroom.crypto import marks

if sys.platform != "win32":
    import fcntl

SUPPORTED = sys.platform != "win32"
"""Whether there are the locks that journals need."""

JOURNAL_BYTES = 8 << 20
"""How large a file gets. It is made of zeros first: to sync what is written over them, a file system has nothing else to write."""

_SUFFIX = ".journal"
_MAKING_SECONDS = 3_600
_LENGTH_BYTES = 4
_HEAD_BYTES = _LENGTH_BYTES + 32
_END = bytes(_LENGTH_BYTES)
"""What stands behind the last entry."""


class Position(NamedTuple):
    """A place in a journal: how many bytes lie before it, and the mark of the entry that ends there."""

    offset: int
    mark: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Events behind a position as canonical facts, and where the next ones begin.

    `broken` is whether something follows that is no entry: one that is being written, was not written to its end, or was changed.
    """

    facts: list[bytes]
    end: Position
    broken: bool


class Watermark(Protocol):
    """A note of how far a journal got, outside of it."""

    def move(self, position: Position, /) -> None:
        """Notes that all up to this position is durable. `OSError`."""

    def close(self) -> None:
        """Releases it."""


class _Written(NamedTuple):
    """An entry as it was written, and the position behind it."""

    entry: bytes
    end: Position


class Journal:
    """The file of this process. Not thread-safe, except that one other thread may collect.

    After an error of the disk it takes no more.

    It remembers what it wrote until that is in the chain: events get there from memory, whatever happens to the file meanwhile, and
    a file that does not hold them any more is noticed.
    """

    def __init__(self, folder: Path, key: bytes, spare: Path | None = None) -> None:
        """Makes a new file, or takes one that was set aside. `OSError`."""
        _make_folder(folder)
        _clear(folder)
        self.path = folder / f"{os.urandom(8).hex()}{_SUFFIX}"
        self._key, self._mark, self.size = key, start_of(self.path).mark, 0
        self._written: deque[_Written] = deque()
        self._collected, self._events = start_of(self.path), 0
        self.watermark: Watermark | None = None
        """Where to note how far this got."""
        self.damaged = False
        """Whether something else than this process changed the file, or what the database knows of it."""
        hidden = folder / f".{self.path.name}"  # until it is ours: nobody may take it for one that was left behind
        used = spare is not None and _was_renamed(spare, hidden)
        self._file = os.open(hidden, os.O_RDWR | os.O_CLOEXEC | (0 if used else os.O_CREAT | os.O_EXCL), 0o600)
        try:
            lock_file(self._file)
            if used:
                os.pwrite(self._file, _END, 0)
            else:
                _fill(self._file)
            os.fsync(self._file)
            hidden.rename(self.path)
            _sync_folder(folder)
            self._found = os.fstat(self._file)
        except BaseException:
            os.close(self._file)
            with contextlib.suppress(OSError):
                hidden.unlink()
            raise

    @property
    def is_half_full(self) -> bool:
        """Whether it is time to make another one."""
        return self.size >= JOURNAL_BYTES // 2

    @property
    def is_full(self) -> bool:
        """Whether it is time to go on in another one."""
        return self.size >= JOURNAL_BYTES

    @property
    def file(self) -> int:
        """The file's descriptor, for whoever syncs it."""
        return self._file

    def write(self, facts: Sequence[bytes]) -> None:
        """Adds the events as one entry: all of them, or after a crash perhaps none, until they are synced.

        `OSError`; `FileNotFoundError` when the file was removed or replaced, so that nobody would find them there.
        """
        if not os.path.samestat(self.path.stat(), self._found):
            raise FileNotFoundError(errno.ENOENT, "the journal was replaced")
        body = b"\n".join(facts)
        mark = _mark(self._key, self._mark, body)
        entry = b"".join((len(body).to_bytes(_LENGTH_BYTES, "big"), mark, body, _END))
        self._put(entry)
        self.size, self._mark = self.size + len(entry) - len(_END), mark
        self._written.append(_Written(entry[: -len(_END)], Position(self.size, mark)))

    def numbered(self, facts: Sequence[bytes]) -> list[bytes]:
        """The facts with the journal's name and a number that counts its events: so a gap or a repetition shows in the chain."""
        name, first = self.path.name[: -len(_SUFFIX)].encode(), self._events + 1
        self._events += len(facts)
        return [b'%b,"entry":"%b/%d"}' % (item[:-1], name, number) for number, item in enumerate(facts, first)]

    @property
    def end(self) -> Position:
        """The position behind the last entry."""
        return Position(self.size, self._mark)

    def after(self, noted: Position | None, limit: int) -> Read:
        """The events behind a position, from memory: at least `limit`, if there are so many, and up to the end of an entry.

        What lies before it is forgotten: it is in the chain. If the position is unknown, or none of this journal's, the events go on
        behind the former position, and the journal is damaged; likewise if the file does not hold them.
        """
        if noted != self._collected:
            while self._written and noted is not None and self._written[0].end.offset <= noted.offset:
                self._collected = self._written.popleft().end
            self.damaged = self.damaged or noted != self._collected
        facts: list[bytes] = []
        start = end = self._collected
        entries = []
        for written in list(islice(self._written, limit)):
            if len(facts) >= limit:
                break
            facts += written.entry[_HEAD_BYTES:].split(b"\n")
            entries.append(written.entry)
            end = written.end
        if entries and not self.damaged:
            self.damaged = not self._holds(start.offset, b"".join(entries))
        return Read(facts, end, broken=self.damaged)

    def _holds(self, offset: int, data: bytes) -> bool:
        """Whether the file is still in its place, and holds this."""
        try:
            there, ours = self.path.stat(), os.fstat(self._file)
            return there.st_ino == ours.st_ino and there.st_dev == ours.st_dev and os.pread(self._file, len(data), offset) == data
        except OSError:
            return False

    def touch(self) -> None:
        """Writes the end of the journal again, where it is: fails if an entry could not be written either. `OSError`."""
        self._put(_END)

    def sync(self) -> None:
        """Returns when all that was written is durable. `OSError`."""
        sync_data(self._file)

    def mark_durable(self, end: Position) -> None:
        """Notes outside the journal that all up to this position is durable. If that cannot be noted, it stays as it was."""
        if self.watermark is not None:
            with contextlib.suppress(OSError):
                self.watermark.move(end)

    def _put(self, data: bytes) -> None:
        if os.pwrite(self._file, data, self.size) != len(data):
            raise OSError(errno.ENOSPC, "the disk took a part only")

    def close(self) -> None:
        """Leaves the file to whoever collects what is in it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self.watermark is not None:
            self.watermark.close()
            self.watermark = None


def start_of(path: Path) -> Position:
    """Where the journal begins."""
    return Position(0, hashlib.sha256(path.name.encode()).digest())


def journals(folder: Path) -> list[Path]:
    """All journals, of processes that run and of those that ended."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX and not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(path: Path, key: bytes, position: Position, limit: int) -> Read:
    """The events behind the position: at least `limit`, if there are so many, and up to the end of an entry. `FileNotFoundError`."""
    facts: list[bytes] = []
    offset, mark = position.offset, position.mark
    with path.open("rb") as file:
        file.seek(offset)
        while len(facts) < limit:
            head = file.read(_HEAD_BYTES)
            length = int.from_bytes(head[:_LENGTH_BYTES], "big")
            body = file.read(min(length, 2 * JOURNAL_BYTES)) if length else b""
            if not body or not hmac.compare_digest(head[_LENGTH_BYTES:], _mark(key, mark, body)):
                return Read(facts, Position(offset, mark), broken=length > 0)
            facts += body.split(b"\n")
            offset, mark = offset + len(head) + len(body), head[_LENGTH_BYTES:]
    return Read(facts, Position(offset, mark), broken=False)


def positions(path: Path, key: bytes) -> tuple[dict[int, bytes], Position, bool]:
    """All positions of a journal by their offsets, the last one, and whether something follows that is no entry. `OSError`."""
    at = start_of(path)
    found = {at.offset: at.mark}
    while True:
        piece = read(path, key, at, 1)
        if not piece.facts:
            return found, at, piece.broken
        at = piece.end
        found[at.offset] = at.mark


@contextlib.contextmanager
def taken_over(path: Path) -> Iterator[bool]:
    """Whether the journal was left behind; within the block nobody else takes it over. Ended processes have left theirs behind."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            lock_file(file)
        except BlockingIOError:
            yield False
        else:
            yield path.exists()
    finally:
        os.close(file)


def remove(path: Path) -> None:
    """Removes a journal that was taken over, durably."""
    path.unlink()
    _sync_folder(path.parent)


def set_aside(path: Path) -> Path:
    """The same, but its place on the disk is kept for another one: to give it back may hold up all syncs for a tenth of a second."""
    spare = path.with_name(f".{path.name}")
    path.rename(spare)
    _sync_folder(path.parent)
    return spare


def _was_renamed(spare: Path, hidden: Path) -> bool:
    try:
        spare.rename(hidden)
    except FileNotFoundError:
        return False
    return True


def _mark(key: bytes, before: bytes, body: bytes) -> bytes:
    return marks.mark(key, b"journal\0" + before + body)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return
    _sync_folder(folder.parent)


def _clear(folder: Path) -> None:
    """Removes what processes left behind that ended while they made a journal."""
    for path in folder.glob(f".*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _MAKING_SECONDS:
                path.unlink()


def lock_file(file: int) -> None:
    """Locks a file for this process. `BlockingIOError` if another one holds the lock."""
    assert sys.platform != "win32"
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _fill(file: int) -> None:
    """Writes zeros. A place that is only reserved would not do: each first write there changes what the file system keeps of it."""
    zeros = bytes(JOURNAL_BYTES // 8)
    for number in range(8):
        if os.pwrite(file, zeros, number * len(zeros)) != len(zeros):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_data(file: int) -> None:
    """Returns when all that was written to the file of this descriptor is durable. `OSError`."""
    if sys.platform == "darwin":  # where fsync leaves data in the disk's own memory
        fcntl.fcntl(file, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(file)


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
