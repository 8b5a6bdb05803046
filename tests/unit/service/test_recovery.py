"""A lost database is made anew from the stores: what comes back, what cannot, and that it says so."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from strongroom.auth.policy import Role
from strongroom.config import read_settings
from strongroom.errors import InvalidInput, Unavailable
from strongroom.models.job import JobReport, VerifySecrets
from strongroom.models.secret import Scope
from strongroom.operations import job as operations
from strongroom.secrets_stores.base import About, Capabilities
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble
from tests.canary import CANARY
from tests.people import Person, add_person
from tests.unit.service.worlds import World, locators_of

ONE, TWO, THREE = (f"{CANARY}-{each}" for each in ("one", "two", "three"))
Worlds = Callable[..., World]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf("primary")


@pytest.fixture
def worlds(tmp_path: Path, sqlite_template: Path) -> Iterator[Worlds]:
    """Opens a deployment with a new database each time; or with `on` another one's database."""
    opened: list[World] = []
    numbers = itertools.count()

    def make(*places: Shelf | None, on: World | None = None, **options: Any) -> World:
        if on is None:
            folder = tmp_path / f"state{next(numbers)}"
            shutil.copytree(sqlite_template, folder)
            (folder / "strongroom.db").unlink()
            settings = read_settings({"STRONGROOM_CONFIG_PATH": str(folder)})
        else:
            on.service.close()
            opened.remove(on)
            settings = replace(on.service.deployment.settings, database_timeout=20 + next(numbers))
        opened.append(World(settings, *places, **options))
        return opened[-1]

    yield make
    for world in opened:
        world.service.close()


def recover(world: World, lost: World, **options: Any) -> JobReport:
    return world.service.recover(lost.service.deployment.id, lambda done, total: None, **options)


def again(worlds: Worlds, world: World, *places: Shelf | None) -> Person:
    """The administrator at work in the recovered deployment."""
    opened = worlds(*places, on=world)
    return Person(opened.service, opened.service.local_actor)


def values_of(secret: Any) -> dict[str, str]:
    return {key: value.reveal() for key, value in secret.values.items()}


def is_whole(person: Person) -> bool:
    """A deep verification finds nothing."""
    jobs = person.service.jobs
    job = person.ask(operations.VERIFY, VerifySecrets(deep=True))
    jobs.wait()
    done = person.ask(operations.GET, operations.GET.request(id=job.id))
    return (done.status, done.report.failures) == ("done", [])


def test_everything_that_a_store_tells_comes_back(worlds: Worlds, shelf: Shelf) -> None:
    """Names, scopes, workspaces, keys, versions in their order and values, under the ids that they had."""
    lost = worlds(shelf)
    bob = add_person(lost.service, "bob", role=Role.ADMIN, workspace="vision")
    made = lost.alice.create("db", {"user": ONE, "password": TWO}, description="gone", labels={"team": "a"})
    for value in (TWO, THREE):
        lost.alice.update(made.id, {"user": value})
    other = bob.create("db", {"k": ONE})
    world = worlds(shelf)
    assert recover(world, lost) == JobReport(done=2)
    root = again(worlds, world, shelf)
    assert root.service.deployment.id == lost.service.deployment.id
    found = root.get_by_name("db")
    assert (found.id, found.version, values_of(found)) == (made.id, 3, {"user": THREE, "password": TWO})
    assert [values_of(root.get(made.id, number))["user"] for number in (1, 2, 3)] == [ONE, TWO, THREE]
    assert (found.description, found.labels, found.owner, found.created) == ("", {}, "default", found.created)
    assert abs((found.created - made.created).total_seconds()) < 5
    vision = replace(root, actor=msgspec.structs.replace(root.actor, workspace_id=workspace_id(root, "vision"), workspace="vision"))
    assert values_of(vision.get(other.id)) == {"k": ONE}
    assert is_whole(root)
    changed = root.update(made.id, {"user": ONE})
    assert (changed.version, values_of(root.get(made.id))) == (4, {"user": ONE, "password": TWO})
    root.delete(made.id)
    root.service.reconciler.run(5)
    assert is_whole(root)


def workspace_id(person: Person, name: str) -> str:
    from strongroom.metadata.identity import find_workspace

    with person.service.deployment.database.read() as connection:
        row = find_workspace(connection, person.actor.user_id, name)
    assert row is not None
    assert row.role == "admin"
    return row.id


