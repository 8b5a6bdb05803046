"""Sealed values that were deleted are gone from the files of SQLite, whatever deleted them, also while others have it open."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.client.administration import rotate_key
from strongroom.config import Settings
from tests.callers import Caller
from tests.canary import CANARY, read_elsewhere
from tests.servers.strongroom import PASSWORD, FragileStrongroom, StrongroomServer

VALUE = f"{CANARY}-{'x' * 3000}"
PIECE = 32


class Files:
    """The files of a database, as a reader of the disk sees them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "strongroom.db"

    def sealed(self, columns: str = "sealed") -> dict[tuple[str, int], bytes]:
        """What is sealed now, by secret and version."""
        with closing(sqlite3.connect(self.path)) as connection:
            rows = connection.execute(f"SELECT secret_id, number, {columns} FROM sql_values").fetchall()
        return {(secret_id, number): sealed for secret_id, number, sealed in rows}

    def holding(self, blob: bytes) -> list[str]:
        """The files that hold any piece of it."""
        pieces = [blob[at : at + PIECE] for at in range(0, len(blob) - PIECE + 1, PIECE)]
        return [
            path.name
            for path in self.folder.rglob("*")
            if path.is_file() and (data := read_elsewhere(path)) and any(piece in data for piece in pieces)
        ]

    def wait_until_gone(self, blob: bytes, seconds: float = 15) -> None:
        """Fails if any piece is on the disk after so long."""
        deadline = time.monotonic() + seconds
        while files := self.holding(blob):
            assert time.monotonic() < deadline, f"sealed bytes that were deleted are still in {files}"
            time.sleep(0.05)


@pytest.fixture
def files(local_settings: Settings) -> Files:
    """Those of the embedded store of this test."""
    return Files(local_settings.folder)


def delete(client: Client) -> None:
    client.delete_secret("s")


def make_other_versions(client: Client) -> None:
    for number in range(20):
        client.update_secret("s", add_or_update_values={"l": str(number)})


def roll_back_and_go_on(client: Client) -> None:
    client.update_secret("s", remove_values=["k"], add_or_update_values={"l": "x"})
    client.rollback_secret("s", 1)
    make_other_versions(client)
    client.delete_secret("s")


@pytest.mark.parametrize("end", [delete, roll_back_and_go_on])
@pytest.mark.parametrize("size", [10, 3_000, 60_000])
def test_in_an_open_embedded_store(local_client: Client, files: Files, end: Callable[[Client], None], size: int) -> None:
    """When the call returns, no file holds a piece of what it deleted, and the store is still open: the log is wiped, too."""
    secret = local_client.create_secret("s", {"k": CANARY + "x" * size})
    local_client.create_secret("other", {"k": VALUE})
    sealed = files.sealed()[secret.id, 1]
    assert files.holding(sealed)
    end(local_client)
    assert files.holding(sealed) == []
    assert local_client.get_secret("other").secret_values == {"k": VALUE}


def test_versions_past_the_retention(local_client: Client, files: Files) -> None:
    """They are wiped by one of the changes that follow, a second later at the latest; the changes until then share the cut."""
    secret = local_client.create_secret("s", {"k": VALUE})
    sealed = files.sealed()[secret.id, 1]
    deadline = time.monotonic() + 20
    number = 0
    while number < 20 or files.holding(sealed):
        assert time.monotonic() < deadline
        number += 1
        local_client.update_secret("s", add_or_update_values={"l": str(number)})


def test_versions_past_the_retention_at_the_end(local_settings: Settings, files: Files) -> None:
    """When a store is closed no file holds any of them, even if another program keeps the database open."""
    with closing(sqlite3.connect(files.path)) as other:
        with Client(local_settings) as client:
            secret = client.create_secret("s", {"k": VALUE})
            other.execute("SELECT count(*) FROM secrets").fetchall()
            sealed = files.sealed()
            for number in range(20):
                sealed |= files.sealed()
                client.update_secret("s", add_or_update_values={"l": str(number)})
        left = files.sealed()
        assert left
        for place, blob in sealed.items():
            assert place in left or files.holding(blob) == []
        assert (secret.id, 1) not in left


