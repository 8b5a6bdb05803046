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
from dataclasses import dataclass
from pathlib import Path

from strongroom.audit.journal import Position
from strongroom.crypto import marks

_NUMBER_BYTES = 8
_BYTES = _NUMBER_BYTES + 2 * marks.MARK_BYTES
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


def _overwrite(path: Path, data: bytes, *, durable: bool) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(file, data, 0)
        os.ftruncate(file, len(data))
        if durable:
            os.fsync(file)
    finally:
        os.close(file)
