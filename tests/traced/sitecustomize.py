"""Reports each `open` of a database file that this process has open by SQLite. Loaded by every Python that the tests start.

When a process closes any descriptor of such a file, it loses all its locks (POSIX), and other processes remove the log under it.
"""

import os
import sys
import traceback

_SUFFIXES = ("", "-wal", "-shm", "-journal")
_reporting = False


def _identity(path):
    try:
        found = os.stat(path)  # noqa: PTH116 - loaded by every process
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _hook(event, arguments):
    global _reporting
    if event != "open" or _reporting:
        return
    sqlite, path = sys.modules.get("strongroom.db.sqlite"), arguments[0]
    if sqlite is None or not isinstance(path, (str, bytes, os.PathLike)) or not hasattr(sqlite, "_files"):
        return
    held = [file.path for file in list(sqlite._files.values()) if file.connections._all]
    if not held or (found := _identity(path)) is None:
        return
    if any(_identity(each + suffix) == found for each in held for suffix in _SUFFIXES):
        _reporting = True
        try:
            where = "".join(traceback.format_stack(sys._getframe(1), limit=6))
            line = f"process {os.getpid()} opened {os.fsdecode(path)}:\n{where}\n"
            file = os.open(os.environ["TESTS_OPENS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            os.write(file, line.encode(errors="replace"))
            os.close(file)
        finally:
            _reporting = False


if "TESTS_OPENS" in os.environ:
    sys.addaudithook(_hook)
