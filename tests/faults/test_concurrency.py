"""Several processes and threads at once on one store, on every database."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import insert, text, update

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.crypto.keyring import parse_keys
from strongroom.db.tables import secret_labels, secrets
from strongroom.errors import AlreadyExists
from strongroom.metadata import placement
from strongroom.models.secret import Scope
from strongroom.secrets_stores.memory import Shelf, Trouble
from strongroom.service.wiring import Service
from tests import children
from tests.canary import CANARY
from tests.people import add_person
from tests.processes import Child, run_together
from tests.unit.service.worlds import World


def test_of_eight_processes_one_creates(settings: Settings) -> None:
    """Of eight processes that create one name at once, one wins and seven are told that it exists; again and again."""
    for round_ in range(3):
        outcomes = run_together(children.create_secret, [(settings, f"s{round_}", {"k": f"{CANARY}-{n}"}) for n in range(8)])
        assert sorted(str(outcome.error) for outcome in outcomes) == ["None"] + ["already_exists"] * 7
        winner = next(number for number, outcome in enumerate(outcomes) if outcome.error is None)
        with Client(settings) as client:
            secret = client.get_secret(f"s{round_}")
            assert secret.id == outcomes[winner].value
            assert secret.secret_values == {"k": f"{CANARY}-{winner}"}


def test_of_eight_first_creators_each_gets_its_name(settings: Settings) -> None:
    """Eight processes that create the first secrets of a workspace, each under its own name, all succeed."""
    outcomes = run_together(children.create_secret, [(settings, f"s{number}", {"k": CANARY}) for number in range(8)])
    assert [outcome.error for outcome in outcomes] == [None] * 8
    with Client(settings) as client:
        assert client.list_secrets().total == 8


def _changes(writer: int) -> list[dict[str, str]]:
    return [{f"key{writer}": f"{CANARY}-{writer}-{number}"} for number in range(4)]


WANTED = {"k": "v"} | {f"key{writer}": f"{CANARY}-{writer}-3" for writer in range(8)}


def test_eight_processes_update_different_keys(settings: Settings) -> None:
    """Eight processes that set different keys of one secret lose none of each other's updates."""
    with Client(settings) as client:
        client.create_secret("s", {"k": "v"})
        outcomes = run_together(children.set_keys, [(settings, "s", _changes(writer)) for writer in range(8)])
        assert [outcome.error for outcome in outcomes] == [None] * 8
        secret = client.get_secret("s")
        assert secret.secret_values == WANTED
        assert secret.version == 1 + 8 * 4


def test_eight_threads_update_different_keys(settings: Settings) -> None:
    """Eight threads on one client lose none of each other's updates either."""
    with Client(settings) as client:
        client.create_secret("s", {"k": "v"})

        def work(writer: int) -> None:
            for change in _changes(writer):
                client.update_secret("s", add_or_update_values=change)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        secret = client.get_secret("s")
        assert secret.secret_values == WANTED
        assert secret.version == 1 + 8 * 4


def _race(*attempts: Callable[[], object]) -> None:
    with ThreadPoolExecutor(len(attempts)) as pool:
        for future in [pool.submit(attempt) for attempt in attempts]:
            future.result()


