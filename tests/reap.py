"""The program that ends what a test process left: see `tests/reaper.py`. It runs without site-packages."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

VARIABLE = "TESTS_REAPER"
"""The environment variable that names the test process."""

_SECONDS = 60
_PROC = Path("/proc")


def started_at(pid: int) -> str | None:
    """When the process was started, in the kernel's ticks; None when it has ended."""
    try:
        state, *rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return rest[18] if state not in "ZX" else None


def _reap(mark: str) -> None:
    """Reads the processes that were started, a line each, until the test process ends; then kills all that are left."""
    known: dict[int, str] = {}
    for line in sys.stdin:
        pid, began = line.split()
        known[int(pid)] = began
    doomed = {pid for pid, began in known.items() if started_at(pid) == began}
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        alive = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]
        doomed = {pid for pid in alive if pid in doomed or _is_marked(pid, mark)}
        doomed |= _descendants(doomed, alive)
        doomed = {pid for pid in doomed if started_at(pid) and not _is_reaper(pid)}
        if not doomed:
            return
        for pid in doomed:
            _kill(pid)


def _is_marked(pid: int, mark: str) -> bool:
    return f"{VARIABLE}={mark}".encode() in _read(pid, "environ")


def _is_reaper(pid: int) -> bool:
    return __file__.encode() in _read(pid, "cmdline")


def _read(pid: int, name: str) -> list[bytes]:
    try:
        return (_PROC / str(pid) / name).read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []


def _descendants(of: set[int], alive: list[int]) -> set[int]:
    parents: dict[int, int] = {}
    for pid in alive:
        try:
            parents[pid] = int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found: set[int] = set()
    while more := {pid for pid, parent in parents.items() if parent in of | found} - found - of:
        found |= more
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(ignored, signal.SIG_IGN)
    _reap(sys.argv[1])
