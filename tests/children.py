"""What child processes do in tests. Loaded once, before they are forked."""

from __future__ import annotations

import itertools
import os
import random
from multiprocessing.connection import Connection

import alembic.command
import alembic.config
import alembic.script  # noqa: F401 - loaded for speed

import strongroom.pipelines.runner  # noqa: F401 - loaded for speed
from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from strongroom.crypto.key_source import KeyFile
from strongroom.errors import AlreadyExists, StrongroomError
from strongroom.metadata.deployment import find_deployment
from strongroom.models.secret import Scope
from strongroom.pipelines import pipeline
from strongroom.secrets_managers.migration import Migration, Standing
from strongroom.service.wiring import Service
from strongroom.stacks import SecretsManager
from strongroom.steps import StepContext, step


def open_store(settings: Settings) -> tuple[str, str]:
    """Opens a store; the ids of the deployment and of its active key."""
    service = Service(settings)
    try:
        with service.deployment.database.read() as connection:
            row = find_deployment(connection)
        assert row is not None
        return row.id, service.deployment.keys.keyring.active_id
    finally:
        service.close()


def add_first_key(source: KeyFile, key: bytes) -> list[bytes]:
    """Offers a first key to a key file; the keys that are there then."""
    return source.add_first(key)


def create_secret(settings: Settings, name: str, values: dict[str, str]) -> str:
    """Creates a secret; its id."""
    with Client(settings) as client:
        return client.create_secret(name, values).id


def set_keys(settings: Settings, name: str, changes: list[dict[str, str]]) -> int:
    """Updates a secret several times; its last version."""
    with Client(settings) as client:
        return [client.update_secret(name, add_or_update_values=change).version for change in changes][-1]


def use_on_both_sides_of_a_fork(settings: Settings) -> None:
    """Reads and writes before and after a fork, in parent and child by turns."""
    service = Service(settings)
    client = Client(settings)
    client.create_secret("before", {"k": "v"})
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        fine = False
        try:
            fine = client.get_secret("before").secret_values == {"k": "v"}
            client.create_secret("child", {"k": "v"})
        finally:
            os.write(writing, b"y" if fine else b"n")
            os._exit(0)
    client.create_secret("parent", {"k": "v"})
    assert os.read(reading, 1) == b"y"
    os.waitpid(child, 0)
    assert [secret.name for secret in client.list_secrets(sort_by="name")] == ["before", "child", "parent"]
    service.close()
    client.close()


def write_until_killed(connection: Connection, settings: Settings, prefix: str, seed: int) -> None:
    """Creates, updates, renames and deletes secrets without end; announces each change, and reports its acknowledgement.

    An announcement is a pair of names and texts of values: what is taken away, and what is there instead.
    """
    choose = random.Random(seed)
    client = Client(settings)
    known = {secret.name: client.get_secret(secret.id).secret_values["k"] for secret in client.list_secrets(size=1000)}
    for number in itertools.count(seed * 1000):
        name, text = f"s{number}", f"{prefix}-{number}"
        verb = choose.choice(["create", "update", "rename", "delete"]) if len(known) > 2 else "create"
        old = choose.choice(list(known)) if verb != "create" else None
        before = {} if old is None else {old: known.pop(old)}
        after = {} if verb == "delete" else {name if verb in ("create", "rename") else str(old): text}
        connection.send(("begin", before, after))
        if verb == "create":
            client.create_secret(name, {"k": text}, labels={"n": str(number)})
        elif verb == "delete":
            client.delete_secret(str(old))
        else:
            client.update_secret(str(old), add_or_update_values={"k": text}, new_name=name if verb == "rename" else None)
        connection.send(("done", before, after))
        known |= after


def rotate_until_killed(connection: Connection, settings: Settings) -> None:
    """Rotates the key without end; announces and reports each rotation."""
    service = Service(settings)
    while True:
        connection.send("begin")
        service.rotate_key(None, lambda done, total: None)
        connection.send("done")


def rotate(settings: Settings, times: int = 1) -> str:
    """Rotates the key; the id of the last one."""
    service = Service(settings)
    try:
        return [service.rotate_key(None, lambda done, total: None).key_id for _ in range(times)][-1]
    finally:
        service.close()