def test_the_audit_trail_of_the_new_database_stays_whole(worlds: Worlds, shelf: Shelf) -> None:
    """Its key is another form of the digest key, which outlives the change of the deployment's id. A recovery is one event."""
    from strongroom.models.audit_event import ListAuditEvents, VerifyAudit
    from strongroom.operations import audit

    lost = worlds(shelf)
    lost.alice.create("s", {"k": ONE})
    world = worlds(shelf)
    gone = world.alice.create("t", {"k": ONE})
    world.alice.delete(gone.id)
    recover(world, lost, dry_run=True)
    lost_id = lost.service.deployment.id
    recover(world, lost)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.service.recover(lost_id, stop)
    root = again(worlds, world, shelf)
    report = root.ask(audit.VERIFY, VerifyAudit())
    assert (report.valid, report.events) == (True, 4)
    events = root.ask(audit.LIST, ListAuditEvents(operation="deployment.recover")).items
    assert [(each.target, each.target_id, each.outcome) for each in events] == [
        ("0 restored, 0 failed, 1 skipped", lost_id, "interrupted"),
        ("1 restored, 0 failed, 0 skipped", lost_id, "ok"),
    ]


def test_a_dry_run_changes_nothing(worlds: Worlds, shelf: Shelf) -> None:
    """And says the same."""
    lost = worlds(shelf)
    lost.alice.create("s", {"k": ONE}, Scope.USER)
    lost.alice.create("t", {"k": ONE})
    world = worlds(shelf)
    before = world.service.deployment.id
    report = recover(world, lost, dry_run=True)
    assert (report.done, report.failed, len(report.failures)) == (1, 1, 1)
    root = again(worlds, world, shelf)
    assert (root.service.deployment.id, root.list().total) == (before, 0)
    assert root.service.recover(lost.service.deployment.id, lambda done, total: None) == report


def test_it_is_cut_off_and_run_again(worlds: Worlds, shelf: Shelf) -> None:
    """What is there is skipped, the rest is restored; once more there is nothing to do."""
    lost = worlds(shelf)
    for number in range(100):
        lost.alice.create(f"s{number}", {"k": ONE})
    world = worlds(shelf)

    def stop(done: int, total: int) -> None:
        assert total == 100
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.service.recover(lost.service.deployment.id, stop)
    first = recover(world, lost)
    assert first == JobReport(done=36, skipped=64)
    assert recover(world, lost) == JobReport(skipped=100)
    root = again(worlds, world, shelf)
    assert root.list().total == 100
    root.delete(root.get_by_name("s1").id)
    assert root.service.recover(lost.service.deployment.id, lambda done, total: None) == JobReport(skipped=99)
    assert root.list().total == 99
    root.service.reconciler.run(5)
    assert is_whole(root)


def test_names_are_those_of_the_newest_version(worlds: Worlds, shelf: Shelf) -> None:
    """A rename is known to the store by the version that followed; one that none followed is forgotten, and so is a roll-back."""
    lost = worlds(shelf)
    renamed, forgotten, rolled = (lost.alice.create(name, {"k": ONE}) for name in ("a", "b", "c"))
    lost.alice.update(renamed.id, name="new-a")
    lost.alice.update(renamed.id, {"k": TWO})
    lost.alice.update(forgotten.id, name="new-b")
    lost.alice.update(rolled.id, {"k": TWO})
    lost.alice.rollback(rolled.id, 1)
    world = worlds(shelf)
    assert recover(world, lost).failed == 0
    root = again(worlds, world, shelf)
    assert {each.name: each.id for each in root.list().items} == {"new-a": renamed.id, "b": forgotten.id, "c": rolled.id}
    assert root.get(rolled.id).version == 2


def test_two_secrets_of_one_name(worlds: Worlds, shelf: Shelf) -> None:
    """The newer one keeps it; the other one is called something else, and is listed."""
    lost = worlds(shelf)
    old = lost.alice.create("s", {"k": ONE})
    lost.alice.update(old.id, name="t")
    new = lost.alice.create("s", {"k": TWO})
    world = worlds(shelf)
    report = recover(world, lost)
    (failure,) = report.failures
    assert (report.done, report.failed, failure.name, failure.id) == (1, 1, "s", old.id)
    root = again(worlds, world, shelf)
    assert root.get_by_name("s").id == new.id
    other = f"s-{old.id.replace('-', '')[-12:]}"
    assert values_of(root.get_by_name(other)) == {"k": ONE}
    assert f"'{other}'" in failure.error


