"""Places and databases are told apart by what is read, and nothing is deleted that may be somebody's last copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import delete

from strongroom.config import Settings
from strongroom.db.tables import deletions, intents, store_markers
from strongroom.errors import ConfigurationError, StrongroomError, Unavailable
from strongroom.metadata import placement
from strongroom.models.job import BackUpSecrets, JobReport, RestoreSecrets, VerifySecrets
from strongroom.secrets_stores.base import About, SecretsStore
from strongroom.secrets_stores.custom import CustomSecretsStore
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble
from strongroom.secrets_stores.whole_secrets import WholeSecrets
from strongroom.service.placements import ConfiguredStore
from strongroom.service.transfers import State
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.faults.schedules.ending import transfers_of
from tests.people import Person, add_person
from tests.unit.secrets_stores.custom_stores import MySecretsStore, MyStoreConfiguration, Versions, VersionsConfig
from tests.unit.service.worlds import World, guarded, locators_of

ONE, TWO = (f"{CANARY}-{each}" for each in ("one", "two"))
Opener = Callable[[str, str, str], SecretsStore]
"""Opens a store: place, name, deployment's id."""

SHELVES: dict[str, Shelf] = {}


def _memory(place: str, name: str, deployment_id: str) -> SecretsStore:
    return MemorySecretsStore(deployment_id, SHELVES.setdefault(place, Shelf(place)), name=name)


def _versions(place: str, name: str, deployment_id: str) -> SecretsStore:
    return CustomSecretsStore(Versions(VersionsConfig(shelf=place), deployment_id), name)


def _whole(place: str, name: str, deployment_id: str) -> SecretsStore:
    inner = MySecretsStore(MyStoreConfiguration(drawer=place), deployment_id)
    return CustomSecretsStore(WholeSecrets(inner, name, deployment_id), name)  # type: ignore[arg-type]


KINDS: dict[str, Opener] = {"memory": _memory, "custom, of versions": _versions, "custom, whole secrets": _whole}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Opener:
    """Each shape of a store."""
    return KINDS[request.param]


@pytest.fixture
def place() -> str:
    """A new one."""
    return str(uuid4())


Open = Callable[..., Service]


@pytest.fixture
def opened(local_settings: Settings, kind: Opener) -> Iterator[Open]:
    """Opens the deployment with stores, each a place and its name, and closes what was open before."""
    services: list[Service] = []

    def make(*stores: tuple[str, str], settings: Settings = local_settings, closing: bool = True) -> Service:
        if services and closing:
            services.pop().close()
        settings = replace(settings, database_timeout=10 + len(services))

        def configured(_: Settings, deployment_id: str) -> list[ConfiguredStore]:
            roles = zip(("primary", "backup"), stores, strict=False)
            return [ConfiguredStore(role, "custom", 2, guarded(kind(*store, deployment_id))) for role, store in roles]

        services.append(Service(settings, configured))
        return services[-1]

    yield make
    for each in services:
        each.close()


def unmarked(service: Service) -> None:
    """As a former release was, which put no markers."""
    service.placements.markers.are_set = True


def run(service: Service, request: BackUpSecrets | RestoreSecrets | VerifySecrets) -> JobReport:
    """What a job does, in this thread."""
    state = State()
    transfers_of(service).run(request, state, lambda _: None)
    return state.report


def work_off(service: Service) -> None:
    """Deletes all that is to be deleted."""
    service.reconciler.run(30)
    service.reconciler.give_lease_back()


def value_of(person: Person, secret_id: str) -> str:
    return person.get(secret_id).values["k"].reveal()


JOBS = [
    VerifySecrets(repair=True),
    VerifySecrets(deep=True, repair=True),
    BackUpSecrets(delete_secrets=True),
    RestoreSecrets(delete_secrets=True),
    BackUpSecrets(),
    RestoreSecrets(),
]


def test_two_names_of_one_place_are_refused(opened: Open, place: str) -> None:
    """The first write says so, and what to do; nothing of it is acknowledged or stays."""
    service = opened((place, "one"), (place, "two"))
    person = add_person(service, "alice")
    with pytest.raises(ConfigurationError, match="same place") as refused:
        person.create("s", {"k": ONE})
    assert "BACKUP_SECRETS_STORE_TYPE" in str(refused.value.hint)
    assert person.list().total == 0
    with pytest.raises(ConfigurationError, match="same place"):
        service.check_stores()
    with pytest.raises(ConfigurationError, match="same place"):
        service.examine_stores()


