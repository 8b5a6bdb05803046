"""What this process knows about the changes that it was asked for, so that a command that is cancelled says no more than that.

Each thread makes one change at a time. Cheap: a few dictionary operations for each change, nothing for a read.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Outcome(enum.Enum):
    """What is known about all changes so far."""

    NOTHING = enum.auto()
    """Nothing was changed."""
    UNKNOWN = enum.auto()
    """A change that was begun may have been made."""
    DONE = enum.auto()
    """All changes that were begun were made."""


_done = 0
_under_way: dict[int, bool] = {}
"""By thread, whether the change that it makes may have been made already."""


@contextmanager
def changing(*, decides: bool = False) -> Iterator[None]:
    """Around what changes something. With `decides`, nothing is changed for good before `deciding` is called within.

    A change that fails with an `Exception` counts as not made; one that is interrupted stays under way.
    """
    global _done
    thread = threading.get_ident()
    before = _under_way.get(thread)
    _under_way[thread] = not decides
    try:
        yield
    except Exception:
        _restore(thread, before)
        raise
    _done += 1
    _restore(thread, before)


def _restore(thread: int, before: bool | None) -> None:
    if before is None:
        _under_way.pop(thread, None)
    else:
        _under_way[thread] = before


def deciding() -> None:
    """Called before what an interruption does not undo, such as a commit."""
    thread = threading.get_ident()
    if thread in _under_way:
        _under_way[thread] = True


def begin() -> None:
    """Forgets what was changed before, for a process that runs several commands."""
    global _done
    _done = 0
    _under_way.clear()


def outcome() -> tuple[Outcome, int]:
    """What is known, and how many changes were surely made."""
    if any(_under_way.values()):
        return Outcome.UNKNOWN, _done
    return (Outcome.DONE if _done else Outcome.NOTHING), _done
