"""What is known of the trail outside its database: small files beside the encryption key, or in a folder of the operator's choice.

The anchor holds the number and mark of an event that was the last one a moment ago. A trail without that event was cut off, or
replaced by an older copy. For each journal a file holds how far its writer got: what is shorter after a crash was cut off.

Files are overwritten in place and not synced, so that it costs a few microseconds: after a power cut they may be older than the
trail, which is no contradiction. They are shorter than a disk's sector.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from strongroom.audit.journal import Position, lock_file
from strongroom.crypto import marks

_NUMBER_BYTES = 8
_BYTES = _NUMBER_BYTES + 2 * marks.MARK_BYTES
_MOST_BYTES = 1 << 20
_MARK_BYTES = _NUMBER_BYTES + marks.MARK_BYTES


@dataclass(frozen=True, slots=True)
class Known:
    """An event that is part of the trail."""

    number: int
    mark: bytes


class Damaged(Exception):
    """The anchor is there and was not written by this deployment."""


class Anchor:
    """The files of one deployment in a folder. Any number of processes may share them; a file is as new as the last write to it."""

    def __init__(self, folder: Path, deployment_id: str, key: bytes) -> None:
        self._folder, self._key, self._id = folder, key, deployment_id
        self.path = folder / f"audit-{deployment_id}.anchor"

    def load(self) -> Known | None:
        """Returns the event; None without a file. `Damaged`, `OSError`."""
        for _ in range(3):  # another process may be overwriting it
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                return None
            body, mark = data[: -marks.MARK_BYTES], data[-marks.MARK_BYTES :]
            if len(data) == _BYTES and hmac.compare_digest(mark, self._mark(body)):
                return Known(int.from_bytes(body[:_NUMBER_BYTES], "big"), body[_NUMBER_BYTES:])
        raise Damaged

    def save(self, known: Known, *, durable: bool = False) -> None:
        """Overwrites the file. Only if `durable` it survives a power cut from now on. `OSError`."""
        body = known.number.to_bytes(_NUMBER_BYTES, "big") + known.mark
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(mode=0o700)
        _overwrite(self.path, body + self._mark(body), durable=durable)

    def journal_mark(self, name: str) -> Path:
        """Returns the file that holds how far the writer of this journal got."""
        return self._folder / f"audit-{self._id}-{name}.mark"

    def _mark(self, body: bytes) -> bytes:
        return marks.mark(self._key, b"anchor\0" + self._id.encode() + body)


class JournalMark:
    """How far the writer of a journal got, for the process that writes it."""

    def __init__(self, path: Path, start: Position) -> None:
        """Makes the file, for a journal that begins there. `OSError`."""
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.move(start)

    def move(self, position: Position) -> None:
        """Overwrites the file: all entries up to this position are durable. `OSError`."""
        os.pwrite(self._file, position.offset.to_bytes(_NUMBER_BYTES, "big") + position.mark, 0)

    def close(self) -> None:
        """Leaves the file to the process that collects the journal."""
        os.close(self._file)


def load_journal_mark(path: Path) -> Position | None:
    """Returns how far the writer of a journal got; None if that is not known."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return Position(int.from_bytes(data[:_NUMBER_BYTES], "big"), data[_NUMBER_BYTES:]) if len(data) == _MARK_BYTES else None


class OutboxNote:
    """The ids of events that this process put into the outbox, until they are in the chain. Its caller lets one thread in at a time.

    The file belongs to the process that holds the lock on it, which ends with the process: what another one finds in it, a killed
    process left. It is made with the first id, and costs a write to the page cache for each change.
    """

    def __init__(self, folder: Path, deployment_id: str) -> None:
        self._folder, self._stem = folder, f"audit-{deployment_id}-"
        self._file, self._path, self._size = -1, folder, 0

    def add(self, ids: Sequence[str]) -> None:
        """Appends ids. `OSError`."""
        if self._file < 0:
            with contextlib.suppress(FileExistsError):
                self._folder.mkdir(mode=0o700)
            self._path = self._folder / f"{self._stem}{os.urandom(8).hex()}.outbox"
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            lock_file(self._file)
        self._size += os.write(self._file, b"".join(bytes.fromhex(each.replace("-", "")) for each in ids))

    def keep(self, ids: Collection[str]) -> None:
        """Forgets all but these, once that is worth its while. `OSError`."""
        if self._file >= 0 and (not ids or self._size > max(_MOST_BYTES, 32 * len(ids))):
            os.ftruncate(self._file, 0)
            self._size = 0
            if ids:
                self.add(list(ids))

    def adopt(self) -> list[str]:
        """Returns the ids that killed processes left, and makes them those of this process. `OSError`."""
        found: list[str] = []
        for path in self._folder.glob(f"{self._stem}*.outbox"):
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                lock_file(file)
                data = path.read_bytes()
                ids = [str(UUID(bytes=data[at : at + 16])) for at in range(0, len(data) - 15, 16)]
                if ids:
                    self.add(ids)
                path.unlink()
                found += ids
            except (BlockingIOError, FileNotFoundError):  # its process is alive, or another one has adopted them
                pass
            finally:
                os.close(file)
        return found

    def release(self, *, remove: bool) -> None:
        """Ends the lock; `remove` the file as well, if nothing is left to note."""
        if self._file >= 0:
            if remove:
                self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1


def _overwrite(path: Path, data: bytes, *, durable: bool) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(file, data, 0)
        os.ftruncate(file, len(data))
        if durable:
            os.fsync(file)
    finally:
        os.close(file)
