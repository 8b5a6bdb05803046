"""Two stores: what one is behind by is copied, a move stays moved, and backup, restore and verification do what they say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import time_machine
from sqlalchemy import delete, event, text, update

from strongroom.config import Settings
from strongroom.db.tables import copies, deletions, placements, sql_values
from strongroom.errors import Forbidden, InvalidInput, NotFound, Unavailable, UnderWay, ValuesCorrupt, ValuesMissing
from strongroom.metadata import lease, placement
from strongroom.models.info import GetInfo
from strongroom.models.job import BackUpSecrets, CancelJob, GetJob, Job, JobStatus, ListJobs, RestoreSecrets, VerifySecrets
from strongroom.operations import info as of_info
from strongroom.operations import job as operations
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.job import LEASE, LEASE_SECONDS
from strongroom.service.reconciler import LEASE as RECONCILER
from strongroom.service.reconciler import LEASE_SECONDS as RECONCILER_SECONDS
from tests.canary import CANARY
from tests.people import Person
from tests.unit.service.worlds import World, later_than_now

ONE, TWO, THREE = (f"{CANARY}-{each}" for each in ("one", "two", "three"))
Worlds = Callable[..., World]


@pytest.fixture
def primary() -> Shelf:
    return Shelf("primary")


@pytest.fixture
def backup() -> Shelf:
    return Shelf("backup")


@pytest.fixture
def worlds(local_settings: Settings) -> Iterator[Worlds]:
    """Opens the deployment with these stores, and closes what was open before."""
    opened: list[World] = []

    def make(*places: Shelf | None, **options: Any) -> World:
        if opened:
            opened[-1].service.close()
        settings = replace(local_settings, database_timeout=10 + len(opened))  # so that it is not the open one
        opened.append(World(settings, *places, **options))
        return opened[-1]

    yield make
    opened[-1].service.close()


@pytest.fixture(params=["two shelves", "sql first", "sql second"])
def world(request: pytest.FixtureRequest, worlds: Worlds, primary: Shelf, backup: Shelf) -> World:
    """A deployment with two stores."""
    return {
        "two shelves": lambda: worlds(primary, backup),
        "sql first": lambda: worlds(None, backup),
        "sql second": lambda: worlds(primary, None),
    }[request.param]()


def values_of(secret: Any) -> dict[str, str]:
    return {key: value.reveal() for key, value in secret.values.items()}


def ended(world: World, operation: Any, request: Any) -> Job:
    """The job when it has ended."""
    root = world.service.local_actor
    job: Job = world.service.dispatcher.call(operation, request, root)
    world.service.jobs.wait()
    return world.service.dispatcher.call(operations.GET, GetJob(id=job.id), root)


def back_up(world: World, **options: Any) -> Job:
    return ended(world, operations.BACK_UP, BackUpSecrets(**options))


def restore(world: World, **options: Any) -> Job:
    return ended(world, operations.RESTORE, RestoreSecrets(**options))


def verify(world: World, **options: Any) -> Job:
    return ended(world, operations.VERIFY, VerifySecrets(**options))


def clean(world: World) -> bool:
    """Nothing is left over, and a deep verification finds nothing."""
    converged = world.is_clean()
    job = verify(world, deep=True)
    return converged and job.status is JobStatus.DONE and job.report.failures == []


def test_both_stores_get_every_version(world: World) -> None:
    """And give it back alone, too."""
    made = world.alice.create("s", {"k": ONE})
    world.alice.update(made.id, {"k": TWO})
    assert [len(version.placements) for version in world.alice.versions(made.id).items] == [2, 2]
    for shelf in world.shelves:
        with shelf.trouble(Trouble.UNAVAILABLE):
            if len(world.shelves) == 1 or shelf is world.shelves[0]:
                assert values_of(world.alice.get(made.id)) == {"k": TWO}
    assert clean(world)


@pytest.mark.parametrize("trouble", [Trouble.UNAVAILABLE, Trouble.REPLY_LOST, Trouble.HANGS])
def test_a_store_that_was_away_is_caught_up(world: World, trouble: Trouble) -> None:
    """A write that only one store took is acknowledged and read; the other one gets it when it is back, without anyone asking."""
    made = world.alice.create("s", {"k": ONE})
    with world.shelves[0].trouble(trouble):
        world.alice.update(made.id, {"k": TWO})
        assert values_of(world.alice.get(made.id)) == {"k": TWO}
        other = world.alice.create("t", {"k": THREE})
        assert world.count(copies) == 2
        assert sorted(each.state for each in world.alice.versions(other.id).items[0].placements) == ["behind", "present"]
        assert sorted(store.behind for store in world.alice.ask(of_info.INFO, GetInfo()).stores) == [0, 2]
        world.reconcile(0)
        assert world.count(copies) == 2
    assert values_of(world.alice.get(made.id)) == {"k": TWO}
    world.reconcile(0)
    assert world.count(copies) == 0
    assert [each.state for each in world.alice.versions(other.id).items[0].placements] == ["present"] * 2
    assert clean(world)


def test_what_was_owed_and_is_deleted_is_not_copied(world: World) -> None:
    """Nor does it come back."""
    with world.shelves[0].trouble(Trouble.UNAVAILABLE):
        made = world.alice.create("s", {"k": ONE})
        world.alice.delete(made.id)
    assert clean(world)
    assert world.count(placements) == 0


def test_only_one_process_reconciles(worlds: Worlds, primary: Shelf, backup: Shelf, local_settings: Settings) -> None:
    """Others wait until its lease is over, or given back."""
    world = worlds(primary, backup)
    other = World(replace(local_settings, database_timeout=20), primary, backup)
    assert world.service.reconciler.run(5) is not None
    assert other.service.reconciler.run(5) is None
    world.service.reconciler.give_lease_back()
    assert other.service.reconciler.run(5) is not None
    assert world.service.reconciler.run(5) is None
    with time_machine.travel(later_than_now(120), tick=False):
        assert world.service.reconciler.run(5) is not None
        with world.service.deployment.database.read() as connection:
            assert lease.holder_of(connection, RECONCILER, RECONCILER_SECONDS) is not None
    other.service.close()


@pytest.mark.parametrize("into_sql", [False, True])
def test_a_backup_copies_everything(worlds: Worlds, primary: Shelf, backup: Shelf, into_sql: bool) -> None:
    """All versions of everybody's secrets, in counts; again it has nothing to do. Then the backup alone is enough."""
    world = worlds(primary)
    names = [f"s{number}" for number in range(70)]  # more than a page
    for name in names:
        made = world.alice.create(name, {"k": name})
    world.alice.update(made.id, {"k": "newer"})
    both = worlds(primary, None if into_sql else backup)
    first = back_up(both)
    assert (first.status, first.total) == (JobStatus.DONE, 70)
    assert (first.report.done, first.report.failed, first.report.skipped) == (70, 0, 0)
    again = back_up(both)
    assert (again.report.done, again.report.failed, again.report.skipped) == (0, 0, 70)
    assert clean(both)
    world = worlds(None if into_sql else backup)
    names[-1] = "newer"
    found = {secret.name: values_of(world.service.dispatcher.call(operations_get(), get(secret.id), world.alice.actor))["k"]
             for secret in world.alice.list(size=100).items}  # fmt: skip
    assert sorted(found.values()) == sorted(names)


