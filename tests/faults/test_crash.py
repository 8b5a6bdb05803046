"""A process that is killed at any moment loses nothing that it was told, and breaks nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import time_machine
from sqlalchemy import Table, func, select

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.crypto.key_source import KeyFile
from strongroom.crypto.keyring import key_id
from strongroom.db.tables import deletions, encryption_keys, intents, placements, secret_counts, secrets, sql_values, versions
from strongroom.service.placements import WRITE_SECONDS
from strongroom.service.reconciler import MARGIN_SECONDS
from strongroom.service.wiring import Service
from tests import children
from tests.canary import CANARY
from tests.processes import Child

ROUNDS = 40


def spin(seconds: float) -> None:
    """Lets a moment pass that is too short to sleep."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def contents(client: Client) -> dict[str, str]:
    """Every secret by name, read back one by one."""
    return {secret.name: client.get_secret(secret.id).secret_values["k"] for secret in client.list_secrets(size=1000)}


def test_writers_that_are_killed_lose_nothing(local_settings: Settings) -> None:
    """Each acknowledged write is there, the one in flight is there as a whole or not at all, and every secret stays usable."""
    kill_writers(local_settings, check_rows)


def test_writers_that_are_killed_lose_nothing_in_another_store(vault_settings: Settings) -> None:
    """The same with values in OpenBao. Once their time is over, what the killed ones left there is collected."""
    kill_writers(vault_settings, lambda _: None)
    service = Service(vault_settings)
    with time_machine.travel(time.time() + WRITE_SECONDS + MARGIN_SECONDS + 1, tick=False):
        service.reconciler.run(60)
    (store,) = service.placements.stores
    assert store.external is not None
    with service.deployment.database.snapshot() as connection:
        placed = set(connection.execute(select(placements.c.locator)).scalars())
        assert connection.execute(select(func.count()).select_from(intents)).scalar_one() == 0
        assert connection.execute(select(func.count()).select_from(deletions)).scalar_one() == 0
    assert {found.locator for page in store.external.scan(seconds=30) for found in page} == placed
    service.close()


def kill_writers(local_settings: Settings, check: Callable[[Settings], None]) -> None:
    choose = random.Random(CANARY)
    state: dict[str, str] = {}
    acknowledged = cut_off = 0
    for round_ in range(ROUNDS):
        child = Child(children.write_until_killed, local_settings, CANARY, round_)
        messages = [child.receive() for _ in range(choose.choice([0, 1, 2, 5, 10, 21]))]
        spin(choose.random() * 0.004)
        child.kill()
        messages += child.receive_all()  # a pipe keeps what was said before the kill
        child.end()
        outcomes = [state]
        for word, before, after in messages:
            changed = {name: text for name, text in state.items() if name not in before} | after
            if word == "done":
                state, outcomes = changed, [changed]
                acknowledged += 1
            else:
                outcomes = [state, changed]
        with Client(local_settings) as client:
            found = contents(client)
            assert found in outcomes
            state = found
            cut_off += len(outcomes) == 2
            for name in found:
                text = f"{CANARY}-after-{round_}"
                client.update_secret(name, add_or_update_values={"k": text})
                state = state | {name: text}
            assert contents(client) == state
            if len(state) > 4:
                gone = choose.choice(list(state))
                client.delete_secret(gone)
                state = {name: text for name, text in state.items() if name != gone}
        check(local_settings)
    assert acknowledged > ROUNDS
    assert cut_off > ROUNDS / 4


def check_rows(settings: Settings) -> None:
    """No row belongs to nothing, and the counts are right."""
    service = Service(settings)
    with service.deployment.database.snapshot() as connection:

        def number(table: Table) -> int:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

        assert number(placements) == number(sql_values) == number(versions)
        assert connection.execute(select(func.coalesce(func.sum(secret_counts.c.size), 0))).scalar_one() == number(secrets)
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    service.close()


def test_rotations_that_are_killed_can_be_resumed(local_settings: Settings) -> None:
    """At whatever point a rotation of the key is killed, every value stays readable; run again, it ends, and the former is gone."""
    choose = random.Random(CANARY)
    with Client(local_settings) as client:
        wanted = {f"s{number}": f"{CANARY}-{number}" for number in range(220)}  # more than one batch
        for name, text in wanted.items():
            client.create_secret(name, {"k": text})
    started = time.perf_counter()
    children.rotate(local_settings)
    duration = time.perf_counter() - started
    source = KeyFile(Path(local_settings.folder) / "encryption.key")
    for _ in range(ROUNDS // 2):
        child = Child(children.rotate_until_killed, local_settings)
        child.receive()
        spin(choose.random() * duration)
        child.kill()
        child.end()
        former = {key_id(key) for key in source.load()}
        with Client(local_settings) as client:
            assert contents(client) == wanted
        active = children.rotate(local_settings)
        with Client(local_settings) as client:
            assert contents(client) == wanted
        service = Service(local_settings)
        with service.deployment.database.snapshot() as connection:
            assert set(connection.execute(select(sql_values.c.key_id)).scalars()) == {active}
            assert list(connection.execute(select(encryption_keys.c.id)).scalars()) == [active]
        service.close()
        assert [key_id(key) for key in source.load()] == [active]
        assert former - {active}
        assert not list(local_settings.folder.glob(".key-*"))
