"""Schedules in one process: two services on one index, as two servers would be, and two shelves, all in the order of a seed."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from strongroom.config import Settings
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom.models.job import BackUpSecrets, RestoreSecrets, VerifySecrets
from strongroom.secrets_stores.memory import MemorySecretsStore
from strongroom.service.placements import ConfiguredStore
from strongroom.service.stores import BACKUP, PRIMARY
from strongroom.service.wiring import Service
from tests.faults.schedules import ending
from tests.faults.schedules.checker import check
from tests.faults.schedules.history import History
from tests.faults.schedules.scheduler import Inline, Killed, Process, Scheduler, Task, step_by_step
from tests.faults.schedules.shelves import Mode, SteppedStore, UnsteadyShelf
from tests.faults.schedules.surfaces import InProcess, Told
from tests.faults.schedules.workload import Board, Worker, look_at_everything, use_everything
from tests.people import Person, add_person

ONE_PLACE = "one shelf under two names"
LAYOUTS = {
    "two shelves": (True, True),
    "database first": (False, True),
    "database second": (True, False),
    "one shelf": (True,),
    ONE_PLACE: (True, True),
}
"""What the stores are, the primary first: a shelf, or the index's own database."""

SERVERS = 2
MOST_STEPS = 20_000
KEPT = 4
Breakage = Callable[[Service], object]


@dataclass
class Result:
    """What a schedule came to. `violations` are lines that hold no value."""

    seed: int
    kind: str
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    silence: float = 0.0
    """The longest time in which no server answered anybody, in seconds."""
    unready: float = 0.0
    """The longest time in which no server was ready, though its database and a secrets store were there."""

    def __str__(self) -> str:
        return f"seed {self.seed} ({self.kind}): " + "\n  ".join([f"{len(self.violations)} violations", *self.violations])