def test_private_secrets_go_to_the_administrator(worlds: Worlds, shelf: Shelf) -> None:
    """Nobody knows whose they were. Under names of their own, so that they stand before no secret of the workspace."""
    lost = worlds(shelf)
    bob = add_person(lost.service, "bob")
    lost.alice.create("token", {"k": ONE})
    mine, his = lost.alice.create("token", {"k": TWO}, Scope.USER), bob.create("token", {"k": THREE}, Scope.USER)
    world = worlds(shelf)
    report = recover(world, lost)
    assert (report.done, report.failed, {each.id for each in report.failures}) == (1, 2, {mine.id, his.id})
    root = again(worlds, world, shelf)
    assert values_of(root.get_by_name("token")) == {"k": ONE}
    for secret, value in ((mine, TWO), (his, THREE)):
        found = root.get_by_name(f"token-{secret.id.replace('-', '')[-12:]}")
        assert (found.scope, values_of(found)) == ("user", {"k": value})
    eve = add_person(root.service, "eve")
    assert eve.list().total == 1
    assert is_whole(root)


def test_damaged_values_are_left_out_and_named(worlds: Worlds, shelf: Shelf) -> None:
    """A version among others, the newest one, and the only one there is."""
    lost = worlds(shelf)
    older, newest, only = (lost.alice.create(name, {"k": ONE}) for name in ("older", "newest", "only"))
    for secret in (older, newest):
        lost.alice.update(secret.id, {"k": TWO})
    locators = {secret.id: sorted(each for each in lost.locators_on(shelf) if secret.id in each) for secret in (older, newest, only)}
    for locator in (locators[older.id][0], locators[newest.id][1], locators[only.id][0]):
        shelf.damage(locator)
    world = worlds(shelf)
    report = recover(world, lost)
    assert (report.done, report.failed, {each.name for each in report.failures}) == (0, 3, {"older", "newest", "only"})
    assert {each.id: each.error for each in report.failures} == {
        older.id: f"{locators[older.id][0]} in memory:primary is damaged",
        newest.id: f"{locators[newest.id][1]} in memory:primary is damaged",
        only.id: f"{locators[only.id][0]} in memory:primary is damaged",
    }
    root = again(worlds, world, shelf)
    assert values_of(root.get(older.id)) == {"k": TWO}
    assert values_of(root.get(newest.id)) == {"k": ONE}
    assert root.list().total == 2


def test_a_put_that_nobody_acknowledged(worlds: Worlds, shelf: Shelf) -> None:
    """It looks like any other, and comes back as the newest version; what does not describe itself does not come back."""

    class Undescribed(MemorySecretsStore):
        def scan(self, *, seconds: float) -> Iterator[Any]:
            for page in super().scan(seconds=seconds):
                yield [replace(found, about=None) if found.about and found.about.name == "half" else found for found in page]

    lost = worlds(shelf)
    made = lost.alice.create("s", {"k": ONE})
    store = MemorySecretsStore(lost.service.deployment.id, shelf)
    about = About(deployment_id=lost.service.deployment.id, secret_id=made.id, name="s", scope="workspace", workspace="default")
    store.put(store.new_locator(made.id), {"k": TWO}, about, seconds=1)
    half = store.new_locator(made.id)
    store.put(half, {"k": THREE}, replace(about, name="half"), seconds=1)
    world = worlds(shelf, kind=Undescribed)
    report = recover(world, lost)
    assert (report.done, report.failed) == (1, 1)
    assert report.failures[0].error == f"{half} in memory:primary does not say whose it is"
    root = again(worlds, world, shelf)
    assert values_of(root.get(made.id)) == {"k": TWO}


def test_names_that_nobody_may_bear(worlds: Worlds, shelf: Shelf) -> None:
    """What somebody wrote into a store by other means is restored under a name that can be used, and printed harmlessly."""
    lost = worlds(shelf)
    lost.alice.create("s", {"k": ONE})
    store = MemorySecretsStore(lost.service.deployment.id, shelf)
    secret_id = "01a2024b-0000-7000-8000-00000000abcd"
    about = About(deployment_id=lost.service.deployment.id, secret_id=secret_id, name="a\x1b[0m.b", scope="x", workspace="../w")
    store.put(store.new_locator(secret_id), {"k": TWO}, about, seconds=1)
    world = worlds(shelf)
    report = recover(world, lost)
    assert (report.done, report.failed, len(report.failures)) == (1, 1, 2)
    assert all(each.name.isprintable() and each.id == secret_id for each in report.failures)
    root = again(worlds, world, shelf)
    assert values_of(root.get_by_name("recovered-00000000abcd")) == {"k": TWO}


