"""How long one call may still take, however many requests it makes."""

from __future__ import annotations

import time

from strongroom.errors import Unavailable


class Deadline:
    """Begins to run when it is made."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """All the time is there again."""
        self._end = time.monotonic() + self._seconds

    def remaining(self) -> float:
        """Seconds; negative when it is over."""
        return self._end - time.monotonic()

    def left(self) -> float:
        """Seconds, more than none; `Unavailable` when there are none: nothing is begun that cannot end in time."""
        left = self.remaining()
        if left <= 0:
            raise Unavailable("there was no time left to ask")
        return left