@pytest.mark.parametrize("request_", JOBS, ids=lambda each: repr(each))
def test_what_was_written_under_two_names_stays(opened: Open, place: str, request_: VerifySecrets) -> None:
    """No job takes away what a former release wrote into one place twice; each says what is wrong."""
    service = opened((place, "one"), (place, "two"))
    unmarked(service)
    person = add_person(service, "alice")
    made = person.create("s", {"k": ONE})
    with pytest.raises(ConfigurationError, match="same place"):
        run(service, request_)
    work_off(service)
    assert value_of(person, made.id) == ONE
    alone = opened((place, "one"))
    assert value_of(Person(alone, person.actor), made.id) == ONE


def test_deletions_that_a_former_release_left_do_no_harm(opened: Open, place: str) -> None:
    """What it took for extra, under the other name of the place, is named by the index: it stays."""
    service = opened((place, "one"), (place, "two"))
    unmarked(service)
    person = add_person(service, "alice")
    made = person.create("s", {"k": ONE})
    with service.deployment.database.write() as connection:
        row = [each for each in placement_rows(service, made.id) if each[0] == "one"]
        placement.to_delete(connection, [("two", row[0][1])], 1)
    work_off(service)
    alone = opened((place, "one"))
    assert value_of(Person(alone, person.actor), made.id) == ONE


def placement_rows(service: Service, secret_id: str) -> list[tuple[str, str]]:
    from sqlalchemy import select

    from strongroom.db.tables import placements

    with service.deployment.database.read() as connection:
        query = select(placements.c.store_id, placements.c.locator).where(placements.c.secret_id == secret_id)
        return [(row.store_id, row.locator) for row in connection.execute(query)]


@pytest.mark.parametrize("later", ["prove", "job"])
def test_a_store_that_was_away_at_the_start_is_looked_at_later(local_settings: Settings, later: str) -> None:
    """As soon as both answer, and before anything is deleted; until then everything works, by the other one."""
    shelf = Shelf("one place")

    class Other(MemorySecretsStore):
        def __init__(self, deployment_id: str, shelf: Shelf) -> None:
            super().__init__(deployment_id, shelf, name="another name")

        is_away = True

        def put(self, locator: str, values: object, about: About, *, seconds: float) -> None:
            if Other.is_away:
                raise Unavailable("away")
            super().put(locator, values, about, seconds=seconds)  # type: ignore[arg-type]

        def get(self, locator: str, *, seconds: float) -> dict[str, str]:
            if Other.is_away:
                raise Unavailable("away")
            return super().get(locator, seconds=seconds)

    def configured(_: Settings, deployment_id: str) -> list[ConfiguredStore]:
        stores = [MemorySecretsStore(deployment_id, shelf), Other(deployment_id, shelf)]
        return [ConfiguredStore(role, "memory", 1, guarded(each)) for role, each in zip(("primary", "backup"), stores, strict=True)]

    service = Service(local_settings, configured)
    assert "serving without it" in service.check_stores()[0]
    person = add_person(service, "alice")
    made = person.create("s", {"k": ONE})
    Other.is_away = False
    if later == "prove":
        assert isinstance(service.reconciler._prove(), ConfigurationError)
    else:
        with pytest.raises(ConfigurationError, match="same place"):
            run(service, VerifySecrets(repair=True))
    assert value_of(person, made.id) == ONE
    service.close()


def test_a_place_under_a_new_name_is_refused(opened: Open, place: str) -> None:
    """An address that has changed, or an id that a store makes up at each start: the error says how to keep the name."""
    service = opened((place, "one"))
    person = add_person(service, "alice")
    made = person.create("s", {"k": ONE})
    renamed = opened((place, "two"))
    for act in (lambda: Person(renamed, person.actor).create("t", {"k": TWO}), renamed.check_stores):
        with pytest.raises(ConfigurationError, match="knows as one") as refused:
            act()
        assert "SECRETS_STORE_NAME=one" in str(refused.value.hint)
    with suppress(StrongroomError):
        run(renamed, VerifySecrets(deep=True, repair=True))
    work_off(renamed)
    again = opened((place, "one"))
    assert value_of(Person(again, person.actor), made.id) == ONE


def test_under_a_new_name_nothing_is_extra(opened: Open, place: str) -> None:
    """Without markers, too: what the index names in a store of whatever name is not deleted."""
    service = opened((place, "one"))
    unmarked(service)
    person = add_person(service, "alice")
    made = person.create("s", {"k": ONE})
    renamed = opened((place, "two"))
    run(renamed, VerifySecrets(deep=True, repair=True))
    work_off(renamed)
    again = opened((place, "one"))
    assert value_of(Person(again, person.actor), made.id) == ONE


