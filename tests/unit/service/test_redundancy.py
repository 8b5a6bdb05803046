"""Each kept version is, in each store, one of three: present, emptied on purpose, or behind. Whatever fails or is killed where."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, select

from strongroom.config import Settings
from strongroom.db.engine import Database
from strongroom.db.tables import copies, placements, versions
from strongroom.errors import StoreForbidden, StrongroomError, Unavailable
from strongroom.metadata import placement
from strongroom.models.info import GetInfo
from strongroom.models.job import BackUpSecrets, RestoreSecrets, VerifySecrets
from strongroom.operations import info as of_info
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf
from strongroom.service.transfers import State
from tests.canary import CANARY
from tests.faults.schedules.ending import transfers_of
from tests.unit.service.worlds import World

ONE, TWO = (f"{CANARY}-{each}" for each in ("one", "two"))


class Fault(enum.Enum):
    """What happens at a call of a store, or at a transaction."""

    FAILS = "the call fails once, with nothing done"
    LOSES_ITS_ANSWER = "the call is done, and its answer is lost"
    STAYS_AWAY = "the store answers no call from here on"
    REFUSES = "the store refuses each put from here on"
    KILLED_BEFORE = "the process is killed before it"
    KILLED_AFTER = "the process is killed after it"


class Killed(BaseException):
    """This process is no more."""


class Injector:
    """Counts calls of stores and transactions, and injects a fault at one of them."""

    def __init__(self) -> None:
        self.count, self.at, self.fault = 0, 0, Fault.FAILS
        self.is_at_work = self.is_dead = False
        self.away: object = None

    @contextmanager
    def inject(self, fault: Fault, at: int) -> Iterator[None]:
        """Meanwhile the call or transaction of this number, which counts from 1, suffers the fault."""
        self.count, self.at, self.fault, self.is_dead, self.away = 0, at, fault, False, None
        self.is_at_work = True
        try:
            yield
        finally:
            self.is_at_work = self.is_dead = False
            self.away = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Around a transaction."""
        hit = self._hits()
        if hit and self.fault is Fault.KILLED_BEFORE:
            self._die()
        yield
        if hit and self.fault is Fault.KILLED_AFTER:
            self._die()

    def call(self, store: object, put: bool, work: Callable[[], Any]) -> Any:
        """Around a call of a store."""
        hit = self._hits()
        if hit and self.fault in (Fault.STAYS_AWAY, Fault.REFUSES):
            self.away = store
        if hit and self.fault is Fault.KILLED_BEFORE:
            self._die()
        if (hit and self.fault is Fault.FAILS) or (self.away is store and self.fault is Fault.STAYS_AWAY):
            raise Unavailable("injected")
        if put and self.away is store:
            raise StoreForbidden("injected")
        result = work()
        if hit and self.fault is Fault.LOSES_ITS_ANSWER:
            raise Unavailable("injected")
        if hit and self.fault is Fault.KILLED_AFTER:
            self._die()
        return result

    def _hits(self) -> bool:
        if self.is_dead:
            raise Killed
        self.count += self.is_at_work
        return self.is_at_work and self.count == self.at

    def _die(self) -> None:
        self.is_dead = True
        raise Killed


class InjectedStore(MemorySecretsStore):
    """On a shelf, behind an injector."""

    injector: Injector

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        self.injector.call(self.store_id, True, lambda: MemorySecretsStore.put(self, locator, values, about, seconds=seconds))

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        found: dict[str, str] = self.injector.call(
            self.store_id, False, lambda: MemorySecretsStore.get(self, locator, seconds=seconds)
        )
        return found

    def delete(self, locator: str, *, seconds: float) -> None:
        self.injector.call(self.store_id, False, lambda: MemorySecretsStore.delete(self, locator, seconds=seconds))


class InjectedDatabase(Database):
    """Behind an injector."""

    injector: Injector

    @contextmanager
    def write(self, *, apart: bool = False) -> Iterator[Connection]:
        with self.injector.transaction(), super().write(apart=apart) as connection:
            yield connection


