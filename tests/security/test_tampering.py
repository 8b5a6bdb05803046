"""Whoever can write to the database, but has no key, cannot make one value pass for another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.errors import EncryptionKeyError, ValuesCorrupt, ValuesMissing
from tests.canary import CANARY, holds_canary

ONE, TWO, OLD = f"{CANARY}-one", f"{CANARY}-two", f"{CANARY}-old"
SEALED = ("key_id", "wrapped_key", "sealed")


@dataclass
class Attacker:
    """Writes to the database behind strongroom's back."""

    connection: sqlite3.Connection
    one: str
    two: str

    def row(self, secret_id: str, number: int = 2) -> tuple[object, ...]:
        """The sealed columns of a version."""
        query = f"SELECT {', '.join(SEALED)} FROM sql_values WHERE secret_id = ? AND number = ?"
        found: tuple[object, ...] = self.connection.execute(query, (secret_id, number)).fetchone()
        return found

    def put(self, secret_id: str, columns: tuple[object, ...], number: int = 2) -> None:
        """Overwrites the sealed columns of a version."""
        query = f"UPDATE sql_values SET {', '.join(f'{name} = ?' for name in SEALED)} WHERE secret_id = ? AND number = ?"
        assert self.connection.execute(query, (*columns, secret_id, number)).rowcount == 1

    def run(self, statement: str, *parameters: object) -> int:
        """Any statement; how many rows it changed."""
        return self.connection.execute(statement, parameters).rowcount


@pytest.fixture
def attacker(local_settings: Settings, local_client: Client) -> Iterator[Attacker]:
    """Two secrets of two versions each, and somebody at the database."""
    ids = []
    for name, text in (("one", ONE), ("two", TWO)):
        ids.append(local_client.create_secret(name, {"k": OLD}).id)
        local_client.update_secret(name, add_or_update_values={"k": text})
    connection = sqlite3.connect(local_settings.folder / "strongroom.db", isolation_level=None)
    yield Attacker(connection, *ids)
    connection.close()


def copy_from_another_secret(attacker: Attacker) -> None:
    attacker.put(attacker.one, attacker.row(attacker.two))


def copy_from_an_older_version(attacker: Attacker) -> None:
    attacker.put(attacker.one, attacker.row(attacker.one, 1))


def swap_versions(attacker: Attacker) -> None:
    first, second = attacker.row(attacker.one, 1), attacker.row(attacker.one, 2)
    attacker.put(attacker.one, second, 1)
    attacker.put(attacker.one, first, 2)


def copy_the_text_with_its_old_key(attacker: Attacker) -> None:
    key_id, wrapped_key, _ = attacker.row(attacker.one)
    attacker.put(attacker.one, (key_id, wrapped_key, attacker.row(attacker.two)[2]))


def copy_the_key_with_its_old_text(attacker: Attacker) -> None:
    key_id, _, sealed = attacker.row(attacker.one)
    attacker.put(attacker.one, (key_id, attacker.row(attacker.two)[1], sealed))


def swap_locators_of_secrets(attacker: Attacker) -> None:
    swap = "UPDATE placements SET locator = ? WHERE secret_id = ? AND number = 2"
    query = "SELECT locator FROM placements WHERE secret_id = ? AND number = 2"
    ((one,),) = attacker.connection.execute(query, (attacker.one,))
    ((two,),) = attacker.connection.execute(query, (attacker.two,))
    attacker.run(swap, "away", attacker.one)
    attacker.run(swap, one, attacker.two)
    attacker.run(swap, two, attacker.one)


def relabel_values(attacker: Attacker) -> None:
    attacker.run("UPDATE sql_values SET locator = 'x' WHERE secret_id = ? AND number = 2", attacker.one)
    attacker.run("UPDATE placements SET locator = 'x' WHERE secret_id = ? AND number = 2", attacker.one)


def renumber_versions(attacker: Attacker) -> None:
    for table in ("placements", "versions"):
        for number, other in ((1, 9), (2, 1), (9, 2)):
            attacker.run(f"UPDATE {table} SET number = ? WHERE secret_id = ? AND number = ?", other, attacker.one, number)


def replace_the_secret(attacker: Attacker) -> None:
    for table in ("placements", "versions"):
        for secret_id, other in ((attacker.one, "x"), (attacker.two, attacker.one), ("x", attacker.two)):
            attacker.run(f"UPDATE {table} SET secret_id = ? WHERE secret_id = ?", other, secret_id)


