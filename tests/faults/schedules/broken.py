"""The protocol with one of its rules taken out. Schedules have to notice each of them: else they would prove nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, delete

from strongroom.crypto.envelope import Envelope
from strongroom.db.clock import now
from strongroom.db.tables import placements
from strongroom.errors import StrongroomError
from strongroom.metadata import placement as rows
from strongroom.metadata.secret import SecretRow
from strongroom.secrets_stores.sql import Place
from strongroom.service.placements import STORE_ID, Placements, PutResult
from strongroom.service.reconciler import Progress, Reconciler
from strongroom.service.wiring import Service


class PlacesWithoutClaiming(Placements):
    """A writer that comes too late places what was collected as abandoned."""

    def place(self, connection: Connection, landed: PutResult, secret_id: str, number: int, sealed: Envelope | None) -> None:
        for pair in landed.external:
            rows.claim(connection, [pair])
        missed = [each for each in self._by_id if each not in landed.locators]
        rows.mark_behind(connection, [(store_id, (secret_id, number)) for store_id in missed], now())
        if sealed is not None:
            self._sql.insert(connection, Place(secret_id, number, landed.locators[STORE_ID]), sealed)


class LeavesWhatItAbandons(Placements):
    """A writer that lost takes its announcements back, and deletes nothing."""

    def abandon(self, landed: PutResult) -> None:
        with self._database.write() as connection:
            for pair in landed.external:
                rows.claim(connection, [pair])


class ReadsAnyVersion(Placements):
    """A reader that is content with values of the secret, of whatever version: those that it has read before."""

    def fetch(self, row: SecretRow) -> dict[str, str]:
        known: dict[str, Mapping[str, str]] = self.__dict__.setdefault("known", {})
        if row.id not in known:
            known[row.id] = super().fetch(row)
        return {key: known[row.id].get(key, "") for key in row.key_names}


class FallsBackToOlder(Placements):
    """A reader that gives the version before, when the current one cannot be had."""

    def fetch(self, row: SecretRow) -> dict[str, str]:
        known: dict[str, Any] = self.__dict__.setdefault("known", {})
        try:
            known[row.id] = super().fetch(row)
        except StrongroomError:
            if row.id not in known:
                raise
        return {key: known[row.id].get(key, "") for key in row.key_names}


class CopiesWhatWasEmptied(Reconciler):
    """A reconciler that gives every store every version, whatever it was emptied of."""

    def run(self, seconds: float) -> Progress | None:
        with self._database.write() as connection:
            connection.execute(delete(placements).where(placements.c.state == rows.EMPTIED))
        self._survey()
        return super().run(seconds)


def _placements(kind: type[Placements]) -> Callable[[Service], None]:
    def breaks(service: Service) -> None:
        service.placements.__class__ = kind

    return breaks


def _reconciler(kind: type[Reconciler]) -> Callable[[Service], None]:
    def breaks(service: Service) -> None:
        service.reconciler.__class__ = kind

    return breaks


def _forgets_events(service: Service) -> None:
    """Every fifth change has no event."""
    trail: Any = service.dispatcher._trail
    add, changes = trail.add, itertools.count(1)
    trail.add = lambda *arguments: None if next(changes) % 5 == 0 else add(*arguments)


BREAKAGES = {
    "a writer places without claiming": _placements(PlacesWithoutClaiming),
    "a writer leaves what it abandons": _placements(LeavesWhatItAbandons),
    "a reader accepts any version": _placements(ReadsAnyVersion),
    "a reader falls back to an older version": _placements(FallsBackToOlder),
    "the reconciler copies what was emptied": _reconciler(CopiesWhatWasEmptied),
    "changes lose their events": _forgets_events,
}