def test_different_places_are_fine(opened: Open, place: str) -> None:
    """Jobs run, what is extra goes, and stores may change roles or be taken out and in."""
    service = opened((place, "one"), (f"{place}-b", "two"))
    assert service.check_stores() == []
    person = add_person(service, "alice")
    made = person.create("s", {"k": ONE})
    for stores in ([(f"{place}-b", "two"), (place, "one")], [(place, "one")], [(place, "one"), (f"{place}-b", "two")]):
        service = opened(*stores)
        assert service.check_stores() == []
        assert value_of(Person(service, person.actor), made.id) == ONE
    first = service.placements.stores[0].external
    assert first is not None
    extra = first.new_locator("x")
    about = About(deployment_id=service.deployment.id, secret_id="x", name="x", scope="workspace", workspace="default")
    first.put(extra, {"k": TWO}, about, seconds=2)
    report = run(service, VerifySecrets(repair=True))
    assert [each.error for each in report.failures] == [f"extra: {extra} in one, to be deleted"]
    work_off(service)
    assert run(service, VerifySecrets(deep=True)).failures == []


def test_deployments_share_a_place(opened: Open, local_settings: Settings, tmp_path: Path, place: str) -> None:
    """Each has markers of its own, and neither sees the other's."""
    mine = opened((place, "one"), (f"{place}-b", "two"))
    alice = add_person(mine, "alice")
    made = alice.create("s", {"k": ONE})
    other = opened((place, "one"), (f"{place}-b", "two"), settings=other_folder(local_settings, tmp_path), closing=False)
    bob = add_person(other, "bob")
    theirs = bob.create("s", {"k": TWO})
    for service in (mine, other):
        assert run(service, VerifySecrets(deep=True, repair=True)).failures == []
        work_off(service)
    assert (value_of(alice, made.id), value_of(bob, theirs.id)) == (ONE, TWO)


def other_folder(settings: Settings, folder: Path) -> Settings:
    (folder / "other").mkdir(exist_ok=True)
    database = folder / "other" / Path(settings.database_url.removeprefix("sqlite:///")).name
    return replace(settings, folder=folder / "other", database_url=f"sqlite:///{database}")


def copied(settings: Settings, folder: Path) -> Settings:
    """A copy of the whole deployment but for its stores."""
    other = other_folder(settings, folder)
    shutil.copytree(settings.folder, other.folder, dirs_exist_ok=True)
    return other


def test_a_copy_of_the_database_deletes_nothing(opened: Open, local_settings: Settings, tmp_path: Path, place: str) -> None:
    """Neither what the original has written since, nor what both know; nor does the original delete what the copy wrote.

    Once one of them is gone, the other one takes the stores over.
    """
    original = opened((place, "one"))
    alice = add_person(original, "alice")
    both = alice.create("both", {"k": ONE})
    original.close()
    elsewhere = copied(local_settings, tmp_path)
    original = opened((place, "one"), closing=False)
    alice = Person(original, alice.actor)
    since = alice.create("since", {"k": ONE})
    copy = opened((place, "one"), settings=elsewhere, closing=False)
    carol = Person(copy, alice.actor)
    report = run(copy, VerifySecrets(deep=True, repair=True))
    assert any("another database" in each.error for each in report.failures)
    assert copy.check_stores() != []
    carol.delete(both.id)
    theirs = carol.create("theirs", {"k": TWO})
    work_off(copy)
    report = run(original, VerifySecrets(deep=True, repair=True))
    assert any("another database" in each.error for each in report.failures)
    work_off(original)
    assert [value_of(alice, each.id) for each in (both, since)] == [ONE, ONE]
    assert value_of(carol, theirs.id) == TWO
    original.examine_stores(take_over=True)
    work_off(original)
    run(original, VerifySecrets(repair=True))
    work_off(original)
    assert run(original, VerifySecrets(deep=True)).failures == []
    assert [value_of(alice, each.id) for each in (both, since)] == [ONE, ONE]


def test_a_moved_database_takes_its_stores_over(opened: Open, local_settings: Settings, tmp_path: Path, place: str) -> None:
    """It deletes nothing until an operator says that there is no other one."""
    original = opened((place, "one"))
    alice = add_person(original, "alice")
    made, kept = (alice.create(name, {"k": ONE}) for name in "sk")
    original.close()
    moved = opened((place, "one"), settings=copied(local_settings, tmp_path), closing=False)
    alice = Person(moved, alice.actor)
    alice.delete(made.id)
    work_off(moved)
    assert len(pending(moved)) == 1
    moved.examine_stores(take_over=True)
    work_off(moved)
    assert pending(moved) == []
    assert run(moved, VerifySecrets(deep=True)).failures == []
    assert value_of(alice, kept.id) == ONE