def operations_get() -> Any:
    from strongroom.operations import secret as of_secret

    return of_secret.GET


def get(secret_id: str) -> Any:
    from strongroom.models.secret import GetSecret

    return GetSecret(id=secret_id)


def test_a_move_stays_moved(world: World) -> None:
    """With `delete_secrets` the primary is empty, reads come from the backup, and nothing comes back by itself."""
    made = world.alice.create("s", {"k": ONE})
    world.alice.update(made.id, {"k": TWO})
    job = back_up(world, delete_secrets=True)
    assert (job.report.done, job.report.failed) == (1, 0)
    world.reconcile()
    first = world.service.placements.stores[0].store_id
    assert world.count(placements, placements.c.store_id == first, placements.c.state == "present") == 0
    assert values_of(world.alice.get(made.id)) == {"k": TWO}
    assert values_of(world.alice.get(made.id, 1)) == {"k": ONE}
    world.service.reconciler._survey()
    assert world.count(copies) == 0
    assert clean(world)
    world.alice.update(made.id, {"k": THREE})
    assert [
        len([each for each in version.placements if each.state == "present"]) for version in world.alice.versions(made.id).items
    ] == [2, 1, 1]
    job = restore(world)
    assert (job.report.done, job.report.failed) == (1, 0)
    assert world.count(placements, placements.c.state == "emptied") == 0
    assert values_of(world.alice.get(made.id)) == {"k": THREE}
    assert clean(world)


