"""Nothing that was put into AWS is lost, and nothing that was deleted is left to be paid for, whoever works on a secret at once and
is killed when: every order of the calls of two at work on one secret, and kills of one of them after every call.
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from strongroom.errors import Unavailable, ValuesMissing
from strongroom.secrets_stores.aws import AwsSecretsStore
from tests.fakes.aws import AwsServer
from tests.fakes.aws_secrets_manager import Secret
from tests.integration.aws_place import SECONDS, VALUES, about_of, put, secret_key, store_at

Actor = int
Jobs = Mapping[Actor, Callable[[], object]]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Kill:
    """An actor dies when its n-th call has taken effect, before it is told."""

    actor: Actor
    call: int


class Stage:
    """A fake of AWS on which actors, each with a store of its own, make one call at a time, in an order that is chosen."""

    def __init__(self) -> None:
        self.aws = AwsServer()
        keys = [self.aws.add() for _ in range(4)]
        self.stores = [store_at(self.aws.url, secret_key(key)) for key in keys]
        for store in self.stores:
            assert list(store.scan(seconds=SECONDS)) == []  # so that all have what they need
        self._who = {key.access_key_id: actor for actor, key in enumerate(keys[:3])}
        self._changed = threading.Condition()

    @property
    def bystander(self) -> AwsSecretsStore:
        """A store whose calls nobody orders."""
        return self.stores[3]

    def secret(self, secret_id: str) -> Secret:
        """As it is in AWS."""
        return self.aws.secrets_manager.secrets[f"strongroom/d/{secret_id}"]

    def play(self, jobs: Jobs, choose: Callable[[int, int], int], kill: Kill | None) -> list[tuple[int, int]]:
        """Runs the jobs. `choose` is asked each time, how often it was asked before and for one of how many. Gives the choices."""
        self._jobs, self._kill, self._calls, self.has_killed = jobs, kill, dict.fromkeys(jobs, 0), False
        self._waiting: set[Actor] = set()
        self._running = len(jobs)
        self._turn: Actor | None = None
        self.aws.before, self.aws.after = self._before, self._after
        taken: list[tuple[int, int]] = []
        threads = [threading.Thread(target=self._act, args=(actor,)) for actor in jobs]
        for thread in threads:
            thread.start()
        try:
            while True:
                with self._changed:
                    assert self._changed.wait_for(lambda: self._running == 0, SECONDS), "an actor hangs"
                    if not self._waiting:
                        return taken
                    enabled = sorted(self._waiting)
                    choice = choose(len(taken), len(enabled))
                    taken.append((choice, len(enabled)))
                    self._turn = enabled[choice]
                    self._waiting.remove(self._turn)
                    self._running = 1
                    self._changed.notify_all()
        finally:
            for thread in threads:
                thread.join()
            self.aws.before = self.aws.after = None

    def _act(self, actor: Actor) -> None:
        try:
            self._jobs[actor]()
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _before(self, action: str, who: str) -> None:
        actor = self._who.get(who)
        if actor is None:
            return
        with self._changed:
            self._waiting.add(actor)
            self._running -= 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._turn == actor, SECONDS)
            self._turn = None
            self._calls[actor] += 1

    def _after(self, action: str, who: str) -> None:
        actor = self._who.get(who)
        if actor is not None and self._kill == Kill(actor, self._calls[actor]):
            self.has_killed = True
            raise ConnectionError


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One for all orders: each works on a secret of its own."""
    stage = Stage()
    yield stage
    stage.aws.stop()