def test_data_keys_under_a_former_key(local_client: Client, local_settings: Settings, files: Files) -> None:
    """A rotation leaves no data key behind that is wrapped by the former key."""
    local_client.create_secret("s", {"k": VALUE})
    (wrapped,) = files.sealed("wrapped_key").values()
    assert files.holding(wrapped)
    rotate_key(local_settings, None, lambda done, left: None)
    assert files.holding(wrapped) == []


def test_a_reader_that_holds_the_log(local_settings: Settings, files: Files) -> None:
    """While another program reads an old state the delete is done and waits for no one; then a later change, or the end, wipes."""
    with Client(local_settings) as client:
        ids = [client.create_secret(name, {"k": VALUE}).id for name in ("s", "t")]
        sealed = files.sealed()
        with closing(sqlite3.connect(files.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM secrets").fetchall()
            begun = time.monotonic()
            client.delete_secret("s")
            assert time.monotonic() - begun < 5
            reader.execute("COMMIT")
        deadline = time.monotonic() + 20
        while files.holding(sealed[ids[0], 1]):
            assert time.monotonic() < deadline
            client.create_secret(f"u{time.monotonic_ns()}", {"k": VALUE})
        with closing(sqlite3.connect(files.path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM secrets").fetchall()
            client.delete_secret("t")
            reader.execute("COMMIT")
            client.close()  # the reader keeps the log open
            assert files.holding(sealed[ids[1], 1]) == []


@pytest.fixture
def server(local_settings: Settings) -> Iterator[FragileStrongroom]:
    """A server of two workers on the embedded store's files."""
    variables = {"CONFIG_PATH": str(local_settings.folder), "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD}
    server = FragileStrongroom(variables, "--workers", "2")
    yield server
    server.stop()


@pytest.fixture
def root(server: StrongroomServer) -> Iterator[Caller]:
    """Its administrator."""
    with server.connections() as pool:
        yield Caller(server, pool).log_in("default")


def create(root: Caller, name: str) -> str:
    secret_id: str = root.create(name, {"k": VALUE})["id"]
    return secret_id


def test_while_a_server_is_at_work(root: Caller, files: Files) -> None:
    """Soon after the answer no file holds a piece of it, while the server goes on reading and writing."""
    secret_id = create(root, "s")
    create(root, "other")
    sealed = files.sealed()[secret_id, 1]
    assert root.call("DELETE", f"/secrets/{secret_id}").status == 204
    deadline = time.monotonic() + 15
    while held := files.holding(sealed):
        assert time.monotonic() < deadline, held
        create(root, f"n{time.monotonic_ns()}")
        assert root.call("GET", "/secrets/by-name/other").status == 200


def test_pruned_versions_on_a_server(root: Caller, files: Files) -> None:
    """Versions past the retention go in the same way."""
    secret_id = create(root, "s")
    sealed = files.sealed()[secret_id, 1]
    for number in range(20):
        assert root.call("PATCH", f"/secrets/{secret_id}", {"values": {"l": str(number)}}).status == 200
    files.wait_until_gone(sealed)


def test_a_reader_holds_the_log_of_a_server(root: Caller, files: Files) -> None:
    """A program that reads an old state keeps the server from wiping, not from serving; it wipes when that has ended."""
    secret_id = create(root, "s")
    sealed = files.sealed()[secret_id, 1]
    with closing(sqlite3.connect(files.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM secrets").fetchall()
        assert root.call("DELETE", f"/secrets/{secret_id}").status == 204
        create(root, "other")
        assert files.holding(sealed)
        reader.execute("COMMIT")
    files.wait_until_gone(sealed)


def test_another_process_deletes(root: Caller, files: Files, local_settings: Settings) -> None:
    """A command beside the server wipes the log that both share."""
    secret_id = create(root, "s")
    sealed = files.sealed()[secret_id, 1]
    with Client(local_settings) as client:
        client.delete_secret(secret_id)
    files.wait_until_gone(sealed)


def test_a_server_that_is_killed_before_it_wipes(server: FragileStrongroom, root: Caller, files: Files) -> None:
    """The one that is started next does it."""
    secret_id = create(root, "s")
    sealed = files.sealed()[secret_id, 1]
    assert root.call("DELETE", f"/secrets/{secret_id}").status == 204
    server.kill()
    server.go_on()
    files.wait_until_gone(sealed)
