"""Values outside of the database: whatever a store does, a reader sees what was acknowledged, or an error."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from strongroom.config import Settings, StoreSettings
from strongroom.db.tables import intents, sql_values
from strongroom.errors import (
    AlreadyExists,
    ConfigurationError,
    InvalidInput,
    NotFound,
    StoreForbidden,
    StrongroomError,
    TooLarge,
    Unavailable,
    ValuesCorrupt,
    ValuesMissing,
)
from strongroom.models.reference import Reference, ReferenceStatus, ResolvedReferences, ResolveReferences
from strongroom.operations import secret as operations
from strongroom.secrets_stores.base import About, SecretsStore, is_own
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble
from strongroom.service.placements import READERS, WRITE_SECONDS
from strongroom.service.reconciler import MARGIN_SECONDS
from strongroom.service.stores import open_stores
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.people import Person, add_person
from tests.unit.service.worlds import World, locators_of

ONE, TWO, THREE = (f"{CANARY}-{each}" for each in ("one", "two", "three"))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def world(local_settings: Settings, shelf: Shelf) -> Iterator[World]:
    """One store, outside of the database."""
    world = World(local_settings, shelf)
    yield world
    world.service.close()


@pytest.fixture
def alice(world: World) -> Person:
    return world.alice


@pytest.fixture
def opened_world(local_settings: Settings) -> Iterator[Callable[..., World]]:
    """Makes worlds of another kind."""
    worlds: list[World] = []

    def make(*shelves: Shelf, **options: Any) -> World:
        worlds.append(World(options.pop("settings", local_settings), *shelves, **options))
        return worlds[-1]

    yield make
    for each in worlds:
        each.service.close()


def values_of(secret: Any) -> dict[str, str]:
    return {key: value.reveal() for key, value in secret.values.items()}


def test_values_live_in_the_store_alone(world: World, alice: Person, shelf: Shelf) -> None:
    """Every write makes a new version there; the database holds what they are called, and no value."""
    made = alice.create("s", {"b": ONE, "a": TWO})
    assert values_of(alice.get(made.id)) == {"b": ONE, "a": TWO}
    assert list(values_of(alice.get(made.id))) == ["b", "a"]
    alice.update(made.id, {"c": THREE, "b": None})
    assert values_of(alice.get_by_name("s")) == {"a": TWO, "c": THREE}
    assert values_of(alice.get(made.id, 1)) == {"b": ONE, "a": TWO}
    assert world.count(sql_values) == 0
    assert world.on(shelf) == 2
    alice.rollback(made.id, 1)
    assert values_of(alice.get(made.id)) == {"b": ONE, "a": TWO}
    assert [[each.store for each in version.placements] for version in alice.versions(made.id).items] == [["memory:shelf"]] * 2
    alice.delete(made.id)
    assert world.is_clean()
    assert world.on(shelf) == 0


def test_old_versions_go(world: World, alice: Person, shelf: Shelf) -> None:
    """As many as are kept stay in the store."""
    made = alice.create("s", {"k": "0"})
    for number in range(12):
        alice.update(made.id, {"k": str(number + 1)})
    assert world.is_clean()
    assert world.on(shelf) == 10


def test_the_store_that_keeps_the_fewest_versions_decides(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """A back end with a limit is never filled to it: a version may be on its way in, and others out."""

    class Narrow(MemorySecretsStore):
        @property
        def capabilities(self) -> Any:
            return replace(super().capabilities, max_versions=3)

    world = opened_world(shelf, kind=Narrow)
    made = world.alice.create("s", {"k": "0"})
    for number in range(5):
        world.alice.update(made.id, {"k": str(number + 1)})
    assert len(world.alice.versions(made.id).items) == 3


@pytest.mark.parametrize("trouble", Trouble)
def test_a_create_that_fails_leaves_nothing(world: World, alice: Person, shelf: Shelf, trouble: Trouble) -> None:
    """Whatever the store does: the caller gets its error, the name stays free, and leftovers are collected."""
    with shelf.trouble(trouble), pytest.raises((Unavailable, StoreForbidden)) as caught:
        alice.create("s", {"k": ONE})
    assert isinstance(caught.value, StoreForbidden) is (trouble is Trouble.FORBIDDEN)
    with pytest.raises(NotFound):
        alice.get_by_name("s")
    made = alice.create("s", {"k": TWO})
    assert values_of(alice.get(made.id)) == {"k": TWO}
    assert world.is_clean()


@pytest.mark.parametrize("trouble", Trouble)
def test_an_update_that_fails_changes_nothing(world: World, alice: Person, shelf: Shelf, trouble: Trouble) -> None:
    """The former values stay readable, and the next write works."""
    made = alice.create("s", {"k": ONE})
    with shelf.trouble(trouble), pytest.raises((Unavailable, StoreForbidden)):
        alice.update(made.id, {"k": TWO})
    secret = alice.get(made.id)
    assert (secret.version, values_of(secret)) == (1, {"k": ONE})
    assert values_of(alice.get(alice.update(made.id, {"l": THREE}).id)) == {"k": ONE, "l": THREE}
    assert world.is_clean()


@pytest.mark.parametrize("trouble", Trouble)
def test_what_the_index_decides_alone_goes_on(world: World, alice: Person, shelf: Shelf, trouble: Trouble) -> None:
    """While the store is in trouble secrets are listed, renamed, rolled back and deleted; the store follows later."""
    made, other = alice.create("s", {"k": ONE}), alice.create("t", {"k": ONE})
    alice.update(made.id, {"k": TWO})
    with shelf.trouble(trouble):
        assert alice.list().total == 2
        assert alice.update(made.id, name="u").name == "u"
        alice.rollback(made.id, 1)
        alice.delete(other.id)
        with pytest.raises((Unavailable, StoreForbidden)):
            alice.get(made.id)
        world.reconcile()
    assert world.on(shelf) == (2 if trouble is Trouble.REPLY_LOST else 3)
    assert values_of(alice.get_by_name("u")) == {"k": ONE}
    assert world.is_clean()


def test_a_taken_name_is_told_before_anything_is_put(world: World, alice: Person, shelf: Shelf) -> None:
    """The store is not asked."""
    alice.create("s", {"k": ONE})
    with shelf.trouble(Trouble.FORBIDDEN), pytest.raises(AlreadyExists):
        alice.create("s", {"k": TWO})
    assert world.on(shelf) == 1


def test_values_too_large_for_a_store_are_refused_before_anything_is_written(
    opened_world: Callable[..., World], shelf: Shelf
) -> None:
    """The smallest limit of all stores counts, for the backup too."""

    def small(deployment_id: str, where: Shelf) -> SecretsStore:
        return MemorySecretsStore(deployment_id, where, max_bytes=65_536 if where is shelf else 100)

    backup = Shelf("backup")
    world = opened_world(shelf, backup, kind=small)
    world.alice.create("s", {"k": "x" * 99})
    with pytest.raises(TooLarge, match="100"):
        world.alice.create("t", {"k": "x" * 100})
    assert (world.on(shelf), world.on(backup), world.count(intents)) == (1, 1, 0)


def test_values_that_were_exchanged_in_the_store_are_not_given(world: World, alice: Person, shelf: Shelf) -> None:
    """What somebody put there behind our back, or damaged, is an error, never a value."""
    made = alice.create("s", {"k": ONE})
    store = MemorySecretsStore(world.service.deployment.id, shelf)
    (found,) = [each for page in store.scan(seconds=1) for each in page if each.about is not None and not is_own(each.about)]
    assert found.about == About(
        deployment_id=world.service.deployment.id, secret_id=made.id, name="s", scope="workspace", workspace="default", version=1
    )
    store.delete(found.locator, seconds=1)
    with pytest.raises(ValuesMissing):
        alice.get(made.id)
    store.put(found.locator, {"k": TWO}, found.about, seconds=1)
    with pytest.raises(ValuesCorrupt, match="not what was written"):
        alice.get(made.id)
    shelf.damage(found.locator)
    with pytest.raises(ValuesCorrupt):
        alice.get(made.id)
    alice.delete(made.id)
    assert world.is_clean()


class Meddling(MemorySecretsStore):
    """Lets something happen in the middle of its calls."""

    before_put: Callable[[], object] | None = None
    after_put: Callable[[], object] | None = None
    before_get: Callable[[], object] | None = None

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        self._happens("before_put")
        super().put(locator, values, about, seconds=seconds)
        self._happens("after_put")

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        self._happens("before_get")
        return super().get(locator, seconds=seconds)

    @staticmethod
    def _happens(what: str) -> None:
        action = getattr(Meddling, what)
        if action is not None:
            setattr(Meddling, what, None)
            action()


@contextmanager
def happening(**actions: Callable[[], object]) -> Iterator[None]:
    """What is to happen at the next call."""
    for name, action in actions.items():
        setattr(Meddling, name, staticmethod(action))
    try:
        yield
        assert all(getattr(Meddling, name) is None for name in actions), "it did not happen"
    finally:
        for name in actions:
            setattr(Meddling, name, None)


def test_a_writer_that_comes_too_late_changes_nothing(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """What was collected as abandoned is not placed any more."""
    world = opened_world(shelf, kind=Meddling)
    made = world.alice.create("s", {"k": ONE})
    with happening(after_put=world.reconcile), pytest.raises(Unavailable, match="took too long"):
        world.alice.update(made.id, {"k": TWO})
    assert values_of(world.alice.get(made.id)) == {"k": ONE}
    world.alice.update(made.id, {"k": THREE})
    assert values_of(world.alice.get(made.id)) == {"k": THREE}
    assert world.is_clean()


def test_what_is_under_way_is_not_collected(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """Before its deadline, and a margin for clocks that differ, a put belongs to its writer."""
    world = opened_world(shelf, kind=Meddling)
    made = world.alice.create("s", {"k": ONE})
    with happening(after_put=lambda: world.reconcile(WRITE_SECONDS + MARGIN_SECONDS - 2)):
        world.alice.update(made.id, {"k": TWO})
    assert values_of(world.alice.get(made.id)) == {"k": TWO}
    assert world.is_clean()


def test_a_reply_tells_one_moment(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """A secret that is renamed while its new values are put has its new name in both replies, and loses neither change."""
    world = opened_world(shelf, kind=Meddling)
    made = world.alice.create("s", {"k": ONE})
    with happening(after_put=lambda: world.alice.update(made.id, name="t")):
        told = world.alice.update(made.id, {"k": TWO})
    assert (told.name, told.version) == ("t", 2)
    assert values_of(world.alice.get_by_name("t")) == {"k": TWO}
    assert world.is_clean()


def test_a_reader_whose_version_goes_gets_the_next_one(
    opened_world: Callable[..., World], local_settings: Settings, shelf: Shelf
) -> None:
    """When what the index named is gone from the store, the index is asked again."""
    world = opened_world(shelf, kind=Meddling, settings=replace(local_settings, keep_versions=1))
    made = world.alice.create("s", {"k": ONE})

    def replaced() -> None:
        for text in (TWO, THREE):
            world.alice.update(made.id, {"k": text})
        world.reconcile()

    with happening(before_get=replaced):
        secret = world.alice.get(made.id)
    assert (secret.version, values_of(secret)) == (3, {"k": THREE})
    with happening(before_get=lambda: (world.alice.delete(made.id), world.reconcile())), pytest.raises(ValuesMissing):
        world.alice.get(made.id)


def test_references_are_of_one_moment_also_while_values_go(
    opened_world: Callable[..., World], local_settings: Settings, shelf: Shelf
) -> None:
    """When one of several secrets is replaced while they are read, all are read once more."""
    world = opened_world(shelf, kind=Meddling, settings=replace(local_settings, keep_versions=1))
    first, second = (world.alice.create(name, {"k": "old"}) for name in "ab")

    def replaced() -> None:
        for made in (second, first):
            for text in ("newer", "newest"):
                world.alice.update(made.id, {"k": text})
        world.reconcile()

    with happening(before_get=replaced):
        items = resolve(world.alice, "a", "b")
    assert [item.value.reveal() for item in items if item.value] == ["newest", "newest"]


def resolve(alice: Person, *names: str) -> list[Any]:
    wanted = ResolveReferences(references=[Reference(name, "k") for name in names])
    reply: ResolvedReferences = alice.ask(operations.RESOLVE, wanted)
    return list(reply.items)


def test_updates_at_the_same_time_lose_nothing(world: World, alice: Person) -> None:
    """Each merges what the others did."""
    made = alice.create("s", {"k": "0"})

    def update(number: int) -> None:
        alice.update(made.id, {f"k{number}": str(number)})

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(update, range(12)))
    assert values_of(alice.get(made.id)) == {"k": "0"} | {f"k{number}": str(number) for number in range(12)}
    assert world.is_clean()


def test_one_of_many_creates_of_a_name_wins(world: World, alice: Person) -> None:
    """The others are told that it is taken, and leave nothing."""

    def create(number: int) -> bool:
        try:
            alice.create("s", {"k": str(number)})
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(create, range(6))) == 1
    assert world.is_clean()


def test_many_references_are_read_side_by_side(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """As many at once as the bound allows, and never more."""
    arrived, most, lock = threading.Semaphore(0), 0, threading.Lock()
    inside = 0
    gate = threading.Event()

    class Crowded(MemorySecretsStore):
        def get(self, locator: str, *, seconds: float) -> dict[str, str]:
            nonlocal inside, most
            with lock:
                inside += 1
                most = max(most, inside)
                if inside == READERS:
                    gate.set()
            assert gate.wait(20), "they wait for each other"
            try:
                return super().get(locator, seconds=seconds)
            finally:
                with lock:
                    inside -= 1
                arrived.release()

    world = opened_world(shelf, kind=Crowded)
    names = [f"s{number}" for number in range(READERS + 10)]
    for name in names:
        world.alice.create(name, {"k": name})
    items = resolve(world.alice, *names)
    assert [item.value.reveal() for item in items] == names
    assert most == READERS


def test_an_outage_is_told_for_each_reference(world: World, alice: Person, shelf: Shelf) -> None:
    """What can be read is still given."""
    alice.create("a", {"k": ONE})
    with shelf.trouble(Trouble.UNAVAILABLE):
        (item,) = resolve(alice, "a")
    assert item.status is ReferenceStatus.UNREADABLE
    assert "out of reach" in item.message


class InBulk(MemorySecretsStore):
    """Gives many values in one answer, but not the odd ones."""

    asked = 0

    def get_many(self, locators: list[str], *, seconds: float) -> dict[str, dict[str, str] | StrongroomError]:
        type(self).asked += 1
        found = {each: super(InBulk, self).get(each, seconds=seconds) for each in locators[::2]}
        return {**found, **{each: Unavailable("not in bulk") for each in locators[1::2]}}


def test_a_store_that_gives_many_at_once_is_asked_so(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """What such an answer lacks, is asked for one by one."""
    world = opened_world(shelf, kind=InBulk)
    for name in "abcde":
        world.alice.create(name, {"k": name})
    before = InBulk.asked
    assert [item.value.reveal() for item in resolve(world.alice, *"abcde")] == list("abcde")
    assert InBulk.asked == before + 1
    with shelf.trouble(Trouble.UNAVAILABLE):
        assert {item.status for item in resolve(world.alice, *"abcde")} == {ReferenceStatus.UNREADABLE}


def test_the_backup_takes_over(opened_world: Callable[..., World], shelf: Shelf) -> None:
    """A primary store that is silent, has lost the values or spoiled them: the backup gives them. One that refuses is told."""
    backup = Shelf("backup")
    world = opened_world(shelf, backup)
    made = world.alice.create("s", {"k": ONE})
    with shelf.trouble(Trouble.UNAVAILABLE):
        assert values_of(world.alice.get(made.id)) == {"k": ONE}
        world.alice.update(made.id, {"k": TWO})
    assert values_of(world.alice.get(made.id)) == {"k": TWO}
    both = world.alice.create("t", {"k": ONE})
    with shelf.trouble(Trouble.FORBIDDEN):
        for refused in (lambda: world.alice.get(both.id), lambda: world.alice.create("u", {"k": THREE})):
            with pytest.raises(StoreForbidden):
                refused()
    with backup.trouble(Trouble.FORBIDDEN):
        world.alice.update(both.id, {"k": THREE})
    assert values_of(world.alice.get(both.id)) == {"k": THREE}
    with shelf.trouble(Trouble.UNAVAILABLE), pytest.raises(Unavailable):
        world.alice.get(both.id)
    last = world.alice.create("u", {"k": ONE})
    with pytest.raises(AlreadyExists):
        world.alice.create("u", {"k": TWO})
    for locator in locators_of(MemorySecretsStore(world.service.deployment.id, shelf)):
        shelf.damage(locator)
    assert values_of(world.alice.get(last.id)) == {"k": ONE}
    with backup.trouble(Trouble.UNAVAILABLE), pytest.raises(Unavailable):
        world.alice.get(last.id)


def test_values_of_a_store_that_is_gone_name_it(opened_world: Callable[..., World], local_settings: Settings, shelf: Shelf) -> None:
    """Under another configuration the error says where the values are; with that store as the backup they are read."""
    world = opened_world(shelf)
    made = world.alice.create("s", {"k": ONE})
    world.service.close()
    elsewhere = opened_world(Shelf("elsewhere"), settings=replace(local_settings, keep_versions=9))
    with pytest.raises(ValuesMissing, match="only in memory:shelf, which is not configured"):
        elsewhere.alice.get(made.id)
    both = opened_world(Shelf("elsewhere"), shelf, settings=replace(local_settings, keep_versions=8))
    assert values_of(both.alice.get(made.id)) == {"k": ONE}


def test_a_deployment_may_keep_no_secrets(local_settings: Settings) -> None:
    """With a store of type `none` all else works, and a create says why it does not."""
    service = Service(replace(local_settings, secrets_store=StoreSettings("none")))
    alice = add_person(service, "alice")
    with pytest.raises(InvalidInput, match="keeps no secrets"):
        alice.create("s", {"k": ONE})
    assert alice.list().total == 0
    service.close()


@pytest.mark.parametrize(
    ("settings", "text", "hint"),
    [
        (StoreSettings("valt"), "primary secrets store: there is no type 'valt'", "did you mean 'vault'?"),
        (StoreSettings("sql", options=(("prefix", "x"),)), "type sql has no option 'prefix'", "unset it"),
        (StoreSettings("sql", "token"), "type sql has no option 'auth_method'", "unset it"),
        (StoreSettings("vault", "tokn"), "no authentication method 'tokn'", "did you mean 'token'?"),
        (StoreSettings("vault", options=(("vault_adr", "x"),)), "has no option 'vault_adr'", "did you mean 'vault_addr'?"),
        (StoreSettings("vault", options=(("vault_addr", "x"),)), "needs the option 'vault_token'", None),
        (StoreSettings("vault", "app-role", options=(("vault_token", "x"),)), "app-role has no option 'vault_token'", None),
    ],
)
def test_settings_that_cannot_be_meant_refuse_the_start(
    local_settings: Settings, settings: StoreSettings, text: str, hint: str | None
) -> None:
    """With the name of what is wrong, and of what was probably meant."""
    with pytest.raises(ConfigurationError, match=text) as caught:
        Service(replace(local_settings, secrets_store=settings))
    assert hint is None or caught.value.hint == hint


def test_two_stores_at_one_place_are_refused(local_settings: Settings) -> None:
    """Whatever their credentials are: the backup would be none."""
    options = (("vault_addr", "https://vault"), ("vault_token", "x"))
    other = (("vault_addr", "https://VAULT:443/"), ("username", "x"), ("password", "y"))
    both = {
        "secrets_store": StoreSettings("vault", options=options),
        "backup_secrets_store": StoreSettings("vault", "userpass", options=other),
    }
    with pytest.raises(ConfigurationError, match="the same place"):
        open_stores(replace(local_settings, **both), "d")
    with pytest.raises(ConfigurationError, match="the same place"):
        open_stores(replace(local_settings, backup_secrets_store=StoreSettings()), "d")
    with pytest.raises(ConfigurationError, match="the primary one is of type 'none'"):
        open_stores(replace(local_settings, secrets_store=StoreSettings("none"), backup_secrets_store=StoreSettings()), "d")