def test_crossing_changes_do_not_block_each_other(settings: Settings) -> None:
    """Renames and changes of scope that cross each other succeed or find the name taken; none is turned away for the crossing."""
    service = Service(settings)
    alice = add_person(service, "alice")
    one, two = alice.create("one", {"k": CANARY}), alice.create("two", {"k": CANARY}, Scope.USER)

    def work(secret_id: str, names: list[str]) -> None:
        for number in range(40):
            try:
                alice.update(secret_id, name=names[number % 2], scope=list(Scope)[number // 2 % 2])
            except AlreadyExists:
                continue

    _race(lambda: work(one.id, ["one", "two"]), lambda: work(two.id, ["two", "one"]))
    assert {secret.id for secret in alice.list()} == {one.id, two.id}
    service.close()


_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_locks WHERE NOT granted",
    "mariadb": "SELECT variable_value > 0 FROM information_schema.global_status WHERE variable_name LIKE 'innodb_row_lock_curr%'",
}


@pytest.mark.parametrize("settings", ["postgresql", "mariadb"], indirect=True)
def test_a_change_that_a_deadlock_undid_is_repeated(settings: Settings) -> None:
    """When the server undoes a change because another transaction waits for it and it for that one, the change is made again."""
    service = Service(settings)
    database = service.deployment.database
    alice = add_person(service, "alice")
    one, two = alice.create("one", {"k": CANARY}), alice.create("two", {"k": CANARY})
    with ThreadPoolExecutor(1) as pool:
        with database.write() as other, database.read() as reader:
            if database.dialect == "postgresql":
                other.execute(text("SET LOCAL deadlock_timeout = '30s'"))  # who waits longest looks first, and gives way
            labels = [{"secret_id": one.id, "key": f"k{number}", "value": "x"} for number in range(50)]
            other.execute(insert(secret_labels), labels)  # MariaDB spares who has changed more
            other.execute(update(secrets).where(secrets.c.id == one.id).values(name="three"))
            renaming = pool.submit(alice.update, two.id, name="one")
            deadline = time.monotonic() + 30
            while not reader.execute(text(_WAITING[database.dialect])).scalar():
                assert time.monotonic() < deadline
            other.execute(update(secrets).where(secrets.c.id == two.id).values(description="changed"))
        assert renaming.result(30).name == "one"
    assert {(secret.id, secret.name) for secret in alice.list()} == {(one.id, "three"), (two.id, "one")}
    service.close()


@pytest.mark.parametrize("settings", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("pruned", [False, True])
def test_a_copy_that_is_placed_while_its_version_goes_is_deleted(settings: Settings, pruned: bool) -> None:
    """A deletion, or an update that drops old versions, waits for a copy that is just being placed, and takes it away too."""
    primary, backup = Shelf("primary"), Shelf("backup")
    world = World(replace(settings, keep_versions=1), primary, backup)
    database = world.service.deployment.database
    with backup.trouble(Trouble.UNAVAILABLE):
        made = world.alice.create("s", {"k": CANARY})
        if pruned:
            world.alice.update(made.id, {"k": f"{CANARY}-2"})
    with ThreadPoolExecutor(1) as pool, database.read() as reader:
        with database.write() as copying:
            assert placement.place(copying, (made.id, 1), "memory:backup", f"{made.id}-copy")
            change = (lambda: world.alice.update(made.id, {"k": f"{CANARY}-3"})) if pruned else (lambda: world.alice.delete(made.id))
            going = pool.submit(change)
            deadline = time.monotonic() + 30
            while not reader.execute(text(_WAITING[database.dialect])).scalar():
                assert time.monotonic() < deadline
        going.result(30)
        assert f"{made.id}-copy" in placement.deletions_of(reader, "memory:backup", 10)
    assert world.is_clean()
    world.service.close()


def test_delete_and_update_at_once(settings: Settings) -> None:
    """A secret that is deleted while others update it is gone as a whole; updates either happened before or find nothing."""
    with Client(settings) as client:
        for number in range(5):
            made = client.create_secret(f"s{number}", {"k": "v"})
            outcomes: list[str] = []

            def update(name: str = made.name, outcomes: list[str] = outcomes) -> None:
                try:
                    for each in range(10):
                        client.update_secret(name, add_or_update_values={"k": f"{CANARY}-{each}"})
                except KeyError:
                    outcomes.append("gone")

            _race(update, update, lambda name=made.name: client.delete_secret(name))
            assert outcomes in ([], ["gone"], ["gone"] * 2)
        assert client.list_secrets().total == 0


@pytest.fixture
def rotatable(settings: Settings) -> Callable[[], Settings]:
    """Gives settings with which the next rotation can start; a managed key needs none."""
    keys = [settings.encryption_key] if settings.encryption_key else []

    def prepare() -> Settings:
        if keys:
            keys.insert(0, base64.b64encode(os.urandom(32)).decode())
        return replace(settings, encryption_key=",".join(keys)) if keys else settings

    return prepare


def test_rotation_while_four_writers_write(rotatable: Callable[[], Settings]) -> None:
    """A rotation of the key under four writing processes disturbs none; what they wrote is readable with the new key alone."""
    settings = rotatable()
    writers = [Child(children.write_until_told, settings, number, CANARY) for number in range(4)]
    try:
        for writer in writers:
            writer.receive()
        children.rotate(settings, times=1 if settings.encryption_key else 3)
        for writer in writers:
            writer.connection.send("stop")
        written = {name: text for writer in writers for name, text in writer.receive().items()}
    finally:
        for writer in writers:
            writer.end()
    if settings.encryption_key is not None:
        settings = replace(settings, encryption_key=settings.encryption_key.split(",")[0])
    with Client(settings) as client:
        assert {secret.name: client.get_secret(secret.id).secret_values["k"] for secret in client.list_secrets(size=1000)} == written
    assert len(written) >= 4


def test_rotations_to_a_given_key_at_once(rotatable: Callable[[], Settings]) -> None:
    """Of four processes that rotate to the same given key, some do the work and the others find it done, on every database."""
    settings = rotatable()
    with Client(settings) as client:
        wanted = {f"s{number}": f"{CANARY}-{number}" for number in range(30)}
        for name, text in wanted.items():
            client.create_secret(name, {"k": text})
        for _ in range(3):
            settings = rotatable()
            outcomes = run_together(children.rotate, [(settings,)] * 4)
            done = [outcome for outcome in outcomes if outcome.error is None]
            assert done
            assert all("holds no new key to rotate to" in outcome.message for outcome in outcomes if outcome not in done)
    if settings.encryption_key is not None:
        settings = replace(settings, encryption_key=settings.encryption_key.split(",")[0])
    with Client(settings) as client:
        assert {name: client.get_secret(name).secret_values["k"] for name in wanted} == wanted


def test_rotations_at_once(local_settings: Settings) -> None:
    """Four processes that rotate the key at once, some of them killed on the way, lose no value and leave one key."""
    with Client(local_settings) as client:
        wanted = {f"s{number}": f"{CANARY}-{number}" for number in range(30)}
        for name, text in wanted.items():
            client.create_secret(name, {"k": text})
    for _ in range(3):
        doomed = [Child(children.rotate_until_killed, local_settings) for _ in range(2)]
        for child in doomed:
            child.receive()
        outcomes = run_together(children.rotate, [(local_settings, 3)] * 2)
        for child in doomed:
            child.kill()
            child.end()
        assert [outcome.error for outcome in outcomes] == [None] * 2
        with Client(local_settings) as client:
            assert {name: client.get_secret(name).secret_values["k"] for name in wanted} == wanted
    children.rotate(local_settings)
    assert len(parse_keys((local_settings.folder / "encryption.key").read_text(), "the file")) == 1
    with Client(local_settings) as client:
        assert {name: client.get_secret(name).secret_values["k"] for name in wanted} == wanted