def write_until_told(connection: Connection, settings: Settings, writer: int, prefix: str) -> None:
    """Creates and updates secrets until something is sent; then sends what has to be there: texts of values by name."""
    written: dict[str, str] = {}
    with Client(settings) as client:
        connection.send("ready")
        for number in itertools.count():
            name, text = f"w{writer}_{number % 20}", f"{prefix}-{writer}-{number}"
            if name in written:
                client.update_secret(name, add_or_update_values={"k": text})
            else:
                client.create_secret(name, {"k": text})
            written[name] = text
            if connection.poll():
                break
    connection.send(written)


def work_through_outages(connection: Connection, settings: Settings, worker: int, prefix: str) -> None:
    """Writes secrets and reads them back, whatever the server answers, until something is sent. Reports each call as it goes:
    `begin`, then `done` or the code of the error; after `done` the same for a read: `read` or `unread`.
    """
    there: set[str] = set()
    with Client(settings) as client:
        for number in itertools.count():
            name, text = f"w{worker}_{number % 20}", f"{prefix}-{worker}-{number}"
            connection.send(("begin", name, text))
            try:
                if name not in there:
                    try:
                        client.create_secret(name, {"k": text})
                    except AlreadyExists:  # an attempt that was not acknowledged has succeeded
                        client.update_secret(name, add_or_update_values={"k": text})
                    there.add(name)
                else:
                    client.update_secret(name, add_or_update_values={"k": text})
                connection.send(("done", name, text))
            except StrongroomError as error:
                connection.send((error.code, name, text))
            else:
                try:
                    connection.send(("read", name, client.get_secret(name).secret_values["k"]))
                except StrongroomError as error:
                    connection.send((f"unread: {error.code}", name, text))
            if connection.poll():
                break


@step
def first() -> list[int]:
    """The beginning of `counting`."""
    return list(range(1000))


@step
def second(context: StepContext, numbers: list[int]) -> int:
    """The middle of it, which reads a secret."""
    context.log_metadata({"length": len(numbers)})
    return sum(numbers) + len(Client().get_secret("counted").secret_values)


@pipeline
def counting() -> None:
    """Three steps in a row."""
    second.with_options(name="third")([second(first())])


def run_pipelines_until_killed(connection: Connection, settings: Settings) -> None:
    """Runs `counting` without end; reports the name of each run that has ended."""
    os.environ[f"{PREFIX}CONFIG_PATH"] = str(settings.folder)
    connection.send("ready")
    while True:
        connection.send(counting.with_options(enable_cache=False)().name)


def stay_in_a_step(connection: Connection, settings: Settings) -> None:
    """Runs a pipeline whose second step reads a secret, says that it has begun, and never ends."""
    os.environ[f"{PREFIX}CONFIG_PATH"] = str(settings.folder)

    @step
    def stay(numbers: list[int]) -> int:
        Client().get_secret("counted")
        connection.send("within")
        return connection.recv()

    @pipeline
    def staying() -> None:
        second(stay(first()))

    staying()


def _secrets_manager(settings: Settings) -> SecretsManager:
    manager = Client(settings).active_stack.secrets_manager
    assert manager is not None
    return manager


def manage_secrets(settings: Settings, text: str, writer: int, times: int) -> None:
    """Adds keys to the secret `shared` of the secrets manager; registers secrets of its own, deletes half of them."""
    manager = _secrets_manager(settings)
    for number in range(times):
        manager.change_secret("shared", {f"w{writer}-{number}": text})
        manager.register_secret(f"w{writer}-{number}", {"k": text})
        if number % 2:
            manager.delete_secret(f"w{writer}-{number}")


def count_in_manager(connection: Connection, settings: Settings) -> None:
    """Counts without end in a secret of the secrets manager; reports each number once it is there."""
    manager = _secrets_manager(settings)
    number = int(manager.get_secret("counter").content["n"])
    connection.send(number)
    while True:
        number += 1
        manager.change_secret("counter", {"n": str(number)})
        connection.send(number)


def migrate_until_killed(connection: Connection, settings: Settings, names: list[str]) -> None:
    """Migrates secrets of the secrets manager, overwrites and deletes; reports each."""
    client = Client(settings)
    manager = client.active_stack.secrets_manager
    assert manager is not None
    migration = Migration(client, manager, Scope.WORKSPACE)
    for name in names or migration.names():
        connection.send(name)
        candidate = migration.look_at(name)
        if candidate.standing is not Standing.SAME:
            migration.put(candidate)
        migration.delete(name)