class Simulation:
    """One schedule. `breakage` changes each service, to see whether the checks notice."""

    def __init__(self, seed: int, settings: Settings, breakage: Breakage = lambda _: None, *, stops: float = 0.5) -> None:
        """The settings of an embedded store of this schedule's own. `stops`: how often processes are, for each fault of a store."""
        self._stops = stops
        self.scheduler = Scheduler(seed)
        self.rng = self.scheduler.rng
        layout = self.rng.choice([*LAYOUTS, "two shelves"])
        self.result = Result(seed, layout)
        self.history, self._board, self._counts = History(), Board(), self.result.counts
        shelves = 1 if layout == ONE_PLACE else sum(LAYOUTS[layout])
        self._shelves = [UnsteadyShelf(f"shelf{number}", self.scheduler) for number in range(shelves)]
        self._layout, self._breakage = LAYOUTS[layout], breakage
        self._settings = replace(settings, keep_versions=self.rng.choice([1, 2, KEPT]))
        self._services: list[Service] = []
        self._opened: list[Service] = []
        self._people: list[Person] = []
        self._processes = [Process(f"server{number}") for number in range(SERVERS)]
        self._stopped: dict[Process, int] = {}
        self._is_over = False

    def run(self) -> Result:
        """Plays it."""
        former = random.getstate()
        random.seed(self.result.seed)
        with self.scheduler.at_work():
            try:
                self._open()
                self._play()
                self._end()
            finally:
                for service in self._opened:
                    service.close()
                random.setstate(former)
        return self.result

    def _open(self) -> None:
        for number in range(SERVERS):
            service = self._new_service()
            self._services.append(service)
            self._people.append(add_person(service, "alice") if number == 0 else Person(service, self._people[0].actor))
        self._moves = ending.Moves(self._services[0].deployment.database)

    def _new_service(self) -> Service:
        service = Service(self._settings, self._stores)
        self._opened.append(service)
        service.placements._pool = Inline(self.rng)  # type: ignore[assignment]
        if self.result.kind == ONE_PLACE:  # as a former release was, which did not notice; jobs do
            service.placements.markers.are_set = True
        self._breakage(service)
        step_by_step(service.deployment.database, self.scheduler)
        return service

    def _stores(self, _: Settings, deployment_id: str) -> Sequence[ConfiguredStore]:
        shelves = itertools.cycle(self._shelves)
        stores = []
        for role, is_shelf in zip((PRIMARY, BACKUP), self._layout, strict=False):
            name = role if self.result.kind == ONE_PLACE else None
            store = SteppedStore(MemorySecretsStore(deployment_id, next(shelves), name=name), self.scheduler) if is_shelf else None
            stores.append(ConfiguredStore(role, "memory" if is_shelf else "sql", 1, store))
        return stores

    def _play(self) -> None:
        rng, scheduler = self.rng, self.scheduler
        for number in range(1, rng.randint(3, 6)):
            worker = Worker(number, self.history, self._board, random.Random(rng.random()), self._counts)
            scheduler.begin(f"client{number}", lambda task, worker=worker: self._client(task, worker, rng.randint(10, 30)))
        for number in range(SERVERS):
            scheduler.begin(f"reconciler{number}", lambda task, number=number: self._reconcile(task, number))
        if len(self._layout) > 1:
            scheduler.begin("mover", self._move)
        faults, sticky = rng.choice([0.002, 0.01, 0.03]), rng.choice([0.2, 0.6, 0.9])
        last: Task | None = None
        steps = 0
        while any(task.name.startswith("client") for task in scheduler.tasks):
            steps += 1
            assert steps < MOST_STEPS, "the clients do not come to an end"
            self._disturb(faults, steps)
            stopped = [each for each, until in self._stopped.items() if until > steps]
            tasks = [task for task in scheduler.tasks if task.process not in stopped]
            if not tasks:
                self._stopped.clear()
                continue
            if last not in tasks or rng.random() > sticky:
                last = rng.choice(tasks)
            scheduler.shift(rng.uniform(0.001, 0.03))
            scheduler.move(last)
        self._is_over = True
        for shelf in self._shelves:
            shelf.mode = Mode.UP
        while tasks := scheduler.tasks:
            scheduler.shift(0.01)
            scheduler.move(rng.choice(tasks))
        self._counts["steps"] += steps

    def _disturb(self, faults: float, step: int) -> None:
        rng = self.rng
        for shelf in self._shelves:
            shelf.catch_up()
        if rng.random() < faults:
            shelf = rng.choice(self._shelves)
            shelf.mode = rng.choice([Mode.UP, Mode.UP, *Mode])
            self._counts["faults"] += shelf.mode is not Mode.UP
        if rng.random() < faults / 2:
            number = rng.randrange(SERVERS)
            self._counts["kills"] += 1
            self._counts["killed at work"] += self.scheduler.kill(self._processes[number])
            self._check_redundancy("after a kill")
            self._processes[number] = Process(f"server{number}")
            if rng.random() < 0.3:  # what the next one knows by heart is gone, too
                self._services[number] = self._new_service()
                self._people[number] = Person(self._services[number], self._people[number].actor)
        if rng.random() < faults * self._stops:
            self._stopped[rng.choice(self._processes)] = step + rng.randint(20, 200)
            self._counts["stops"] += 1
            self.scheduler.shift(rng.choice([1, 30, 90, 90]))
        if rng.random() < faults / 3:
            self.scheduler.shift(rng.choice([1, 5, 22, 90]))

    def _check_redundancy(self, when: str) -> None:
        stores = [each.store_id for each in self._services[0].placements.stores]
        wrong = ending.redundancy(self._services[0].deployment.database, stores)
        self.result.violations += [f"{when}: {each}" for each in wrong]

    def _lose(self) -> None:
        """Takes some values from one shelf that lie on the other one, too, as the index says."""
        if self.result.kind != "two shelves" or self.rng.random() < 0.5:
            return
        for locators in ending.placed_twice(self._services[0].deployment.database):
            if (
                all(locator in shelf._items for locator, shelf in zip(locators, self._shelves, strict=True))
                and self.rng.random() < 0.3
            ):
                number = self.rng.randrange(2)
                del self._shelves[number]._items[locators[number]]
                self._counts["lost values"] += 1

    def _client(self, task: Task, worker: Worker, operations: int) -> None:
        for _ in range(operations):
            number = self.rng.randrange(SERVERS)
            task.process = self._processes[number]
            try:
                worker.act(InProcess(self._people[number]))
            except Killed:
                self._counts["unknown"] += 1
            task.process = None
            self.scheduler.pause()

    def _reconcile(self, task: Task, number: int) -> None:
        while not self._is_over:
            task.process = self._processes[number]
            reconciler = self._services[number].reconciler
            try:
                if self.rng.random() < 0.1:
                    reconciler._survey()
                reconciler.run(self.rng.choice([1, 15]))
                if self.rng.random() < 0.5:
                    reconciler.give_lease_back()
            except Killed:
                pass
            task.process = None
            self._rest()

    def _move(self, task: Task) -> None:
        while not self._is_over:
            number = self.rng.randrange(SERVERS)
            task.process = self._processes[number]
            self._lose()
            try:
                self._transfer(self._services[number])
            except Killed:
                pass
            except StrongroomError:
                self._counts["failed jobs"] += 1
            task.process = None
            self._moves.note()
            self._rest()

    def _transfer(self, service: Service) -> None:
        stores = [each.store_id for each in service.placements.stores]
        state = ending.State()
        kind, delete = self.rng.choice(["backup", "restore", "verify"]), self.rng.random() < 0.6
        if kind == "verify":
            request = VerifySecrets(deep=self.rng.random() < 0.5, repair=self.rng.random() < 0.5)
            ending.transfers_of(service).run(request, state, lambda _: None)
            self._counts["jobs"] += 1
            return
        source, target = stores if kind == "backup" else reversed(stores)
        self._moves.begin(target)
        kinds = {"backup": BackUpSecrets, "restore": RestoreSecrets}
        request = kinds[kind](delete_secrets=delete, ignore_errors=True)
        ending.transfers_of(service).run(request, state, lambda _: None)
        self._counts["jobs"] += 1
        if delete:
            self._moves.done(source, state.failures)

    def _rest(self) -> None:
        for _ in range(self.rng.randint(1, 40)):
            if not self._is_over:
                self.scheduler.pause()

    def _end(self) -> None:
        service, surface = self._services[0], InProcess(self._people[0])

        def later() -> None:
            self.scheduler.shift(100)
            for shelf in self._shelves:
                shelf.catch_up()

        wrong = self.result.violations
        later()
        for each in self._opened:
            each.reconciler.give_lease_back()
        self._check_redundancy("in the end")
        if self.result.kind == ONE_PLACE:
            self._end_in_one_place(later)
            return
        wrong += ending.converge(service, later)
        if self._counts["lost values"]:
            ending.repair(service)
            wrong += ending.converge(service, later)
        wrong += ending.compare(service) + self._moves.came_back()
        try:
            look_at_everything(surface, self.history, self._counts)
            wrong += ending.move_away(service, later)
            shown = look_at_everything(surface, self.history, self._counts)
            wrong += use_everything(surface, shown, self.history)
        except Told as told:
            wrong.append(f"a secret that is listed cannot be read: {told.code}")
        wrong += ending.converge(service, later) + ending.compare(service) + ending.audit_is_whole(service)
        wrong += ending.unrecorded(service, self.history)
        findings = check(self.history)
        self._counts["undecided"] += findings.undecided
        wrong += findings.violations

    def _end_in_one_place(self, later: Callable[[], None]) -> None:
        """Nobody can say which store holds what; but every job refuses to run, and everything can be read, updated and deleted."""
        service, surface, wrong = self._services[0], InProcess(self._people[0]), self.result.violations
        wrong += ending.converge(service, later)
        try:
            ending.repair(service)
            wrong.append("a verification did not notice that two stores are one place")
        except ConfigurationError:
            self._counts["refused jobs"] += 1
        try:
            shown = look_at_everything(surface, self.history, self._counts)
            wrong += use_everything(surface, shown, self.history)
        except Told as told:
            wrong.append(f"a secret that is listed cannot be read: {told.code}")
        wrong += ending.converge(service, later) + ending.audit_is_whole(service)
        wrong += ending.unrecorded(service, self.history)
        findings = check(self.history)
        self._counts["undecided"] += findings.undecided
        wrong += findings.violations