def test_two_stores_tell_more_than_one(worlds: Worlds, shelf: Shelf) -> None:
    """Copies become placements of one version; what only one of the stores holds is restored from there, in its place."""
    backup = Shelf("backup")
    lost = worlds(shelf)
    made = lost.alice.create("s", {"k": ONE})
    both = worlds(shelf, backup, on=lost)
    alice = replace(lost.alice, service=both.service)
    alice.update(made.id, {"k": TWO})
    with shelf.trouble(Trouble.UNAVAILABLE):
        alice.update(made.id, {"k": THREE})
    alice.update(made.id, {"k": ONE})
    both.service.reconciler._survey()
    both.reconcile(0)  # the first version and the third are copied last
    world = worlds(shelf, backup)
    assert recover(world, both) == JobReport(done=1)
    root = again(worlds, world, shelf, backup)
    assert [values_of(root.get(made.id, number))["k"] for number in (1, 2, 3, 4)] == [ONE, TWO, THREE, ONE]
    assert root.get(made.id).version == 4
    assert all(len(version.placements) == 2 for version in root.versions(made.id).items)
    assert is_whole(root)


def test_where_nothing_can_be_recovered(worlds: Worlds, shelf: Shelf) -> None:
    """A database that is in use, a store of nothing, a wrong id, a store that cannot tell, values in the database: each is said."""
    lost = worlds(shelf)
    lost.alice.create("s", {"k": ONE})
    used = worlds(shelf)
    used.alice.create("t", {"k": ONE})
    with pytest.raises(InvalidInput, match="has 1 secret of its own"):
        recover(used, lost)
    with pytest.raises(InvalidInput, match="has 1 secret of its own"):
        recover(lost, lost)
    empty = worlds(Shelf("empty"))
    before = empty.service.deployment.id
    with pytest.raises(InvalidInput, match="memory:empty holds nothing of the deployment"):
        recover(empty, lost)
    with pytest.raises(InvalidInput, match="is a UUID"):
        empty.service.recover("../x", lambda done, total: None)
    with shelf.trouble(Trouble.UNAVAILABLE), pytest.raises(Unavailable):
        recover(worlds(shelf), lost)
    in_database = worlds(None)
    with pytest.raises(InvalidInput, match="in the lost database itself"):
        recover(in_database, lost)

    class Silent(MemorySecretsStore):
        @property
        def capabilities(self) -> Capabilities:
            return replace(super().capabilities, scan_describes=False)

    silent = worlds(shelf, kind=Silent)
    with pytest.raises(InvalidInput, match="does not tell whose values it holds"):
        recover(silent, lost)
    with pytest.raises(InvalidInput, match="does not tell whose values it holds"):
        silent.service.list_deployments()
    assert again(worlds, empty, shelf).service.deployment.id == before


def test_the_deployments_of_a_store_are_listed(worlds: Worlds, shelf: Shelf) -> None:
    """Those that have something there."""
    ids = []
    for _ in range(2):
        world = worlds(shelf)
        world.alice.create("s", {"k": ONE})
        ids.append(world.service.deployment.id)
    assert worlds(shelf).service.list_deployments() == {"memory:primary": sorted(ids)}


def test_a_store_that_fails_in_the_middle(worlds: Worlds, shelf: Shelf) -> None:
    """It stops there, and goes on when it is run again."""

    class Failing(MemorySecretsStore):
        left = 10

        def get(self, locator: str, *, seconds: float) -> dict[str, str]:
            type(self).left -= 1
            if type(self).left < 0:
                raise Unavailable("no more")
            return super().get(locator, seconds=seconds)

    lost = worlds(shelf)
    for number in range(20):
        lost.alice.create(f"s{number}", {"k": ONE})
    world = worlds(shelf, kind=Failing)
    with pytest.raises(Unavailable):
        recover(world, lost)
    Failing.left = 1_000
    report = recover(world, lost)
    assert report.failed == 0
    assert again(worlds, world, shelf).list().total == 20


def forget_numbers(shelf: Shelf, *secret_ids: str) -> None:
    """Makes descriptions what a former release wrote."""
    with shelf._lock:
        for locator, item in shelf._items.items():
            if item.about.secret_id in secret_ids:
                shelf._items[locator] = replace(item, about=replace(item.about, version=None))


def add(world: World, shelf: Shelf, about: About, value: str) -> str:
    """Puts values behind the index's back; the locator."""
    store = MemorySecretsStore(world.service.deployment.id, shelf)
    locator = store.new_locator(about.secret_id)
    store.put(locator, {"k": value}, about, seconds=1)
    return locator