class Plot:
    """What happened to one secret: locators that were put and acknowledged, and those of which a delete was begun."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.id = stage, f"s{next(_numbers)}"
        self.acknowledged: set[str] = set()
        self.doomed: set[str] = set()
        self.deleted: set[str] = set()
        self.read: list[bool] = []

    def before(self, *numbers: str) -> list[str]:
        """Puts versions before anything begins."""
        locators = [put(self.stage.bystander, self.id, {"number": number}) for number in numbers]
        self.acknowledged |= set(locators)
        return locators

    def schedule(self) -> None:
        """The secret is scheduled for deletion, as a kill may leave it."""
        self.stage.aws.secrets_manager.do("DeleteSecret", {"SecretId": f"strongroom/d/{self.id}"})

    def put(self, actor: Actor) -> Callable[[], None]:
        """The job to put a new version."""
        store = self.stage.stores[actor]
        locator = store.new_locator(self.id)

        def job() -> None:
            try:
                store.put(locator, VALUES, about_of(self.id), seconds=SECONDS)
            except Unavailable:
                self.doomed.add(locator)  # as good as: nobody may rely on it, and it is collected
            else:
                self.acknowledged.add(locator)

        return job

    def delete(self, actor: Actor, locator: str) -> Callable[[], None]:
        """The job to delete a version."""
        self.doomed.add(locator)

        def job() -> None:
            try:
                self.stage.stores[actor].delete(locator, seconds=SECONDS)
            except Unavailable:
                return
            self.deleted.add(locator)

        return job

    def get(self, actor: Actor, locator: str) -> Callable[[], None]:
        """The job to read a version, which may be gone if it is being deleted."""

        def job() -> None:
            try:
                self.read.append(bool(self.stage.stores[actor].get(locator, seconds=SECONDS)))
            except ValuesMissing:
                self.read.append(locator in self.doomed)
            except Unavailable:
                pass

        return job

    def check(self, *, killed: bool) -> None:
        """What was acknowledged is there. Nothing is left that has no use, after a kill when a scan has come by."""
        stage, name = self.stage, f"strongroom/d/{self.id}"
        assert all(self.read), "a reader was told that values are missing which are there"
        kept = self.acknowledged - self.doomed
        for locator in self.doomed - self.deleted:
            stage.bystander.delete(locator, seconds=SECONDS)  # the collector
        if killed:
            if name in stage.aws.secrets_manager.secrets:
                stage.secret(self.id).changed -= timedelta(days=1)
            found = {each.locator for page in stage.bystander.scan(seconds=SECONDS) for each in page}
            assert {each for each in found if each.split("/")[1] == self.id} == kept
        secret = stage.aws.secrets_manager.secrets.get(name)
        assert secret is not None or not kept
        if secret is not None:
            attempts = {each.rpartition("/")[2] for each in kept}
            assert {holder for label, holder in secret.labels.items() if label == f"strongroom-{holder}"} == attempts
            assert (secret.deleted is None) == bool(kept)
        stage.aws.secrets_manager.secrets.pop(name, None)


Scene = Callable[[Plot], Jobs]


def all_orders(stage: Stage, scene: Scene, kill: Kill | None = None) -> Iterator[bool]:
    """Plays a scene in every order of the calls; each time, whether the kill came about."""
    choices: list[int] = []
    while True:
        taken = played(stage, scene, partial(following, choices), kill)
        yield stage.has_killed
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        choices = [choice for choice, _ in taken[:-1]] + [taken[-1][0] + 1]


def following(choices: list[int], index: int, _: int) -> int:
    """These choices, and then always the first."""
    return choices[index] if index < len(choices) else 0


def some_orders(stage: Stage, scene: Scene, kill: Kill | None, count: int) -> Iterator[bool]:
    """The same for orders by chance."""
    for _ in range(count):
        played(stage, scene, lambda _, size: random.randrange(size), kill)
        yield stage.has_killed


def played(stage: Stage, scene: Scene, choose: Callable[[int, int], int], kill: Kill | None) -> list[tuple[int, int]]:
    """One play, and a look at how it ended."""
    plot = Plot(stage)
    taken = stage.play(scene(plot), choose, kill)
    plot.check(killed=kill is not None)
    return taken


def put_beside_the_last_delete(plot: Plot) -> Jobs:
    (only,) = plot.before("1")
    return {0: plot.delete(0, only), 1: plot.put(1)}


def put_into_a_scheduled_secret(plot: Plot) -> Jobs:
    (only,) = plot.before("1")
    plot.stage.bystander.delete(only, seconds=SECONDS)
    plot.doomed.add(only)
    return {0: plot.delete(0, plot.stage.stores[0].new_locator(plot.id)), 1: plot.put(1)}


def first_puts(plot: Plot) -> Jobs:
    return {0: plot.put(0), 1: plot.put(1)}


def first_put_beside_a_collector(plot: Plot) -> Jobs:
    return {0: plot.delete(0, plot.stage.stores[0].new_locator(plot.id)), 1: plot.put(1)}


def two_last_deletes(plot: Plot) -> Jobs:
    first, second = plot.before("1", "2")
    return {0: plot.delete(0, first), 1: plot.delete(1, second)}


def read_and_put_after_a_kill(plot: Plot) -> Jobs:
    (only,) = plot.before("1")
    plot.schedule()
    return {0: plot.get(0, only), 1: plot.put(1)}


def read_and_delete_after_a_kill(plot: Plot) -> Jobs:
    (only,) = plot.before("1")
    plot.schedule()
    return {0: plot.get(0, only), 1: plot.delete(1, only)}


def two_deletes_and_a_put(plot: Plot) -> Jobs:
    (only,) = plot.before("1")
    return {0: plot.delete(0, only), 1: plot.put(1), 2: plot.delete(2, plot.stage.stores[2].new_locator(plot.id))}


SMALL = [
    put_beside_the_last_delete,
    put_into_a_scheduled_secret,
    first_puts,
    first_put_beside_a_collector,
    two_last_deletes,
]
LARGE = [read_and_put_after_a_kill, read_and_delete_after_a_kill, two_deletes_and_a_put]


def name_of(scene: Scene) -> str:
    """For the test's id."""
    return scene.__name__