def flip_a_bit(attacker: Attacker) -> None:
    key_id, wrapped_key, sealed = attacker.row(attacker.one)
    assert isinstance(sealed, bytes)
    attacker.put(attacker.one, (key_id, wrapped_key, sealed[:20] + bytes([sealed[20] ^ 1]) + sealed[21:]))


def cut_the_text(attacker: Attacker) -> None:
    attacker.put(attacker.one, (*attacker.row(attacker.one)[:2], b""))


def rename_a_key(attacker: Attacker) -> None:
    attacker.run("UPDATE versions SET key_names = '[\"l\"]' WHERE secret_id = ? AND number = 2", attacker.one)


def hide_a_key(attacker: Attacker) -> None:
    attacker.run("UPDATE versions SET key_names = '[]' WHERE secret_id = ? AND number = 2", attacker.one)


@pytest.mark.parametrize(
    "attack",
    [
        copy_from_another_secret,
        copy_from_an_older_version,
        swap_versions,
        copy_the_text_with_its_old_key,
        copy_the_key_with_its_old_text,
        swap_locators_of_secrets,
        relabel_values,
        renumber_versions,
        replace_the_secret,
        flip_a_bit,
        cut_the_text,
        rename_a_key,
        hide_a_key,
    ],
)
def test_a_moved_or_changed_row_does_not_open(attacker: Attacker, local_client: Client, attack: Callable[[Attacker], None]) -> None:
    """Rows that were copied, swapped, rolled back, renumbered or damaged give `ValuesCorrupt`, not another value."""
    attack(attacker)
    with pytest.raises(ValuesCorrupt) as caught:
        local_client.get_secret(attacker.one)
    assert not holds_canary(f"{caught.value} {caught.value.hint}")
    with pytest.raises(ValuesCorrupt):
        local_client.update_secret(attacker.one, add_or_update_values={"l": "x"})
    local_client.delete_secret(attacker.one)
    assert [secret.name for secret in local_client.list_secrets()] == ["two"]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM sql_values WHERE secret_id = ?", "DELETE FROM placements WHERE secret_id = ?"],
    ids=["values", "placements"],
)
def test_a_removed_row_is_missing(attacker: Attacker, local_client: Client, statement: str) -> None:
    """Values that are gone are told apart from damaged ones, and the secret can still be deleted."""
    assert attacker.run(statement, attacker.one) == 2
    with pytest.raises(ValuesMissing):
        local_client.get_secret("one")
    assert local_client.get_secret("two").secret_values == {"k": TWO}
    local_client.delete_secret("one")


def test_a_good_version_can_be_rolled_back_to(attacker: Attacker, local_client: Client) -> None:
    """When one version is damaged, another one still serves."""
    flip_a_bit(attacker)
    assert local_client.rollback_secret("one", 1).version == 1
    assert local_client.get_secret("one").secret_values == {"k": OLD}


def test_rows_of_another_deployment_do_not_open(
    attacker: Attacker, local_client: Client, local_settings: Settings, tmp_path: Path
) -> None:
    """Sealed values of another deployment do not open, even under the same key and for a secret of the same name."""
    elsewhere = replace(local_settings, folder=tmp_path / "b", database_url=f"sqlite:///{tmp_path / 'b' / 'strongroom.db'}")
    elsewhere = replace(elsewhere, encryption_key=(local_settings.folder / "encryption.key").read_text())
    with Client(elsewhere) as client:
        client.create_secret("one", {"k": TWO})
    with closing(sqlite3.connect(tmp_path / "b" / "strongroom.db")) as connection:
        foreign = connection.execute(f"SELECT {', '.join(SEALED)} FROM sql_values").fetchone()
    assert foreign[0] == attacker.row(attacker.one)[0]
    attacker.put(attacker.one, foreign)
    with pytest.raises(ValuesCorrupt):
        local_client.get_secret("one")


@pytest.mark.parametrize("column", ["digest_key", "wrapped_key", "id"])
def test_a_changed_deployment_row_is_noticed(attacker: Attacker, local_settings: Settings, column: str) -> None:
    """The row of encryption data is bound to its deployment too: changed, the store does not open."""
    attacker.run(f"UPDATE deployment SET {column} = ?", b"\0" * 60 if column != "id" else "another")
    with other_process(local_settings) as client, pytest.raises(EncryptionKeyError, match="was changed"):
        client.list_secrets()


@contextmanager
def other_process(settings: Settings) -> Iterator[Client]:
    """A client that shares nothing with the ones that are open."""
    with Client(replace(settings, keep_versions=settings.keep_versions + 1)) as client:
        yield client
