"""What child processes do in tests. Loaded once, before they are forked."""

from __future__ import annotations

import os

import alembic.command
import alembic.config
import alembic.script  # noqa: F401 - loaded for speed

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.crypto.key_source import KeyFile
from strongroom.metadata.deployment import find_deployment
from strongroom.service.wiring import Service


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