def test_what_was_moved_while_it_was_still_to_be_copied_does_not_come(world: World) -> None:
    """A version that the source of a move never got, since it was away, is not copied there afterwards."""
    with world.shelves[0].trouble(Trouble.UNAVAILABLE):
        made = world.alice.create("s", {"k": ONE})
    first, second = world.service.placements.stores
    move = back_up if first.external is not None else restore
    source = first if first.external is not None else second
    assert move(world, delete_secrets=True).report.failures == []
    world.reconcile()
    assert world.count(copies) == 0
    assert world.count(placements, placements.c.store_id == source.store_id, placements.c.state == "present") == 0
    assert values_of(world.alice.get(made.id)) == {"k": ONE}
    assert clean(world)
    back = restore if move is back_up else back_up
    assert back(world).report.failures == []
    assert world.count(placements, placements.c.state == "present") == 2
    assert clean(world)


def test_a_moved_secret_is_changed_and_deleted_while_its_former_store_is_away(world: World) -> None:
    """What is still to be deleted there stands in nobody's way: versions are pruned and secrets deleted."""
    made = world.alice.create("s", {"k": ONE})
    assert back_up(world, delete_secrets=True).report.failures == []
    for number in range(12):
        world.alice.update(made.id, {"k": f"{ONE}-{number}"})
    assert world.alice.versions(made.id).items[-1].version > 1
    back_up(world, delete_secrets=True)
    world.alice.delete(made.id)
    assert world.alice.list().total == 0
    assert clean(world)


