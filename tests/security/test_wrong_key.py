"""A key that cannot be right is one clear error, and changes nothing."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.db.engine import Database
from strongroom.db.tables import metadata
from strongroom.errors import EncryptionKeyError
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.fakes.keyring import MemoryKeyring


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def files(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file of a folder: its bytes, mode and time of change."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()
    }


def no_key(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").unlink()
    return settings


def another_key_in_the_file(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").write_text(new_key() + "\n")
    return settings


def a_malformed_key_in_the_file(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").write_text(f"{CANARY}!")
    return settings


def an_empty_file(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").write_text("")
    return settings


def a_short_key_in_the_file(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").write_text(base64.b64encode(bytes(16)).decode())
    return settings


def a_file_for_everybody(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").chmod(0o644)
    return settings


def another_key_given(settings: Settings) -> Settings:
    return replace(settings, encryption_key=new_key())


def a_malformed_key_given(settings: Settings) -> Settings:
    return replace(settings, encryption_key=f"{CANARY}!")


def a_file_given_that_is_not_there(settings: Settings) -> Settings:
    return replace(settings, encryption_key_file=settings.folder / "nowhere")


def an_empty_keyring(settings: Settings) -> Settings:
    (settings.folder / "encryption.key").unlink()
    return replace(settings, encryption_key_store="keyring")


@pytest.mark.parametrize(
    "spoil",
    [
        no_key,
        another_key_in_the_file,
        a_malformed_key_in_the_file,
        an_empty_file,
        a_short_key_in_the_file,
        a_file_for_everybody,
        another_key_given,
        a_malformed_key_given,
        a_file_given_that_is_not_there,
        an_empty_keyring,
    ],
)
def test_a_local_store_with_a_wrong_key_stays_as_it_is(
    local_settings: Settings,
    memory_keyring: MemoryKeyring,
    spoil: Callable[[Settings], Settings],
    allow_values_in: Callable[[Path], Path],
) -> None:
    """Every wrong, missing or malformed key is an `EncryptionKeyError` in one line; no file changes and no key is made."""
    allow_values_in(local_settings.folder / "encryption.key")
    path = local_settings.folder / "encryption.key"
    with Client(local_settings) as client:
        client.create_secret("s", {"k": CANARY})
    right = path.read_bytes()
    settings = spoil(local_settings)
    before = files(settings.folder)
    for attempt in (
        lambda client: client.get_secret("s"),
        lambda client: client.create_secret("t", {"k": "x"}),
        lambda client: client.list_secrets(),
    ):
        with Client(settings) as client, pytest.raises(EncryptionKeyError) as caught:
            attempt(client)
        shown = f"{caught.value} {caught.value.hint}"
        assert shown.isprintable()
        assert CANARY not in shown
        assert caught.value.hint
    assert files(settings.folder) == before
    assert memory_keyring.entries == {}
    path.write_bytes(right)
    path.chmod(0o600)
    with Client(local_settings) as client:
        assert client.get_secret("s").secret_values == {"k": CANARY}


def contents(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    database = Database(settings.database_url)
    try:
        with database.snapshot() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
                for table in metadata.sorted_tables
            }
    finally:
        database.close()


@pytest.mark.parametrize("settings", ["postgresql", "mariadb"], indirect=True)
def test_a_server_with_a_wrong_key_stays_as_it_is(settings: Settings) -> None:
    """The same with a database behind a server: not a row changes, and nothing is made in the local folder."""
    with Client(settings) as client:
        client.create_secret("s", {"k": CANARY})
    before = contents(settings)
    for wrong in (new_key(), f"{CANARY}!", None):
        with pytest.raises(EncryptionKeyError) as caught:
            Service(replace(settings, encryption_key=wrong))
        assert CANARY not in f"{caught.value} {caught.value.hint}"
    assert contents(settings) == before
    assert {path.suffix for path in settings.folder.glob("*")} <= {".anchor"}  # of the audit trail, made before
    with Client(settings) as client:
        assert client.get_secret("s").secret_values == {"k": CANARY}