def pending(service: Service) -> list[str]:
    with service.deployment.database.read() as connection:
        return [each for store in service.placements.stores for each in placement.deletions_of(connection, store.store_id, 100)]


def test_a_store_that_was_emptied_gets_its_marker_back(opened: Open, place: str) -> None:
    """And is filled again by a backup."""
    service = opened((place, "one"), (f"{place}-b", "two"))
    alice = add_person(service, "alice")
    made = alice.create("s", {"k": ONE})
    backup = service.placements.stores[1].external
    assert backup is not None
    for locator in [each.locator for page in backup.scan(seconds=2, markers=True) for each in page]:
        backup.delete(locator, seconds=2)
    assert run(service, BackUpSecrets()).done == 1
    assert run(service, VerifySecrets(deep=True)).failures == []
    assert value_of(alice, made.id) == ONE


@pytest.mark.parametrize("trouble", [Trouble.UNAVAILABLE, Trouble.FORBIDDEN])
def test_unproved_nothing_is_forgotten(local_settings: Settings, trouble: Trouble) -> None:
    """While a marker cannot be read, a move takes nothing away."""
    primary, backup = Shelf("primary"), Shelf("backup")
    world = World(local_settings, primary, backup)
    made = world.alice.create("s", {"k": ONE})
    state = State()
    with backup.trouble(trouble), suppress(Unavailable):
        transfers_of(world.service).run(BackUpSecrets(delete_secrets=True, ignore_errors=True), state, lambda _: None)
    assert state.report.done == 0
    world.reconcile()
    assert world.on(primary) == 1
    assert value_of(world.alice, made.id) == ONE
    world.service.close()


def test_the_only_copy_is_not_forgotten(local_settings: Settings) -> None:
    """A version that was moved to the backup, and seems to be missing there for a moment, keeps its placement."""
    primary, backup = Shelf("primary"), Shelf("backup")
    world = World(local_settings, primary, backup)
    made = world.alice.create("s", {"k": ONE})
    assert run(world.service, BackUpSecrets(delete_secrets=True)).failed == 0
    world.reconcile()
    items, backup._items = backup._items, {}
    backup._items |= {locator: item for locator, item in items.items() if made.id not in locator}
    for request in (BackUpSecrets(), VerifySecrets(repair=True), RestoreSecrets(delete_secrets=True, ignore_errors=True)):
        assert run(world.service, request).failed == 1
    world.reconcile()
    backup._items |= items
    assert value_of(world.alice, made.id) == ONE
    world.service.close()


def test_the_last_copy_is_not_extra(local_settings: Settings) -> None:
    """Values that nothing names, of a version whose own ones are lost, are kept; once it can be read they go."""
    shelf = Shelf("one")
    world = World(local_settings, shelf)
    made = world.alice.create("s", {"k": ONE})
    (locator,) = world.locators_on(shelf)
    item = shelf._items[locator]
    store = MemorySecretsStore(world.service.deployment.id, shelf)
    extra = store.new_locator(made.id)
    store.put(extra, {"k": ONE}, item.about, seconds=1)
    del shelf._items[locator]
    report = run(world.service, VerifySecrets(repair=True))
    assert any("kept" in each.error for each in report.failures)
    world.reconcile()
    assert world.locators_on(shelf) == [extra]
    shelf._items[locator] = item
    run(world.service, VerifySecrets(repair=True))
    world.reconcile()
    assert world.locators_on(shelf) == [locator]
    world.service.close()


def test_markers_are_no_secrets(local_settings: Settings) -> None:
    """They are neither counted nor left over, cost a write nothing once they are there, and are put again only if they are gone."""
    primary, backup = Shelf("primary"), Shelf("backup")
    world = World(local_settings, primary, backup)
    world.alice.create("s", {"k": ONE})
    assert (world.count(store_markers), world.on(primary), world.on(backup)) == (2, 1, 1)
    for _ in range(2):
        assert run(world.service, VerifySecrets(deep=True)).failures == []
        world.service.check_stores()
    assert (world.count(store_markers), world.count(intents)) == (2, 0)
    stores = [MemorySecretsStore(world.service.deployment.id, each) for each in (primary, backup)]
    assert [sum(map(len, each.scan(seconds=1))) - len(locators_of(each)) for each in stores] == [1, 1]
    with world.service.deployment.database.write() as connection:
        connection.execute(delete(store_markers))
    assert world.count(deletions) == 0
    world.service.close()
