"""Where values lie: the protocol that keeps secrets stores and index in step. See `docs/internals/placements.md`.

    write   1. announce: an intent for each put, in a transaction of its own
            2. put the values into all stores, side by side
            3. in the transaction that moves the secret: claim the intents, place the version where it landed
    read    1. the index says which version, and where it lies
            2. the first store that answers gives it; when all say that it is missing, the index is asked again

The `sql` store shares the index's database: its values are written in step 3 itself, and read with the row of step 1.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Connection

from strongroom import forking
from strongroom.connectors.deadline import Deadline
from strongroom.crypto.binding import Binding
from strongroom.crypto.envelope import Envelope
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.errors import (
    ConfigurationError,
    InvalidInput,
    StoreForbidden,
    StrongroomError,
    Unavailable,
    ValuesCorrupt,
    ValuesMissing,
)
from strongroom.metadata import placement as rows
from strongroom.metadata.placement import PRESENT, Pair
from strongroom.metadata.secret import PlacementRow, SecretRow
from strongroom.secrets_stores.base import About, check_size
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.sql import STORE_ID, Place, SqlSecretsStore
from strongroom.service.store_doubts import StoreDoubts
from strongroom.service.store_markers import StoreMarkers

WRITE_SECONDS = 20.0
"""A writer's deadline: from then on it touches no store."""

READERS = 16
"""How many values are read side by side, at most, in one process."""

TRIES = 4
"""How often a read looks at the index, while others keep moving what it reads."""


@dataclass(frozen=True)
class PutResult:
    """Values that were put: store id to locator. In the `sql` store they will be when they are placed."""

    locators: Mapping[str, str]
    values: Mapping[str, str] = field(repr=False)
    digest: bytes

    @property
    def external(self) -> list[Pair]:
        """Those outside of the database."""
        return [(store_id, locator) for store_id, locator in self.locators.items() if store_id != STORE_ID]


@dataclass(frozen=True)
class ConfiguredStore:
    """A store at work: `sql` where `external` is None."""

    role: str
    kind: str
    timeout: int
    external: GuardedStore | None

    @property
    def store_id(self) -> str:
        """As placements name it."""
        return STORE_ID if self.external is None else self.external.store_id