def test_what_was_moved_away_stands_in_nobodys_way(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """While the store that it was moved from does not answer, or is not configured any more, the secret changes and goes."""
    world = worlds(primary, backup)
    changed, deleted = (world.alice.create(name, {"k": ONE}) for name in "ab")
    assert back_up(world, delete_secrets=True).report.failed == 0
    alone = worlds(backup)
    for number in range(alone.service.deployment.settings.keep_versions + 2):
        alone.alice.update(changed.id, {"k": str(number)})
    alone.alice.delete(deleted.id)
    alone.reconcile()
    world = worlds(primary, backup)
    assert restore(world).report.failed == 0
    assert clean(world)


def test_deleted_while_it_is_copied(postgresql_settings: Settings) -> None:
    """Whoever deletes a secret, or changes it so that old versions go, waits for the copy, which then goes too."""
    world = World(postgresql_settings, None)
    made = world.alice.create("s", {"k": ONE})
    database = world.service.deployment.database
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            placement.ensure_store(connection, "elsewhere", "memory", 1)
            assert placement.place(connection, (made.id, 1), "elsewhere", "x")
            done = pool.submit(world.alice.delete, made.id)
            while not done.done():
                with database.read() as other:
                    if other.execute(waiting).scalar_one():
                        break
        done.result(30)
    assert world.count(placements) == 0
    assert world.count(deletions) == 1
    world.service.close()


def test_a_restore_never_goes_back_in_time(world: World) -> None:
    """What was written since stays, wherever it lies."""
    made = world.alice.create("s", {"k": ONE})
    back_up(world)
    with world.shelves[-1].trouble(Trouble.UNAVAILABLE):
        world.alice.update(made.id, {"k": TWO})
    restore(world)
    assert values_of(world.alice.get(made.id)) == {"k": TWO}
    assert clean(world)


@pytest.mark.parametrize("lost", ["primary", "backup"])
def test_a_store_that_was_lost_is_filled_again(lost: str, worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """What somebody took out of a store, by `restore` if it is the primary one, by `backup` if not; nothing else is done twice."""
    world = worlds(primary, backup)
    for number in range(70):
        made = world.alice.create(f"s{number}", {"k": f"{CANARY}-{number}"})
    world.alice.update(made.id, {"k": ONE})
    assert restore(world).report.skipped == back_up(world).report.skipped == 70
    shelf = {"primary": primary, "backup": backup}[lost]
    store = MemorySecretsStore(world.service.deployment.id, shelf)
    spared = {name for name in world.locators_on(shelf) if made.id in name}
    for locator in world.locators_on(shelf):
        if locator not in spared:
            store.delete(locator, seconds=1)
    job = restore(world) if lost == "primary" else back_up(world)
    assert (job.status, job.report.done, job.report.skipped, job.report.failed) == (JobStatus.DONE, 69, 1, 0)
    assert spared <= set(world.locators_on(shelf))
    assert clean(world)


def test_without_the_right_to_list_the_index_is_believed(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """A backup store that refuses everything is told of as before: by the secrets that could not be copied."""
    world = worlds(primary)
    world.alice.create("before", {"k": ONE})
    both = worlds(primary, backup)
    both.alice.create("s", {"k": ONE})
    with backup.trouble(Trouble.FORBIDDEN):
        job = back_up(both)
    assert (job.status, job.report.done, job.report.skipped, job.report.failed) == (JobStatus.DONE, 0, 1, 1)


def test_only_what_was_read_back_is_deleted(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """A version whose copy is damaged stays in the primary store, and is named; one whose copy is gone is copied again first."""
    world = worlds(primary, backup)
    made = [world.alice.create(name, {"k": name}) for name in ("damaged", "gone", "fine")]
    locators = {secret.id: next(each for each in world.locators_on(backup) if secret.id in each) for secret in made}
    backup.damage(locators[made[0].id])
    MemorySecretsStore("x", backup).delete(locators[made[1].id], seconds=1)
    job = back_up(world, delete_secrets=True)
    assert (job.status, job.report.done, job.report.failed) == (JobStatus.DONE, 2, 1)
    assert [failure.name for failure in job.report.failures] == ["damaged"]
    world.reconcile()
    assert world.on(primary) == 1
    for secret in made:
        assert values_of(world.alice.get(secret.id)) == {"k": secret.name}


def test_a_failure_ends_a_job_that_is_not_to_ignore_it(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """And names it; one that ignores errors goes on and counts."""
    world = worlds(primary)
    for name in "ab":
        world.alice.create(name, {"k": name})
    for locator in world.locators_on(primary):
        primary.damage(locator)
    both = worlds(primary, backup)
    job = back_up(both, ignore_errors=False)
    assert (job.status, job.report.failed) == (JobStatus.FAILED, 1)
    assert "secret 'a', version 1" in str(job.error)
    job = back_up(both)
    assert (job.status, job.report.failed, [each.name for each in job.report.failures]) == (JobStatus.DONE, 2, ["a", "b"])


def test_verification_finds_what_is_wrong_and_mends_it(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """Missing, corrupt, exchanged, not copied and unknown values; afterwards all is well."""
    world = worlds(primary, backup)
    made = {name: world.alice.create(name, {"k": name}) for name in ("missing", "corrupt", "exchanged", "fine")}
    with backup.trouble(Trouble.UNAVAILABLE):
        made["behind"] = world.alice.create("behind", {"k": ONE})
    store = MemorySecretsStore(world.service.deployment.id, primary)
    locators = {name: next(each for each in world.locators_on(primary) if secret.id in each) for name, secret in made.items()}
    store.delete(locators["missing"], seconds=1)
    primary.damage(locators["corrupt"])
    about = About(deployment_id=world.service.deployment.id, secret_id="x", name="x", scope="workspace", workspace="default")
    store.delete(locators["exchanged"], seconds=1)
    store.put(locators["exchanged"], {"k": "other"}, about, seconds=1)
    extra = store.new_locator("x")
    store.put(extra, {"k": ONE}, about, seconds=1)
    found = {failure.name: failure.error for failure in verify(world).report.failures}
    assert set(found) == {"missing", "behind", ""}
    deep = verify(world, deep=True)
    found = {failure.name: failure.error for failure in deep.report.failures}
    assert (deep.report.done, deep.report.failed) == (1, 5)
    assert {name: text.partition(" in ")[0] for name, text in found.items()} == {
        "missing": "version 1: missing", "corrupt": "version 1: corrupt", "exchanged": "version 1: corrupt",
        "behind": "version 1: not copied", "": f"extra: {extra}",
    }  # fmt: skip
    mended = verify(world, deep=True, repair=True)
    assert (mended.report.done, mended.report.failed) == (5, 1)
    assert clean(world)
    assert values_of(world.alice.get(made["exchanged"].id)) == {"k": "exchanged"}


def test_verification_of_the_database_itself(worlds: Worlds, backup: Shelf) -> None:
    """Sealed values that were deleted, changed or that nobody knows are found, and mended from the backup."""
    world = worlds(None, backup)
    made = {name: world.alice.create(name, {"k": name}) for name in ("missing", "corrupt", "fine")}
    with world.service.deployment.database.write() as connection:
        connection.execute(delete(sql_values).where(sql_values.c.secret_id == made["missing"].id))
        connection.execute(update(sql_values).where(sql_values.c.secret_id == made["corrupt"].id).values(sealed=b"x" * 80))
    assert [failure.name for failure in verify(world).report.failures] == ["missing"]
    assert sorted(failure.name for failure in verify(world, deep=True).report.failures) == ["corrupt", "missing"]
    assert values_of(world.alice.get(made["corrupt"].id)) == {"k": "corrupt"}
    assert verify(world, deep=True, repair=True).report.failures == []
    assert clean(world)


@pytest.mark.parametrize("into_sql", [False, True])
def test_what_is_deleted_while_one_looks_is_not_extra(worlds: Worlds, primary: Shelf, into_sql: bool) -> None:
    """A secret that goes between the look at the store and that at the index is nothing to wonder about."""
    gone: list[str] = []

    def go() -> None:
        while gone:
            world.alice.delete(gone.pop())
            world.reconcile(0)

    class Late(MemorySecretsStore):
        def scan(self, *, seconds: float) -> Iterator[Any]:
            for page in super().scan(seconds=seconds):
                go()
                yield page

    class LateSql(SqlSecretsStore):
        def scan(self, connection: Any, after: str, limit: int) -> list[Any]:
            found = super().scan(connection, after, limit)
            go()
            return found

    world = worlds(None if into_sql else primary, kind=Late)
    world.service.jobs._transfers._sql = LateSql(world.service.deployment.keys)
    gone.append(world.alice.create("s", {"k": ONE}).id)
    world.alice.create("t", {"k": ONE})
    job = verify(world, deep=True)
    assert (job.report.done, job.report.failures, gone) == (1, [], [])


@pytest.mark.parametrize("where", ["memory:primary", "memory:backup"])
def test_what_is_deleted_meanwhile_has_not_failed(worlds: Worlds, primary: Shelf, backup: Shelf, where: str) -> None:
    """A secret that goes just before a backup reads it, or reads it back, is none of which the backup has to tell."""
    gone: list[str] = []

    class Late(MemorySecretsStore):
        def get(self, locator: str, *, seconds: float) -> dict[str, str]:
            while gone and self.store_id == where and gone[0] in locator:
                world.alice.delete(gone.pop())
                world.reconcile(0)
            return super().get(locator, seconds=seconds)

    former = worlds(primary) if where == "memory:primary" else worlds(primary, backup)
    made = [former.alice.create(name, {"k": ONE}).id for name in "st"]
    world = worlds(primary, backup, kind=Late)
    world.alice = former.alice
    gone.append(made[0])
    report = back_up(world, delete_secrets=True).report
    assert (gone, report.failures, report.done, report.failed, report.skipped) == ([], [], 1, 0, 1)
    assert clean(world)
    assert (world.on(primary), world.on(backup)) == (0, 1)


def test_what_is_placed_while_one_looks_is_not_extra(postgresql_settings: Settings) -> None:
    """A put that is claimed between two looks at the index is known all the time."""
    world = World(postgresql_settings, None)
    made = world.alice.create("s", {"k": ONE})
    database, pair = world.service.deployment.database, ("elsewhere", "x")
    with database.write() as connection:
        placement.ensure_store(connection, "elsewhere", "memory", 1)
        placement.announce(connection, [pair], 1)

    def land(*_: object) -> None:
        with database.write() as other:
            if placement.claim(other, [pair]):
                assert placement.place(other, (made.id, 1), *pair)

    with database.read() as connection:
        event.listen(connection, "after_cursor_execute", land)
        assert placement.named_locators(connection, [pair[1]]) == {"x"}
        event.remove(connection, "after_cursor_execute", land)
    assert world.count(placements, placements.c.locator == "x") == 1
    world.service.close()


def test_what_cannot_be_mended_is_said(worlds: Worlds, primary: Shelf) -> None:
    """There is no other store that has it."""
    world = worlds(primary)
    world.alice.create("s", {"k": ONE})
    primary.damage(world.locators_on(primary)[0])
    job = verify(world, deep=True, repair=True)
    assert (job.status, job.report.failed) == (JobStatus.DONE, 1)
    assert "corrupt, and no other store has it" in job.report.failures[0].error


class Gated(MemorySecretsStore):
    """Lets a put go on when the gate is open."""

    gate = threading.Event()
    reached = threading.Event()

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        if self.store_id == "memory:backup":
            self.reached.set()
            assert self.gate.wait(30)
        super().put(locator, values, about, seconds=seconds)


def test_one_job_at_a_time_and_what_is_interrupted_goes_on(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """A second one is refused while the first is under way. When its process ends, another one goes on where it was."""
    world = worlds(primary)
    for number in range(70):
        world.alice.create(f"s{number}", {"k": ONE})
    Gated.gate.clear()
    Gated.reached.clear()
    both = worlds(primary, backup, kind=Gated)
    root = both.service.local_actor
    job = both.service.dispatcher.call(operations.BACK_UP, BackUpSecrets(), root)
    assert Gated.reached.wait(30)
    for request in (BackUpSecrets(), RestoreSecrets()):
        with pytest.raises(UnderWay, match=f"a backup \\(job {job.id}\\) is under way"):
            both.service.jobs.begin(root, request)
    both.service.jobs._ended.set()
    Gated.gate.set()
    other = worlds(primary, backup)
    stopped = other.service.jobs.get(root, GetJob(id=job.id))
    assert stopped.status is JobStatus.RUNNING
    assert 0 < stopped.report.done < 70
    other.service.jobs._take_over()
    other.service.jobs.wait()
    ended_job = other.service.jobs.get(root, GetJob(id=job.id))
    assert (ended_job.status, ended_job.report.done, ended_job.report.failed) == (JobStatus.DONE, 70, 0)
    assert clean(other)


def test_a_job_whose_process_was_killed_stands_in_nobodys_way(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """Its lease ends; whoever begins another job then finds it interrupted."""
    world = worlds(primary, backup)
    moment = int(later_than_now(0) * 1_000_000)
    from strongroom.metadata import job as index

    with world.service.deployment.database.write() as connection:
        lease.take(connection, LEASE, "another", LEASE_SECONDS)
        index.insert_job(
            connection, id="j", kind="backup", status="running", owner_id=world.service.local_actor.user_id,
            state='{"request":{},"state":{}}', created=moment, updated=moment,
        )  # fmt: skip
    with pytest.raises(UnderWay):
        verify(world)
    with time_machine.travel(later_than_now(LEASE_SECONDS + 1), tick=True):
        assert verify(world).status is JobStatus.DONE
    statuses = {job.id: job.status for job in world.service.jobs.list(world.service.local_actor, ListJobs()).items}
    assert statuses["j"] is JobStatus.INTERRUPTED


def test_a_cancelled_job_ends_after_its_step(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """What it did stays done, another job can begin at once, and the report says how far it came. An ended job stays as it is."""
    world = worlds(primary)
    for number in range(70):
        world.alice.create(f"s{number}", {"k": ONE})
    Gated.gate.clear()
    Gated.reached.clear()
    both = worlds(primary, backup, kind=Gated)
    root, jobs = both.service.local_actor, both.service.jobs
    job = both.service.dispatcher.call(operations.BACK_UP, BackUpSecrets(), root)
    assert Gated.reached.wait(30)
    assert both.service.dispatcher.call(operations.CANCEL, CancelJob(id=job.id), root).status is JobStatus.CANCELLED
    again = both.service.dispatcher.call(operations.VERIFY, VerifySecrets(), root)
    Gated.gate.set()
    jobs.wait()
    ended_job = jobs.get(root, GetJob(id=job.id))
    assert ended_job.status is JobStatus.CANCELLED
    assert ended_job.report.done < 70
    assert jobs.get(root, GetJob(id=again.id)).status is JobStatus.DONE
    assert both.service.dispatcher.call(operations.CANCEL, CancelJob(id=again.id), root).status is JobStatus.DONE


def test_jobs_are_for_administrators(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """Nobody else begins or sees one; without a backup there is none."""
    world = worlds(primary)
    alice: Person = world.alice
    for operation, request in ((operations.BACK_UP, BackUpSecrets()), (operations.LIST, ListJobs())):
        with pytest.raises(Forbidden, match="store:manage"):
            alice.ask(operation, request)
    root = world.service.local_actor
    for operation, request in ((operations.BACK_UP, BackUpSecrets()), (operations.RESTORE, RestoreSecrets())):
        with pytest.raises(InvalidInput, match="no backup secrets store"):
            world.service.dispatcher.call(operation, request, root)
    with pytest.raises(NotFound):
        world.service.jobs.get(root, GetJob(id="nothing"))


def test_errors_while_a_store_is_away_are_errors_of_secrets(worlds: Worlds, primary: Shelf, backup: Shelf) -> None:
    """A backup into a store that does not answer fails for each secret; afterwards it can be run again."""
    world = worlds(primary)
    for name in "abc":
        world.alice.create(name, {"k": name})
    both = worlds(primary, backup)
    with backup.trouble(Trouble.UNAVAILABLE):
        job = back_up(both)
        assert (job.status, job.report.failed) == (JobStatus.DONE, 3)
    assert back_up(both).report.done == 3
    with backup.trouble(Trouble.UNAVAILABLE):
        job = verify(both)
    assert job.status is JobStatus.FAILED
    assert "out of reach" in str(job.error)
    with (
        primary.trouble(Trouble.UNAVAILABLE),
        backup.trouble(Trouble.UNAVAILABLE),
        pytest.raises((Unavailable, ValuesMissing, ValuesCorrupt)),
    ):
        both.alice.get(both.alice.list().items[0].id)
    assert clean(both)


def test_a_store_that_is_new_gets_everything_by_itself(settings: Settings, primary: Shelf, backup: Shelf) -> None:
    """Whoever reconciles looks once at all versions, a stretch at a time, on every database."""
    world = World(settings, primary)
    made = [world.alice.create(f"s{number}", {"k": str(number)}) for number in range(7)]
    world.alice.update(made[3].id, {"k": "newer"})
    world.service.close()
    both = World(replace(settings, keep_versions=9), primary, backup)
    database, target = both.service.deployment.database, both.service.placements.stores[1].store_id
    both.service.placements.prepare()
    looked, after = [], ("", 0)
    while after is not None:
        with database.write() as connection:
            after = placement.mark_behind_page(connection, target, after, 3, 1)
        looked.append(both.count(copies))
    assert looked == [3, 6, 8]
    both.service.reconciler._survey()
    assert both.count(copies) == 8
    assert clean(both)
    assert both.on(backup) == 8
    both.service.close()