def about_of(world: World, secret: Any, number: int | None) -> About:
    """What a put says of a version."""
    return About(
        deployment_id=world.service.deployment.id,
        secret_id=secret.id,
        name=secret.name,
        scope="workspace",
        workspace="default",
        version=number,
    )


def history(root: Person, secret_id: str) -> dict[int, str]:
    """Number to value."""
    return {each.version: values_of(root.get(secret_id, each.version))["k"] for each in reversed(root.versions(secret_id).items)}


def test_a_copy_of_an_old_version_is_not_the_newest(worlds: Worlds, shelf: Shelf) -> None:
    """From the backup store alone, to which older versions were copied after newer ones were written; names are the latest."""
    backup = Shelf("backup")
    lost = worlds(shelf)
    made = lost.alice.create("s", {"k": ONE})
    lost.alice.update(made.id, {"k": TWO})
    both = worlds(shelf, backup, on=lost)
    alice = replace(lost.alice, service=both.service)
    alice.update(made.id, {"k": THREE})
    alice.update(made.id, name="renamed")
    both.service.reconciler._survey()
    both.reconcile(0)
    assert both.on(backup) == 3
    world = worlds(backup)
    assert recover(world, both) == JobReport(done=1)
    root = again(worlds, world, backup)
    assert (root.get_by_name("renamed").version, history(root, made.id)) == (3, {1: ONE, 2: TWO, 3: THREE})
    created = [each.created for each in root.versions(made.id).items]
    assert created == sorted(created, reverse=True)
    assert is_whole(root)


def test_versions_keep_their_numbers(worlds: Worlds, shelf: Shelf) -> None:
    """Whoever asks for version 7 gets what was version 7, also when older ones were pruned; the next one is the next number."""
    lost = worlds(shelf)
    made = lost.alice.create("s", {"k": "v1"})
    for number in range(2, 15):
        lost.alice.update(made.id, {"k": f"v{number}"})
    lost.reconcile()
    world = worlds(shelf)
    recover(world, lost)
    root = again(worlds, world, shelf)
    assert history(root, made.id) == {number: f"v{number}" for number in range(5, 15)}
    assert root.update(made.id, {"k": ONE}).version == 15
    assert is_whole(root)


def test_versions_without_numbers_are_in_the_order_of_their_attempts(worlds: Worlds, shelf: Shelf) -> None:
    """Those of a former release, with and without later ones that have numbers."""
    lost = worlds(shelf)
    old, mixed = (lost.alice.create(name, {"k": ONE}) for name in ("old", "mixed"))
    for secret in (old, mixed):
        lost.alice.update(secret.id, {"k": TWO})
        lost.alice.update(secret.id, {"k": ONE})
    forget_numbers(shelf, old.id, mixed.id)
    lost.alice.update(mixed.id, {"k": THREE})
    backup = Shelf("backup")
    both = worlds(shelf, backup, on=lost)
    both.service.reconciler._survey()
    both.reconcile(0)
    world = worlds(shelf, backup)
    assert recover(world, both) == JobReport(done=2)
    root = again(worlds, world, shelf, backup)
    assert history(root, old.id) == {1: ONE, 2: TWO, 3: ONE}
    assert history(root, mixed.id) == {1: ONE, 2: TWO, 3: ONE, 4: THREE}
    assert all(len(version.placements) == 2 for each in (old, mixed) for version in root.versions(each.id).items)
    assert is_whole(root)


def test_writes_that_lost(worlds: Worlds, shelf: Shelf) -> None:
    """What hoped for the number of another version is never the newest one when a later one is there; nothing is thrown away.

    The same values of the same version at two locators are one version.
    """
    lost = worlds(shelf)
    made = lost.alice.create("s", {"k": ONE})
    lost.alice.update(made.id, {"k": TWO})
    lost.alice.update(made.id, {"k": THREE})
    late = lost.alice.get_by_name("s")
    add(lost, shelf, about_of(lost, late, 2), "late")
    add(lost, shelf, about_of(lost, late, 3), THREE)
    add(lost, shelf, about_of(lost, late, 2_000_000_000), "no such number")
    add(lost, shelf, about_of(lost, late, -1), "nor this one")
    forget_numbers(shelf)
    world = worlds(shelf)
    assert recover(world, lost) == JobReport(done=1)
    root = again(worlds, world, shelf)
    assert history(root, made.id) == {1: ONE, 2: TWO, 3: "late", 4: THREE, 5: "no such number", 6: "nor this one"}
    root.service.reconciler.run(5)
    assert is_whole(root)
    assert len(locators_of(MemorySecretsStore(lost.service.deployment.id, shelf))) == 6
