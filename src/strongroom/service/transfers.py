"""Going through all secrets: backup, restore and verification.

Each goes on in small steps of one page, and says after each how far it is. What a step did stays done, and doing it again is
harmless: so all of them can be cut off anywhere, and go on from the last step or from the beginning.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import msgspec

from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.errors import (
    ConfigurationError,
    InvalidInput,
    JobFailed,
    StoreForbidden,
    StrongroomError,
    TooLarge,
    Unavailable,
    ValuesCorrupt,
    ValuesMissing,
)
from strongroom.metadata import placement
from strongroom.metadata.placement import PRESENT, Version
from strongroom.metadata.secret import PlacementRow, SecretRow
from strongroom.metadata.version import FIRST, VersionIndex, all_digests, count_versions
from strongroom.models.job import BackUpSecrets, JobFailure, JobReport, RestoreSecrets, VerifySecrets
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.copies import Copies
from strongroom.service.placements import ConfiguredStore, Placements

PAGE = 64
"""The most versions between two reports of how far a job is. Slow stores have smaller pages, of at least `AT_ONCE`."""

AT_ONCE = 16
"""How many calls of stores are made side by side."""

MOST_FAILURES = 1_000
_SLOW_PAGE_SECONDS = 1.0
_NO_BACKUP = "there is no backup secrets store"
_NO_BACKUP_HINT = "configure one: STRONGROOM_BACKUP_SECRETS_STORE_TYPE and its options"


class State(msgspec.Struct, kw_only=True):
    """How far a job is: the last version that it has looked at, and what came of all before it."""

    after: Version = FIRST
    total: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[JobFailure] = []
    last_secret: str = ""
    last_outcome: str = ""

    @property
    def report(self) -> JobReport:
        """As it is shown."""
        return JobReport(done=self.done, failed=self.failed, skipped=self.skipped, failures=list(self.failures))

    def count(self, row: SecretRow, outcome: str, error: StrongroomError | str | None = None) -> None:
        """Counts a version of a secret. A secret is done if one of its versions was, and failed if one of them did."""
        ranks = ("skipped", "done", "failed")
        if self.last_secret == row.id:
            if ranks.index(outcome) > ranks.index(self.last_outcome):
                setattr(self, self.last_outcome, getattr(self, self.last_outcome) - 1)
                setattr(self, outcome, getattr(self, outcome) + 1)
                self.last_outcome = outcome
        else:
            setattr(self, outcome, getattr(self, outcome) + 1)
            self.last_secret, self.last_outcome = row.id, outcome
        if error is not None and len(self.failures) < MOST_FAILURES:
            text = error if isinstance(error, str) else error.message
            self.failures.append(JobFailure(name=row.name, id=row.id, error=f"version {row.number}: {text}"))


Step = Callable[[State], None]


class Transfers:
    """Does the work of jobs. Thread-safe; only one job may be at work in a deployment."""

    def __init__(
        self, database: Database, placements: Placements, copies: Copies, versions: VersionIndex, sql: SqlSecretsStore
    ) -> None:
        self._database, self._placements, self._copies = database, placements, copies
        self._versions, self._sql = versions, sql
        self._unproved: StrongroomError | None = None
        """Why the stores could not be proved to be different places: then nothing is deleted or forgotten."""

    def check(self, request: BackUpSecrets | RestoreSecrets | VerifySecrets) -> None:
        """`InvalidInput` if the stores that it takes are not configured."""
        if isinstance(request, VerifySecrets):
            if not self._placements.stores:
                raise InvalidInput("this deployment keeps no secrets: its secrets store is of type 'none'")
        else:
            self._pair()

    def run(self, request: BackUpSecrets | RestoreSecrets | VerifySecrets, state: State, step: Step) -> None:
        """Does it from where the state says. `step` hears of each page that was done, and may raise to end it.

        Raises what makes it impossible to go on: errors of the index, `JobFailed`; `ConfigurationError` if the stores are one place.
        """
        self._placements.prepare()
        self._unproved = None
        try:
            self._placements.markers.prove()
        except (Unavailable, StoreForbidden, ValuesCorrupt, TooLarge) as error:
            self._unproved = error
        if not state.total:
            with self._database.read() as connection:
                state.total = count_versions(connection, current=True)
        if isinstance(request, VerifySecrets):
            state.after, state.done, state.failed, state.failures = FIRST, 0, 0, []  # it knows nothing of an interrupted one
            self._verify(request, state, step)
            return
        primary, backup = self._pair()
        source, target = (primary, backup) if isinstance(request, BackUpSecrets) else (backup, primary)
        with closing(sqlite3.connect("")) as seen:  # in a file without a name, which goes by itself; it holds locators alone
            self._transfer(request, state, step, source, target, _Listing(target, seen))

    def _transfer(
        self,
        request: BackUpSecrets | RestoreSecrets,
        state: State,
        step: Step,
        source: ConfiguredStore,
        target: ConfiguredStore,
        listing: _Listing,
    ) -> None:
        for page in self._pages(state):
            found, lost = self._without_lost(page, target, listing)
            outcomes = self._copies.copy(found, target, at_once=AT_ONCE, recall=True)
            errors = dict(zip(map(_version, found), outcomes, strict=True)) | lost
            if request.delete_secrets:
                moved = self._again([row for row in found if errors[_version(row)] is None])
                emptied = self._empty(moved, source, target)
                errors |= {_version(row): error for row, error in zip(moved, emptied, strict=True)}
            failed = [row for row in found if errors[_version(row)] is not None]
            gone = set(map(_version, failed)) - set(map(_version, self._again(failed)))  # deleted meanwhile: no store has to have it
            for row in found:
                error = None if _version(row) in gone else errors[_version(row)]
                needed = _version(row) not in gone and (not _is_in(row, target) or (request.delete_secrets and _is_in(row, source)))
                state.count(row, "failed" if error else "done" if needed else "skipped", error)
                if error is not None and not request.ignore_errors:
                    step(state)
                    raise JobFailed(f"secret '{row.name}', version {row.number}: {error.message}")
            step(state)

    def _empty(self, moved: list[SecretRow], source: ConfiguredStore, target: ConfiguredStore) -> Sequence[StrongroomError | None]:
        if self._unproved is not None:
            return [self._unproved] * len(moved)
        return self._copies.empty(moved, source, target, at_once=AT_ONCE)

    def _pair(self) -> tuple[ConfiguredStore, ConfiguredStore]:
        if len(self._placements.stores) != 2:
            raise InvalidInput(_NO_BACKUP, hint=_NO_BACKUP_HINT)
        return self._placements.stores[0], self._placements.stores[1]

    def _pages(self, state: State) -> Iterator[list[SecretRow]]:
        size = AT_ONCE
        while True:
            with self._database.read() as connection:
                found = self._versions.after(connection, state.after, size)
            if not found:
                return
            began = time.monotonic()
            yield found
            size = PAGE if time.monotonic() - began < _SLOW_PAGE_SECONDS else AT_ONCE
            state.after = _version(found[-1])

    def _without_lost(
        self, found: list[SecretRow], target: ConfiguredStore, listing: _Listing
    ) -> tuple[list[SecretRow], dict[Version, StrongroomError | None]]:
        """Forgets the placements of values that are not in the target any more, and marks it as behind by them.

        Returns the versions as they are now. Those that no other store holds keep their placement, and their error is returned.
        """
        places = [(row, place.locator) for row in found for place in row.placements if _is_at(place, target)]
        suspects = [(row, locator) for row, locator in places if not listing.has(locator)]
        there = self._placements.workers().map(lambda each: self._is_really_there(target, each[1]), suspects)
        lost = [suspect for suspect, is_there in zip(suspects, there, strict=True) if not is_there]
        if not lost or self._unproved is not None:
            return found, {}
        elsewhere = self._placements.workers().map(lambda each: self._read_elsewhere(each[0], target), lost)
        errors: dict[Version, StrongroomError | None] = {}
        with self._database.write() as connection:
            for (row, locator), error in zip(lost, elsewhere, strict=True):
                if error is not None:
                    errors[_version(row)] = ValuesMissing(f"it is missing in {target.store_id}, and no other store gives it")
                elif placement.forget_lost(connection, _version(row), target.store_id, locator, now()):
                    self._placements.release(connection, [(target.store_id, locator)])
        return self._again(found), errors

    def _read_elsewhere(self, row: SecretRow, store: ConfiguredStore) -> StrongroomError | None:
        """Reads a version from the other stores, and compares it with its digest. None if one of them gives it."""
        others = [each for each in row.placements if each.store_id != store.store_id]
        try:
            self._placements.fetch(msgspec.structs.replace(row, placements=others))
        except StrongroomError as error:
            return error
        return None

    def _again(self, found: Sequence[SecretRow]) -> list[SecretRow]:
        """The rows as they are now; those that are gone are left out."""
        if not found:
            return []
        before = (found[0].id, found[0].number - 1)
        wanted = set(map(_version, found))
        rows: list[SecretRow] = []
        with self._database.read() as connection:
            while len(page := self._versions.after(connection, before, PAGE)) and _version(page[0]) <= _version(found[-1]):
                rows += [row for row in page if _version(row) in wanted]
                before = _version(page[-1])
        return rows

    def _verify(self, request: VerifySecrets, state: State, step: Step) -> None:
        with closing(sqlite3.connect("")) as seen:  # in a file without a name, which goes by itself; it holds locators alone
            seen.execute("CREATE TABLE seen (store TEXT, locator TEXT, PRIMARY KEY (store, locator)) WITHOUT ROWID")
            seen.execute("CREATE TABLE extra (locator TEXT)")
            for store in self._placements.stores:
                self._look_through(store, request, state, seen)
                step(state)
            for found in self._pages(state):
                self._compare(found, request, state, seen)
                step(state)

    def _look_through(self, store: ConfiguredStore, request: VerifySecrets, state: State, seen: sqlite3.Connection) -> None:
        """Notes all that a store holds, and finds what the index does not know. That is deleted if it is proved to be nobody's."""
        others = {*self._placements.markers.others(store)} if store.external is not None else set[str]()
        for locators in self._locators(store):
            seen.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", [(store.store_id, each) for each in locators])
            with self._database.read() as connection:
                known = placement.named_locators(connection, locators)
            for locator in (each for each in locators if each not in known):
                match self._look_at_unknown(store, locator):
                    case "marker":
                        self._placements.markers.note(store, locator)
                        others.add(locator)
                    case "extra":
                        seen.execute("INSERT INTO extra VALUES (?)", (locator,))
        for locator in sorted(others):
            self._fail(state, self._placements.markers.other_database(store, locator).message)
        may_delete = request.repair and not others and self._unproved is None
        for (locator,) in seen.execute("SELECT locator FROM extra ORDER BY locator").fetchall():
            mended = ""
            if may_delete:
                is_last = self._may_be_last(store, locator)
                mended = ", kept: a version that cannot be read has these values" if is_last else ", to be deleted"
                if not is_last and not self._remove(store, locator):
                    mended = ""
            self._fail(state, f"extra: {locator} in {store.store_id}{mended}")
        seen.execute("DELETE FROM extra")

    @staticmethod
    def _fail(state: State, error: str) -> None:
        """Counts something that belongs to no secret."""
        state.failed += 1
        if len(state.failures) < MOST_FAILURES:
            state.failures.append(JobFailure(name="", id="", error=error))

    def _look_at_unknown(self, store: ConfiguredStore, locator: str) -> str:
        """Returns `marker` for one of another database, else `extra`; nothing if it is gone.

        What a scan tells may be old: some back ends' lists are behind.
        """
        if store.external is None:
            with self._database.read() as connection:
                return "extra" if self._sql.holds(connection, locator) else ""
        try:
            values = store.external.get(locator, seconds=store.timeout)
        except ValuesMissing:
            return ""
        except (ValuesCorrupt, StoreForbidden):
            return "extra"
        return "marker" if self._placements.markers.is_of_another(values) else "extra"

    def _may_be_last(self, store: ConfiguredStore, locator: str) -> bool:
        """Whether what lies there are values of a kept version that no store gives."""
        if store.external is None:
            return False  # sealed for a version and a locator, so they are of no use for another one
        try:
            values = store.external.get(locator, seconds=store.timeout)
        except (ValuesMissing, ValuesCorrupt):
            return False
        with self._database.read() as connection:
            digest = self._placements.digest(values)
            same = [  # a microsecond for each version that there is: their digests are salted
                (secret_id, number)
                for secret_id, number, stored in all_digests(connection)
                if self._placements.version_digest(digest, secret_id, number) == stored
            ]
            found = [row for version in same if (row := self._versions.find(connection, version)) is not None]
        for row in found:
            try:
                self._placements.fetch(row)
            except StrongroomError:
                return True
        return False

    def _locators(self, store: ConfiguredStore) -> Iterator[list[str]]:
        if store.external is not None:
            for page in store.external.scan(seconds=max(store.timeout, 30), markers=True):
                yield [found.locator for found in page]
            return
        after = ""
        while True:
            with self._database.read() as connection:
                places = self._sql.scan(connection, after, 1_000)
            if not places:
                return
            yield [place.locator for place in places]
            after = places[-1].locator

    def _is_really_there(self, store: ConfiguredStore, locator: str) -> bool:
        """What a scan tells may have been deleted since, or be old: some back ends' lists are behind."""
        if store.external is None:
            with self._database.read() as connection:
                return self._sql.holds(connection, locator)
        try:
            store.external.get(locator, seconds=store.timeout)
        except ValuesMissing:
            return False
        except (ValuesCorrupt, StoreForbidden):
            return True
        return True

    def _remove(self, store: ConfiguredStore, locator: str) -> bool:
        """Deletes what the index does not name, or lets the reconciler do it. False if the index does name it by now."""
        with self._database.write() as connection:
            if placement.named_locators(connection, [locator]):
                return False
            if store.external is None:
                self._sql.delete(connection, [locator])
            else:
                placement.to_delete(connection, [(store.store_id, locator)], now())
        self._placements.work_left.set()
        return True

    def _compare(self, found: Sequence[SecretRow], request: VerifySecrets, state: State, seen: sqlite3.Connection) -> None:
        listed = {
            (each.store_id, each.locator)
            for row in found
            for each in row.placements
            if seen.execute("SELECT 1 FROM seen WHERE store = ? AND locator = ?", (each.store_id, each.locator)).fetchone()
        }

        def look(row: SecretRow) -> list[tuple[ConfiguredStore, str]]:
            found = [(store, self._wrong(row, store, listed, deep=request.deep)) for store in self._placements.stores]
            return [(store, wrong) for store, wrong in found if wrong]

        troubles = list(self._placements.workers().map(look, found)) if len(found) > 1 else [look(row) for row in found]
        for row, trouble in zip(found, troubles, strict=True):
            if not trouble:
                state.count(row, "done")
            for store, wrong in trouble:
                outcome = self._mend(row, store, wrong) if request.repair else wrong
                state.count(row, "failed" if outcome else "done", f"{outcome} in {store.store_id}" if outcome else None)

    def _wrong(self, row: SecretRow, store: ConfiguredStore, listed: set[tuple[str, str]], *, deep: bool) -> str:
        """What is wrong with a version in a store, in a word; nothing if all is well, or if it need not be there."""
        place = next((each for each in row.placements if each.store_id == store.store_id), None)
        if place is None:
            return "" if self._is_gone(row) else "not copied"
        if place.state != PRESENT or (not deep and (store.store_id, place.locator) in listed):
            return ""
        try:
            self._placements.get(store, place, row)
        except ValuesMissing:
            return "" if self._has_moved(row, store) else "missing"
        except ValuesCorrupt:
            return "" if self._has_moved(row, store) else "corrupt"
        except (Unavailable, ConfigurationError) as error:
            return f"unknown, for it cannot be read ({error.message}),"
        return ""

    def _is_gone(self, row: SecretRow) -> bool:
        with self._database.read() as connection:
            return self._versions.find(connection, _version(row)) is None

    def _has_moved(self, row: SecretRow, store: ConfiguredStore) -> bool:
        """Whether the index says something else by now."""
        with self._database.read() as connection:
            current = self._versions.find(connection, _version(row))
        before = [each for each in row.placements if each.store_id == store.store_id]
        after = [each for each in current.placements if each.store_id == store.store_id] if current else []
        return [(each.locator, each.state) for each in before] != [(each.locator, each.state) for each in after]

    def _mend(self, row: SecretRow, store: ConfiguredStore, wrong: str) -> str:
        """Copies a version again from another store that has it; returns what is still wrong."""
        if wrong.startswith("unknown"):
            return wrong
        if self._unproved is not None:
            return f"{wrong}, and not mended ({self._unproved.message}),"
        version, place = _version(row), next((each for each in row.placements if each.store_id == store.store_id), None)
        if place is None:
            with self._database.write() as connection:
                placement.mark_behind_unless_known(connection, store.store_id, [version], now())
        if self._read_elsewhere(row, store) is not None:
            return f"{wrong}, and no other store has it,"
        if place is not None:
            with self._database.write() as connection:
                if not placement.forget_lost(connection, version, store.store_id, place.locator, now()):
                    return ""
                self._placements.release(connection, [(store.store_id, place.locator)])
        others = [each for each in row.placements if each.store_id != store.store_id]
        (error,) = self._copies.copy([msgspec.structs.replace(row, placements=others)], store, at_once=1)
        return f"{wrong}, and not mended ({error.message})," if error else ""


