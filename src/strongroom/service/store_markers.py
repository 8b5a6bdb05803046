"""Markers: small objects in the secrets stores, by which places and databases are told apart.

Addresses cannot do that: one place may have several names (`127.0.0.1` and `localhost`, two DNS names, a replicated cluster). So
each database puts a marker of its own into each store, at a fresh locator made for an id that no secret has. Two
stores that find each other's marker are one place. A marker of the same deployment that this database did not put there tells of
another database with the same id: a copy, or the original of which this one is a copy.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import permutations
from typing import TYPE_CHECKING

from strongroom import forking
from strongroom.config import PREFIX
from strongroom.connectors.deadline import Deadline
from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, TooLarge, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.metadata import placement
from strongroom.metadata import store_marker as rows
from strongroom.metadata.store_marker import MarkerRow
from strongroom.secrets_stores.base import MARKER_ID, About

if TYPE_CHECKING:
    from strongroom.service.placements import ConfiguredStore

NAME = "strongroom-marker"
"""The name in the description of a marker, and the key of its values that has the identity of its database."""

_SECONDS = 5.0
_PUT_SECONDS = 20.0
_FAMILIES = {"primary": "SECRETS_STORE", "backup": "BACKUP_SECRETS_STORE"}


def is_marker(values: Mapping[str, str]) -> bool:
    """Whether these values are those of a marker."""
    return NAME in values


class StoreMarkers:
    """Keeps the markers of one deployment's stores. Thread-safe. The stores must be known to the index."""

    def __init__(self, database: Database, deployment_id: str, stores: Sequence[ConfiguredStore]) -> None:
        self._database, self._deployment_id = database, deployment_id
        self._stores = [each for each in stores if each.external is not None]
        self._busy = forking.renewed(self, "_busy", threading.Lock)
        self._identity = ""
        self.are_set = not self._stores
        """Whether each store has a marker, as far as this process knows: then a write has nothing to check."""

    def ensure(self, answering: Collection[str]) -> None:
        """Puts the missing markers into those stores that are answering, and looks for markers of other places there.

        `ConfigurationError` if a store is a place that the index knows by another name. A store that does not take its marker gets
        it later. Costs one query of the index if nothing is missing, and nothing while another thread is at it.
        """
        if not self._busy.acquire(blocking=False):
            return
        try:
            own = self._own()
            for store in self._stores:
                if store.store_id in answering and store.store_id not in own:
                    with suppress(Unavailable, StoreForbidden, ValuesCorrupt, TooLarge):
                        own[store.store_id] = self._put(store)
            self.are_set = all(each.store_id in own for each in self._stores)
        finally:
            self._busy.release()

    def prove(self) -> None:
        """Makes sure, by reading, that the stores are different places. `ConfigurationError` if they are not.

        Raises what a store raises that does not answer or refuses: then nothing is proved. Two to four calls of each store.
        """
        own = self._own()
        for store in self._stores:
            marker = own.get(store.store_id)
            if marker is not None and not self._sees(store, marker):  # the store was emptied, or restored
                with self._database.write(apart=True) as connection:
                    rows.forget_marker(connection, marker.store_id, marker.locator)
                marker = None
            if marker is None:
                own[store.store_id] = self._put(store)
        for one, other in permutations(self._stores, 2):
            if self._sees(other, own[one.store_id]):
                raise _one_place(one, other)
        self.are_set = True

    def try_out(self) -> None:
        """Makes sure that the stores are different places, as `prove` does, and leaves nothing behind in those without a marker."""
        own = self._own()
        if all(each.store_id in own for each in self._stores):
            self.prove()
            return
        for one, other in permutations(self._stores, 2):
            marker = self._write(one)
            try:
                if self._sees(other, marker):
                    raise _one_place(one, other)
            finally:
                assert one.external is not None
                one.external.delete(marker.locator, seconds=one.timeout)
                with self._database.write(apart=True) as connection:
                    placement.claim(connection, [(marker.store_id, marker.locator)])

    def others(self, store: ConfiguredStore) -> list[str]:
        """The locators of markers that other databases put into the store, as far as the index knows, and that are still there."""
        identity = self._find_identity()
        with self._database.read() as connection:
            markers = [each for each in rows.list_markers(connection) if each.store_id == store.store_id]
        found = []
        for marker in markers:
            if marker.database != identity:
                if self._sees(store, marker):
                    found.append(marker.locator)
                else:
                    with self._database.write(apart=True) as connection:
                        rows.forget_marker(connection, marker.store_id, marker.locator)
        return found

    def is_of_another(self, values: Mapping[str, str]) -> bool:
        """Whether these values are a marker of another database. One of this database that came late is nobody's."""
        return is_marker(values) and values[NAME] != self._find_identity()

    def note(self, store: ConfiguredStore, locator: str) -> None:
        """Remembers a marker of another database that a scan has found."""
        with self._database.write(apart=True) as connection:
            rows.forget_marker(connection, store.store_id, locator)
            rows.insert_marker(connection, MarkerRow(store.store_id, locator, ""), now())

    def take_over(self) -> int:
        """Removes the markers of all other databases of this deployment, because none of them is used any more. Returns how many.

        Goes through all that the stores hold. Raises what a store raises.
        """
        count = 0
        for store in self._stores:
            for locator in {*self.others(store), *self._unknown(store)}:
                with self._database.write(apart=True) as connection:
                    rows.forget_marker(connection, store.store_id, locator)
                    placement.to_delete(connection, [(store.store_id, locator)], now())
                count += 1
        return count

    def other_database(self, store: ConfiguredStore, locator: str) -> StoreForbidden:
        """The error for a store with a marker of another database."""
        return StoreForbidden(
            f"another database of this deployment uses {store.store_id} (its marker is {locator}); nothing is deleted there",
            hint="is this one a copy? Give it a store of its own. Was it moved, and the other one is gone for good? "
            "strongroom server check-stores --take-over",
        )

    def _unknown(self, store: ConfiguredStore) -> Iterator[str]:
        external = store.external
        assert external is not None
        for page in external.scan(seconds=max(store.timeout, 30), markers=True):
            locators = [each.locator for each in page]
            with self._database.read() as connection:
                known = placement.named_locators(connection, locators)
            for locator in locators:
                if locator not in known:
                    with suppress(ValuesMissing, ValuesCorrupt):
                        if is_marker(external.get(locator, seconds=store.timeout)):
                            yield locator

    def _find_identity(self) -> str:
        if not self._identity:
            with self._database.read() as connection:
                self._identity = rows.database_identity(connection, self._deployment_id)
        return self._identity

    def _own(self) -> dict[str, MarkerRow]:
        identity = self._find_identity()
        with self._database.read() as connection:
            return {each.store_id: each for each in rows.list_markers(connection) if each.database == identity}

    def _put(self, store: ConfiguredStore) -> MarkerRow:
        """Puts a marker into a store, once no marker of another place is found there. `ConfigurationError` if one is."""
        external = store.external
        assert external is not None
        with self._database.read() as connection:
            known = rows.list_markers(connection)
        for each in known:
            if each.store_id != store.store_id and self._sees(store, each):
                self._refuse(store, each.store_id)
        marker = self._write(store)
        pair = marker.store_id, marker.locator
        for other in self._stores:
            if other.store_id != store.store_id:
                with suppress(Unavailable, StoreForbidden):  # it looks for this one when it gets its own
                    if self._sees(other, marker):
                        with self._database.write(apart=True) as connection:
                            if placement.claim(connection, [pair]):
                                placement.to_delete(connection, [pair], now())
                        raise _one_place(store, other)
        with self._database.write(apart=True) as connection:
            if not placement.claim(connection, [pair]):
                raise Unavailable(f"{store.store_id} took too long to take its marker", hint="try again")
            rows.insert_marker(connection, marker, now())
        return marker

    def _write(self, store: ConfiguredStore) -> MarkerRow:
        """Puts a marker that is announced, as all puts are, and not yet known as one."""
        external = store.external
        assert external is not None
        marker = MarkerRow(store.store_id, external.new_locator(MARKER_ID), self._identity)
        deadline = Deadline(_PUT_SECONDS)
        with self._database.write(apart=True) as connection:
            placement.announce(connection, [(marker.store_id, marker.locator)], now() + int(_PUT_SECONDS * 1_000_000))
        about = About(deployment_id=self._deployment_id, secret_id=MARKER_ID, name=NAME, scope="workspace", workspace="default")
        values = {NAME: marker.database, "role": store.role}  # small: some stores take little
        external.put(marker.locator, values, about, seconds=min(store.timeout, deadline.left()))
        return marker

    def _refuse(self, store: ConfiguredStore, known_as: str) -> None:
        """Raises if the store is one that the index knows by another name: another configured one, or one that holds versions."""
        for other in self._stores:
            if other.store_id == known_as:
                raise _one_place(store, other)
        with self._database.read() as connection:
            is_used = placement.holds_versions(connection, known_as)
        if is_used:
            raise ConfigurationError(
                f"the {store.role} secrets store {store.store_id} is a place that this deployment knows as {known_as}",
                hint=f"set {PREFIX}{_FAMILIES[store.role]}_NAME={known_as}, so that the values there are found",
            )

    def _sees(self, store: ConfiguredStore, marker: MarkerRow) -> bool:
        """Whether a marker is found through this store."""
        external, seconds = store.external, min(store.timeout, _SECONDS)
        assert external is not None
        try:
            return is_marker(external.get(marker.locator, seconds=seconds))
        except ValuesMissing:
            return False
        except ValuesCorrupt:
            return True
        except Unavailable as error:
            if store.kind != "custom" or marker.store_id == store.store_id:
                raise
            return self._sees_after_all(store, marker, error)

    def _sees_after_all(self, store: ConfiguredStore, marker: MarkerRow, error: StrongroomError) -> bool:
        """A custom store that answers otherwise, but fails whenever it is asked for a locator of another shape, does not have it."""
        external, seconds = store.external, min(store.timeout, _SECONDS)
        assert external is not None
        with suppress(ValuesMissing):
            external.get(external.new_locator(MARKER_ID), seconds=seconds)
        try:
            return is_marker(external.get(marker.locator, seconds=seconds))
        except ValuesMissing:
            return False
        except Unavailable as again:
            if again.message == error.message and "failed to get" in again.message:
                return False
            raise


def _one_place(one: ConfiguredStore, other: ConfiguredStore) -> ConfigurationError:
    return ConfigurationError(
        f"primary and backup secrets store are the same place: what is put into {one.store_id} is found in {other.store_id}",
        hint=f"unset {PREFIX}{_FAMILIES['backup']}_TYPE, or give it another location",
    )