class Placements:
    """Puts values into the configured stores and gets them from there. Thread-safe. No stores at all: nothing can be written."""

    def __init__(
        self,
        database: Database,
        sql: SqlSecretsStore,
        digest_key: bytes,
        deployment_id: str,
        stores: Sequence[ConfiguredStore],
    ) -> None:
        """`stores` in the order in which they are read; it closes them."""
        self.stores = list(stores)
        self.are_local = all(each.external is None for each in stores)
        """Whether all values lie in the database, so that no read has to wait for another back end."""
        self._is_sql_alone = [each.store_id for each in stores] == [STORE_ID]
        self._database, self._sql, self._digest_key, self._deployment_id = database, sql, digest_key, deployment_id
        self._binding = Binding(digest_key)
        self._by_id = {each.store_id: each for each in stores}
        self.markers = StoreMarkers(database, deployment_id, stores)
        self._doubts = StoreDoubts(database, stores) if len(stores) > 1 else None
        self.store_is_back = forking.renewed(self, "store_is_back", threading.Event)
        """Set when a store answers again."""
        for each in stores:
            if each.external is not None:
                each.external.breaker.listen_for_doubt(lambda in_doubt: None if in_doubt else self.store_is_back.set())
        self._lock = forking.renewed(self, "_lock", threading.RLock)
        self._pool: ThreadPoolExecutor | None = forking.renewed(self, "_pool", lambda: None)
        self._known = False
        self.work_left = forking.renewed(self, "work_left", threading.Event)
        """Set when something is to be deleted, or collected later."""

    def keep(self, wanted: int) -> int:
        """How many versions of a secret can be kept, of those that are wanted."""
        most = [each.external.capabilities.max_versions for each in self.stores if each.external is not None]
        return min([wanted, *(each for each in most if each is not None)])

    def digest(self, values: Mapping[str, str]) -> bytes:
        """Equal for equal values, wherever they belong: it is stored nowhere, but as `version_digest`."""
        return hmac.digest(self._digest_key, msgspec.json.encode(values, order="deterministic"), hashlib.sha256)

    def version_digest(self, values_digest: bytes, secret_id: str, number: int) -> bytes:
        """The digest of a version, as it is stored: it tells nothing, not even whether two versions have equal values."""
        return self._binding.version_digest(values_digest, secret_id, number)

    def is_what_was_written(self, values: Mapping[str, str], row: SecretRow) -> bool:
        """Whether these are the values of the version."""
        return hmac.compare_digest(self.version_digest(self.digest(values), row.id, row.number), row.digest)

    def check_size(self, values: Mapping[str, str]) -> None:
        """`TooLarge` if one of the stores would not take the values."""
        for each in self.stores:
            if each.external is not None:
                check_size(values, each.external.capabilities)

    def put(self, values: Mapping[str, str], about: About) -> PutResult:
        """Steps 1 and 2. What landed is still to be placed, or to be abandoned.

        With several stores one is enough. Raises the error of the first one if none took it, and any refusal of the first one; what
        was done nevertheless is collected.
        """
        if not self.stores:
            raise InvalidInput("this deployment keeps no secrets: its secrets store is of type 'none'")
        self.check_size(values)
        locators = {STORE_ID: new_id()} if STORE_ID in self._by_id else {}
        external = [each.external for each in self.stores if each.external is not None]
        if external:
            locators |= self._put(external, values, about)
        return PutResult(locators, values, self.digest(values))

    def seal(self, landed: PutResult, secret_id: str, number: int) -> Envelope | None:
        """What `place` will write into the `sql` store, made before its transaction begins."""
        locator = landed.locators.get(STORE_ID)
        return None if locator is None else self._sql.seal(Place(secret_id, number, locator), dict(landed.values))

    def place(self, connection: Connection, landed: PutResult, secret_id: str, number: int, sealed: Envelope | None) -> None:
        """Step 3, in the caller's transaction, which has added the version. `Unavailable` if it came too late.

        Stores that did not take the values are behind by the version from now on.
        """
        if landed.external and not rows.claim(connection, landed.external):
            raise Unavailable("the secrets stores took too long; nothing has changed", hint="try again")
        missed = [each for each in self._by_id if each not in landed.locators]
        if missed:
            rows.mark_behind(connection, [(store_id, (secret_id, number)) for store_id in missed], now())
            self._database.after_commit(self.work_left.set)
        if sealed is not None:
            self._sql.insert(connection, Place(secret_id, number, landed.locators[STORE_ID]), sealed)

    def abandon(self, landed: PutResult) -> None:
        """What landed is not placed after all."""
        if landed.external:
            with self._database.write(apart=True) as connection:
                ours = [pair for pair in landed.external if rows.claim(connection, [pair])]
                rows.to_delete(connection, ours, now())
            self.work_left.set()

    def release(self, connection: Connection, placed: Sequence[Pair], *, soon: bool = False) -> None:
        """Former placements, in the caller's transaction that has removed them: what they named must go.

        With `soon`, the log of SQLite may keep it for a while.
        """
        local = [locator for store_id, locator in placed if store_id == STORE_ID]
        external = [pair for pair in placed if pair[0] != STORE_ID]
        if local:
            self._sql.delete(connection, local, soon=soon)
        if external:
            rows.to_delete(connection, external, now())
            self._database.after_commit(self.work_left.set)

    def read(self, row: SecretRow, again: Callable[[], SecretRow | None]) -> tuple[SecretRow, dict[str, str]]:
        """The values of the row's version in the order of its keys, with the row that they belong to.

        That is another one if the index has moved on: `again` looks there, and gives None if there is nothing any more. Raises what
        the stores say: `Unreadable`, `StoreForbidden`, `Unavailable`.
        """
        for _ in range(TRIES):
            try:
                return row, self.fetch(row)
            except ValuesMissing:
                newer = again()
                if newer is None or _where(newer) == _where(row):
                    raise
                row = newer
        raise Unavailable(f"others keep changing '{row.name}'", hint="try again")

    def read_many(
        self, found: Sequence[SecretRow], again: Callable[[SecretRow], SecretRow | None]
    ) -> list[tuple[SecretRow, dict[str, str]] | StrongroomError]:
        """The same for many rows, side by side; an error takes the place of what it is about."""
        early = self._read_together(found)

        def read(row: SecretRow) -> tuple[SecretRow, dict[str, str]] | StrongroomError:
            if (values := early.get(row.id)) is not None:
                return row, values
            try:
                return self.read(row, lambda: again(row))
            except StrongroomError as error:
                return error

        if self.are_local or len(found) - len(early) < 2:
            return [read(row) for row in found]
        return list(self.workers().map(read, found))

    def prepare(self) -> None:
        """Makes the stores known to the index. Once is enough; a write does it."""
        while not self._known:
            try:
                with self._database.write(apart=True) as connection:
                    for each in self.stores:
                        rows.ensure_store(connection, each.store_id, each.kind, now())
            except ConstraintViolated:  # another process was faster
                continue
            self._known = True

    def close(self) -> None:
        """Closes the stores. Nobody may be reading or writing."""
        if self._pool is not None:
            self._pool.shutdown()
        for each in self.stores:
            if each.external is not None:
                each.external.close()

    def _put(self, stores: Sequence[GuardedStore], values: Mapping[str, str], about: About) -> dict[str, str]:
        self.prepare()
        locators = {each.store_id: each.new_locator(about.secret_id) for each in stores}
        deadline = Deadline(WRITE_SECONDS)
        with self._database.write(apart=True) as connection:
            rows.announce(connection, locators.items(), now() + int(WRITE_SECONDS * 1_000_000))
            if self._doubts is not None:
                self._doubts.hear(connection)
        self.work_left.set()
        spare = {each.store_id: self._others_answer(self._by_id[each.store_id], self.stores) for each in stores}

        def put(store: GuardedStore) -> StrongroomError | None:
            try:
                seconds = min(deadline.left(), self._by_id[store.store_id].timeout)
                store.put(locators[store.store_id], values, about, seconds=seconds, spare=spare[store.store_id])
            except (StoreForbidden, Unavailable, ValuesCorrupt) as error:
                return error
            return None

        others: list[Future[StrongroomError | None]] = [self.workers().submit(put, each) for each in stores[1:]]
        outcomes = [put(stores[0]), *(each.result() for each in others)]
        said = {each.store_id: error for each, error in zip(stores, outcomes, strict=True)}
        landed = {store_id: locators[store_id] for store_id, error in said.items() if error is None}
        primary = said.get(self.stores[0].store_id)
        if isinstance(primary, StoreForbidden) or not (landed or STORE_ID in self._by_id):
            self.abandon(PutResult(landed, values, b""))
            raise primary or next(error for error in outcomes if error is not None)
        if not self.markers.are_set:
            try:
                self.markers.ensure(landed)
            except ConfigurationError:
                self.abandon(PutResult(landed, values, b""))
                raise
        return landed

    def fetch(self, row: SecretRow) -> dict[str, str]:
        """The values of the row's version from the first store that gives them, going by the row alone.

        `ValuesMissing` only if none of them answered anything else. `ValuesCorrupt` if the row was changed by something else.
        """
        if not row.is_bound:
            raise pointer_changed(row)
        if self._is_sql_alone and len(row.placements) == 1:  # as a rule, and cheapest so
            placement = row.placements[0]
            if (placement.store_id, placement.state) == (STORE_ID, PRESENT):
                return self.get(self.stores[0], placement, row)
        doubts: list[StrongroomError] = []
        places = self._places(row)
        for number, (store, placement) in enumerate(places, 1):
            try:
                return self.get(store, placement, row, spare=self._others_answer(store, [each for each, _ in places[number:]]))
            except (Unavailable, ValuesMissing, ValuesCorrupt) as error:
                doubts.append(error)
        if not doubts:
            elsewhere = ", ".join(sorted(each.store_id for each in row.placements if each.state == PRESENT))
            if elsewhere:
                raise ValuesMissing(
                    f"version {row.number} of '{row.name}' is only in {elsewhere}, which is not configured any more",
                    hint="configure that store as the backup, then run: strongroom secret restore",
                )
            raise ValuesMissing(f"no store holds version {row.number} of '{row.name}'", hint="restore it from a backup")
        raise min(doubts, key=lambda error: (not isinstance(error, Unavailable), not isinstance(error, ValuesCorrupt)))

    @staticmethod
    def _others_answer(store: ConfiguredStore, stores: Sequence[ConfiguredStore]) -> bool:
        """Whether one of the stores beside this one is there and not in doubt, so that this one need not be waited for."""
        return any(each is not store and (each.external is None or not each.external.breaker.is_in_doubt) for each in stores)

    def _places(self, row: SecretRow) -> list[tuple[ConfiguredStore, PlacementRow]]:
        present = {each.store_id: each for each in row.placements if each.state == PRESENT}
        return [(store, present[store.store_id]) for store in self.stores if store.store_id in present]

    def get(self, store: ConfiguredStore, placement: PlacementRow, row: SecretRow, *, spare: bool = False) -> dict[str, str]:
        """The values of the version in this store, in the order of its keys. `ValuesCorrupt` if they are not what was written."""
        if store.external is None:
            values = self._sql.unseal(Place(row.id, row.number, placement.locator), placement.beside)
            genuine = list(values) == row.key_names or values.keys() == set(row.key_names)
        else:
            values = store.external.get(placement.locator, seconds=store.timeout, spare=spare)
            genuine = self.is_what_was_written(values, row)
        return self._in_order(row, values, store, genuine=genuine)

    @staticmethod
    def _in_order(row: SecretRow, values: Mapping[str, str], store: ConfiguredStore, *, genuine: bool) -> dict[str, str]:
        if not genuine:
            raise ValuesCorrupt(
                f"version {row.number} of '{row.name}' in {store.store_id} is not what was written there",
                hint="roll back to another version, or restore the values from a backup",
            )
        return {key: values[key] for key in row.key_names}

    def _read_together(self, found: Sequence[SecretRow]) -> dict[str, dict[str, str]]:
        """By secret, what the first store gives in answers for many at once. What is not in it is to be read by itself."""
        first = self.stores[0].external if self.stores else None
        if first is None or not first.reads_many or len(found) < 2:
            return {}
        store = self.stores[0]
        wanted = {
            each.locator: row
            for row in found
            if row.is_bound
            for each in row.placements
            if (each.store_id, each.state) == (store.store_id, PRESENT)
        }
        try:
            given = first.get_many(list(wanted), seconds=store.timeout, spare=len(self.stores) > 1)
        except StrongroomError:  # each is asked for by itself then, and whoever wants it is told
            return {}
        read = {}
        for locator, row in wanted.items():
            values = given.get(locator)
            if isinstance(values, dict) and self.is_what_was_written(values, row):
                read[row.id] = self._in_order(row, values, store, genuine=True)
        return read

    def workers(self) -> ThreadPoolExecutor:
        """Threads for calls of stores that are made side by side. What they do waits for no other one of them."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(READERS, "stores")
            return self._pool


def pointer_changed(row: SecretRow) -> ValuesCorrupt:
    """What to say of a secret whose row strongroom did not write as it is."""
    return ValuesCorrupt(
        f"the row of '{row.name}' in the database was changed, which says that version {row.number} is the current one",
        hint="look at its versions and at the audit trail; `strongroom secret rollback` makes one of them the current one",
    )


def _where(row: SecretRow) -> tuple[int, list[tuple[str, str, str]]]:
    return row.number, sorted((each.store_id, each.locator, each.state) for each in row.placements)