class Inline(Executor):
    """Runs what it is given at once."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future

    def map(self, function: Callable[..., Any], *iterables: Iterable[Any], **_: Any) -> Iterator[Any]:
        return iter([function(*each) for each in zip(*iterables, strict=False)])


class Bench:
    """A deployment whose stores and transactions are behind an injector."""

    def __init__(self, settings: Settings, *places: Shelf | None) -> None:
        injector = self.injector = Injector()

        class Store(InjectedStore):
            pass

        Store.injector = injector
        self.world = World(settings, *places, kind=Store)
        self.service = self.world.service
        self.service.placements._pool = Inline()  # type: ignore[assignment]
        self.database = self.service.deployment.database
        self.database.__class__ = InjectedDatabase
        self.database.injector = injector  # type: ignore[attr-defined]

    def transfer(self, request: Any) -> None:
        """What a job does, in this thread."""
        transfers_of(self.service).run(request, State(), lambda _: None)

    def lose(self, secret_id: str, store: int, damage: bool = False) -> None:
        """Takes all versions of a secret out of a store; or damages them."""
        for shelf in self.world.shelves:
            if shelf.name == ("primary", "backup")[store]:
                for locator in [each for each in self.world.locators_on(shelf) if secret_id in each]:
                    if damage:
                        shelf.damage(locator)
                    else:
                        MemorySecretsStore("x", shelf).delete(locator, seconds=1)

    def violations(self) -> list[str]:
        """Versions that are not exactly one of the three in some store, and a count that says otherwise."""
        with self.database.read() as connection:
            kept = [tuple(row) for row in connection.execute(select(versions.c.secret_id, versions.c.number))]
            placed = {
                (row.secret_id, row.number, row.store_id): row.state
                for row in connection.execute(
                    select(placements.c.secret_id, placements.c.number, placements.c.store_id, placements.c.state)
                )
            }
            owed = {tuple(row) for row in connection.execute(select(copies.c.secret_id, copies.c.number, copies.c.store_id))}
            counts = placement.behind(connection)
        wrong = []
        for store in self.service.placements.stores:
            for secret_id, number in kept:
                is_placed, is_owed = (secret_id, number, store.store_id) in placed, (secret_id, number, store.store_id) in owed
                if is_placed is is_owed:
                    wrong.append(f"version {number} is {'both' if is_placed else 'neither'} in {store.store_id} and/nor behind")
            behind = sum((*each, store.store_id) in owed for each in kept)
            shown = {each.location: each.behind for each in self.world.alice.ask(of_info.INFO, GetInfo()).stores}
            if not counts.get(store.store_id, 0) == behind == shown[store.store_id]:
                wrong.append(f"{store.store_id} is behind by {behind}, and said to be by {counts.get(store.store_id, 0)}")
        return wrong


@pytest.fixture(params=["two shelves", "sql first", "sql second"])
def bench(request: pytest.FixtureRequest, local_settings: Settings) -> Iterator[Bench]:
    """With two stores."""
    primary = None if request.param == "sql first" else Shelf("primary")
    backup = None if request.param == "sql second" else Shelf("backup")
    bench = Bench(replace(local_settings, keep_versions=2), primary, backup)
    yield bench
    bench.service.close()


def write(bench: Bench, secret_id: str) -> None:
    bench.world.alice.update(secret_id, {"k": ONE})
    bench.world.alice.update(secret_id, {"k": TWO})


def lost_from(store: int, request: Any, damage: bool = False) -> Callable[[Bench, str], None]:
    def work(bench: Bench, secret_id: str) -> None:
        bench.injector.is_at_work = False
        bench.lose(secret_id, store, damage)
        bench.injector.is_at_work = True
        bench.transfer(request)

    return work


def move_there_and_back(bench: Bench, _: str) -> None:
    bench.transfer(BackUpSecrets(delete_secrets=True))
    bench.transfer(RestoreSecrets())


def catch_up(bench: Bench, secret_id: str) -> None:
    bench.injector.is_at_work = False
    bench.lose(secret_id, 0)
    with bench.database.write() as connection:
        for row in connection.execute(select(placements).where(placements.c.secret_id == secret_id)).all():
            if row.store_id == bench.service.placements.stores[0].store_id and bench.service.placements.stores[0].external:
                placement.forget_lost(connection, (secret_id, row.number), row.store_id, row.locator, 1)
    bench.injector.is_at_work = True
    bench.service.reconciler.run(30)


OPERATIONS: dict[str, Callable[[Bench, str], None]] = {
    "writes": write,
    "a backup of what the backup lost": lost_from(1, BackUpSecrets()),
    "a restore of what the primary lost": lost_from(0, RestoreSecrets()),
    "a move of what the backup lost": lost_from(1, BackUpSecrets(delete_secrets=True)),
    "a verification that repairs the backup": lost_from(1, VerifySecrets(repair=True)),
    "a verification that repairs damage in the primary": lost_from(0, VerifySecrets(deep=True, repair=True), damage=True),
    "a move and a restore": move_there_and_back,
    "the reconciler": catch_up,
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_version_is_present_emptied_or_behind(bench: Bench, operation: str) -> None:
    """Right after any fault at any call of a store and any transaction; what is behind is caught up, and no value is lost."""
    work, world = OPERATIONS[operation], bench.world
    for fault in Fault:
        at = 0
        while True:
            at += 1
            made = world.alice.create("s", {"k": ONE})
            with bench.injector.inject(fault, at):
                with suppress(Killed, StrongroomError):
                    work(bench, made.id)
                reached = bench.injector.count
            where = f"{fault.name} at {at}"
            assert (where, bench.violations()) == (where, [])
            bench.service.reconciler.give_lease_back()
            world.reconcile()
            assert (where, bench.violations(), world.count(copies)) == (where, [], 0)
            assert world.alice.get(made.id).values["k"].reveal() in (ONE, TWO)
            bench.transfer(VerifySecrets(deep=True, repair=True))  # of what is lost, and was not noticed
            state = State()
            transfers_of(bench.service).run(VerifySecrets(deep=True), state, lambda _: None)
            assert (where, state.failures) == (where, [])
            world.alice.delete(made.id)
            assert (where, world.is_clean()) == (where, True)
            if reached < at:
                break
