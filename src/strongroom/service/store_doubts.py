"""What the processes of a deployment tell each other about stores that do not answer, so that not each of them has to find out."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from strongroom import forking
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.errors import StrongroomError
from strongroom.metadata import lease

if TYPE_CHECKING:
    from strongroom.service.placements import ConfiguredStore

LASTS_SECONDS = 6
"""How long others believe a process that has not spoken again: one that was killed."""

_REPEAT_SECONDS = 2.0


class StoreDoubts:
    """Writes the doubts of this process into the index, from the thread that probes, and reads those of others. Thread-safe."""

    def __init__(self, database: Database, stores: Sequence[ConfiguredStore]) -> None:
        self._database = database
        self._me = forking.renewed(self, "_me", new_id)
        self._stores = {_name(each.store_id): each for each in stores if each.external is not None}
        self._told = dict.fromkeys(self._stores, 0.0)
        for name, store in self._stores.items():
            assert store.external is not None
            store.external.breaker.listen_for_doubt(functools.partial(self._tell, name))

    def hear(self, connection: Connection) -> None:
        """Puts those stores in doubt that another process has reported. One query."""
        for name in lease.held_by_others(connection, list(self._stores), self._me, LASTS_SECONDS):
            external = self._stores[name].external
            assert external is not None
            external.breaker.doubt()

    def _tell(self, name: str, in_doubt: bool) -> None:
        moment = time.monotonic()
        if in_doubt and moment - self._told[name] < _REPEAT_SECONDS:
            return
        self._told[name] = moment if in_doubt else 0.0
        with suppress(StrongroomError, ConstraintViolated), self._database.write() as connection:
            if in_doubt:
                lease.take(connection, name, self._me, LASTS_SECONDS)
            else:
                lease.give_back(connection, name, self._me)


def _name(store_id: str) -> str:
    return f"silent:{hashlib.sha256(store_id.encode()).hexdigest()[:40]}"
