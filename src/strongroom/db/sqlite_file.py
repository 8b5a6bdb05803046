"""The place of an SQLite database: which file it is, and whether it still is that one.

Nothing but SQLite may open the file, its `-wal` or its `-shm`: when a process closes any descriptor of a file, it loses
all locks that it has on it (POSIX), and then other processes remove the log that its connections write to. So here the
file is made by `mknod`, permissions are set by path, and identities come from `stat`. See
https://sqlite.org/howtocorrupt.html, section 2.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from strongroom.errors import ConfigurationError, Unavailable

Identity = tuple[int, int]


class DatabaseReplaced(Unavailable):
    """The database's file, its folder or its log was removed or replaced while this process had it open.

    Nothing was changed, unless the message says otherwise. A new connection finds what is there now.
    """


def identity(path: str) -> Identity | None:
    """The device and the inode; None when there is no such file, or no way to it. Opens nothing."""
    try:
        found = os.stat(path)  # noqa: PTH116 - for each write
    except OSError:
        return None
    return found.st_dev, found.st_ino


def resolve(given: str | None) -> str:
    """The one path of a database: absolute, without symbolic links. `ConfigurationError` when it is kept in no file."""
    if not given or given == ":memory:" or given.startswith("file:"):
        raise ConfigurationError(
            "the SQLite database has to be a file", hint="for example: sqlite:////var/lib/strongroom/strongroom.db"
        )
    return os.path.realpath(given)


def prepare(path: str) -> Identity:
    """Makes the folder and the file, if needed, with permissions for the user alone. Returns the file's identity."""
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = _stat_or_make(path)
    except OSError as error:
        raise ConfigurationError(f"cannot open the database {path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigurationError(f"cannot open the database {path}: it is not a file")
    if found.st_nlink > 1:
        raise ConfigurationError(
            f"cannot open the database {path}: the file has several names (hard links)",
            hint="SQLite keeps a log beside each name, and changes get lost; copy the file instead, or use a symbolic link",
        )
    if not os.access(path, os.R_OK | os.W_OK):
        raise ConfigurationError(f"cannot open the database {path}: Permission denied")
    return found.st_dev, found.st_ino


def _stat_or_make(path: str) -> os.stat_result:
    try:
        return Path(path).stat()
    except FileNotFoundError:
        with suppress(FileExistsError):  # another process makes it just now
            _make(path)
            os.chmod(path, 0o600)  # noqa: PTH101 - whatever the umask is
        return Path(path).stat()


def _make(path: str) -> None:
    """Makes an empty file that nobody has open, or raises `FileExistsError`."""
    if hasattr(os, "mknod"):
        try:
            os.mknod(path, stat.S_IFREG | 0o600)
        except PermissionError:  # macOS allows it to the superuser alone, some file systems to nobody
            pass
        else:
            return
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
