"""What lies on the disk tells nothing, and belongs to the user alone."""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import Settings
from tests.canary import read_elsewhere

FILES = ["encryption.key", "strongroom.db", "strongroom.db-shm", "strongroom.db-turn", "strongroom.db-wal"]


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that would let everybody read."""
    former = os.umask(0)
    yield
    os.umask(former)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.usefixtures("open_umask")
def test_everything_is_private(new_local_settings: Settings) -> None:
    """The folder has mode 0700 and every file in it 0600, open and closed, whatever the umask."""
    client = Client(new_local_settings)
    client.create_secret("s", {"k": "v"})
    folder = new_local_settings.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    anchor = next(folder.glob("*.anchor")).name
    assert modes(folder) == dict.fromkeys([*FILES, anchor], 0o600)
    client.close()
    assert modes(folder) == dict.fromkeys(["encryption.key", "strongroom.db", "strongroom.db-turn", anchor], 0o600)


@pytest.mark.usefixtures("open_umask")
def test_files_are_private_in_an_open_folder(new_local_settings: Settings) -> None:
    """In a folder that others may enter, the files are private all the same."""
    new_local_settings.folder.mkdir(mode=0o755)
    with Client(new_local_settings) as client:
        client.create_secret("s", {"k": "v"})
        assert set(modes(new_local_settings.folder).values()) == {0o600}


def test_no_part_of_a_value_is_on_the_disk(local_settings: Settings) -> None:
    """No file has 8 bytes in a row of any value: neither open nor closed, neither before nor after a delete."""
    letters = string.ascii_letters + string.digits
    values = ["".join(secrets.choice(letters) for _ in range(size)) for size in (16, 100, 1000, 60_000)]
    with Client(local_settings) as client:
        for number, value in enumerate(values):
            client.create_secret(f"s{number}", {"k": value})
            client.update_secret(f"s{number}", add_or_update_values={"l": value[::-1][:5000]})
        _search(local_settings.folder, values)
        client.delete_secret("s0")
        client.get_secret("s1")
        _search(local_settings.folder, values)
    _search(local_settings.folder, values)


def _search(folder: Path, values: list[str]) -> None:
    parts = {value[at : at + 8].encode() for text in values for value in (text, text[::-1]) for at in range(len(value) - 7)}
    for path in folder.iterdir():
        data = read_elsewhere(path)
        found = sum(data[at : at + 8] in parts for at in range(len(data) - 7))
        assert found == 0, path.name


def test_sealed_values_of_a_deleted_secret_are_wiped(local_settings: Settings) -> None:
    """Not even the sealed bytes of a deleted secret are left in the file."""
    with Client(local_settings) as client:
        client.create_secret("s", {"k": "x" * 5000})
        client.create_secret("t", {"k": "x" * 5000})
    path = local_settings.folder / "strongroom.db"
    reader = sqlite3.connect(path)
    sealed = [row[0] for row in reader.execute("SELECT sealed FROM sql_values")]
    reader.close()
    with Client(local_settings) as client:
        client.delete_secret("s")
        client.delete_secret("t")
    data = path.read_bytes()
    for blob in sealed:
        assert not any(blob[at : at + 32] in data for at in range(0, len(blob) - 32, 32))
