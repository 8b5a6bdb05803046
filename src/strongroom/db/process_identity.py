"""Whether another process of this machine still runs."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


def process_identity() -> str:
    """Returns what names this process for ever: the machine's boot, the space of its process ids, its id and its start.

    '' where that cannot be found out, as on systems that are not Linux. At most 128 characters.
    """
    return _identity(os.getpid())


def is_dead(identity: str) -> bool:
    """Returns whether the process of this identity has certainly ended. False for processes of other machines and containers."""
    place, _, process = identity.partition(" ")
    if not process or place != _place():
        return False
    pid = process.partition(":")[0]
    return _process(int(pid)) != process


@cache
def _identity(pid: int) -> str:
    place, process = _place(), _process(pid)
    return f"{place} {process}" if place and process else ""


@cache
def _place() -> str:
    try:
        return f"{(_PROC / 'sys/kernel/random/boot_id').read_text().strip()}/{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process(pid: int) -> str:
    """The id of a process and when it started, in clock ticks since the boot; '' for one that has ended or is a zombie."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else f"{pid}:{started}"