class _Listing:
    """What a store holds, as it lists it: asked when somebody wants to know, kept in a table."""

    def __init__(self, store: ConfiguredStore, seen: sqlite3.Connection) -> None:
        self._store, self._is_complete = store, False
        self._seen: sqlite3.Connection | None = seen

    def has(self, locator: str) -> bool:
        """Whether the locator is listed. True also where nobody can tell: in the database itself, and without the right to list."""
        if self._store.external is None:
            return True
        if not self._is_complete and self._seen is not None:
            self._is_complete = True
            self._seen.execute("CREATE TABLE seen (locator TEXT PRIMARY KEY) WITHOUT ROWID")
            try:
                for page in self._store.external.scan(seconds=max(self._store.timeout, 30)):
                    self._seen.executemany("INSERT OR IGNORE INTO seen VALUES (?)", [(found.locator,) for found in page])
            except StoreForbidden:
                self._seen = None
        return self._seen is None or self._seen.execute("SELECT 1 FROM seen WHERE locator = ?", (locator,)).fetchone() is not None


def _version(row: SecretRow) -> Version:
    return row.id, row.number


def _is_in(row: SecretRow, store: ConfiguredStore) -> bool:
    return any(_is_at(each, store) for each in row.placements)


def _is_at(place: PlacementRow, store: ConfiguredStore) -> bool:
    return (place.store_id, place.state) == (store.store_id, PRESENT)
