"""Which connections of a pool a thread has taken out, for when it is interrupted before it can give one back."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from sqlalchemy import Engine, event


class Checkouts(threading.local):
    """Those of this thread."""

    def __init__(self) -> None:
        self._taken: dict[Any, weakref.ref[Any]] = {}

    def watch(self, engine: Engine) -> None:
        """From now on, connections of this engine are known."""
        event.listen(engine, "checkout", self._note)
        event.listen(engine, "checkin", self._forget)

    def settle(self) -> None:
        """Closes all that this thread has taken out, which undoes what is not committed there. Not for use within a block."""
        for reference in list(self._taken.values()):
            connection = reference()
            if connection is not None:
                connection.invalidate()
        self._taken.clear()

    def _note(self, _raw: Any, record: Any, connection: Any) -> None:
        self._taken[record] = weakref.ref(connection)

    def _forget(self, _raw: Any, record: Any) -> None:
        self._taken.pop(record, None)