@pytest.mark.parametrize("scene", SMALL, ids=name_of)
def test_every_order(stage: Stage, scene: Scene) -> None:
    """Of two at work nobody loses what the other one was told is there."""
    assert len(list(all_orders(stage, scene))) > 5


@pytest.mark.parametrize("scene", LARGE, ids=name_of)
def test_orders_by_chance(stage: Stage, scene: Scene) -> None:
    """The same where there are too many orders to try all of them."""
    assert len(list(some_orders(stage, scene, None, 40))) == 40


@pytest.mark.parametrize("actor", [0, 1])
def test_every_order_and_every_kill(stage: Stage, actor: Actor) -> None:
    """Deleting the last version beside a put: whoever of the two dies after whichever call, what was acknowledged is there."""
    calls = itertools.takewhile(lambda call: any(list(all_orders(stage, SMALL[0], Kill(actor, call)))), itertools.count(1))
    assert len(list(calls)) >= (4 if actor == 0 else 2)


@pytest.mark.parametrize("actor", [0, 1])
@pytest.mark.parametrize("scene", [*SMALL[1:], *LARGE], ids=name_of)
def test_every_kill(stage: Stage, scene: Scene, actor: Actor) -> None:
    """Wherever one of them dies, the others' work stands, and what the dead one left is mended or collected."""
    calls = itertools.takewhile(lambda call: any(list(some_orders(stage, scene, Kill(actor, call), 6))), itertools.count(1))
    assert list(calls)


def test_a_scan_mends(stage: Stage) -> None:
    """What a kill left is found and put right by the next scan alone: scheduled with labels, or live without for an hour."""
    scheduled, empty, fresh = Plot(stage), Plot(stage), Plot(stage)
    (only,) = scheduled.before("1")
    scheduled.schedule()
    for plot in (empty, fresh):
        stage.aws.secrets_manager.do("CreateSecret", {"Name": f"strongroom/d/{plot.id}"})
    stage.secret(empty.id).changed -= timedelta(hours=2)
    found = {each.locator for page in stage.bystander.scan(seconds=SECONDS) for each in page}
    assert only in found
    assert stage.secret(scheduled.id).deleted is None
    assert stage.secret(empty.id).deleted is not None
    assert stage.secret(fresh.id).deleted is None, "somebody may be about to put there"


def test_a_list_that_is_late(stage: Stage) -> None:
    """AWS's list may lack what happened lately: a scan mends by what is so now, never by what the list says."""
    plot, abandoned = Plot(stage), Plot(stage)
    (only,) = plot.before("1")
    stage.secret(plot.id).changed -= timedelta(days=1)
    stage.secret(plot.id).labels.clear()
    (other,) = abandoned.before("1")
    abandoned.schedule()
    with stage.aws.secrets_manager.late_list():
        stage.secret(plot.id).labels[f"strongroom-{only.rpartition('/')[2]}"] = only.rpartition("/")[2]
        stage.bystander.delete(other, seconds=SECONDS)
        list(stage.bystander.scan(seconds=SECONDS))
    assert stage.bystander.get(only, seconds=SECONDS) == {"number": "1"}
    assert stage.secret(plot.id).deleted is None
    assert stage.secret(abandoned.id).deleted is not None
