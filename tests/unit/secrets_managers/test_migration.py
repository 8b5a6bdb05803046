"""The way out: nothing lost, nothing twice, however often it is cut off."""

from __future__ import annotations

import random

import pytest

from strongroom.client import Client
from strongroom.errors import NotFound, StaleVersion
from strongroom.models.secret import Scope
from strongroom.secrets_managers.local import LocalSecretsManager
from strongroom.secrets_managers.migration import LABEL, Migration, Standing
from tests import children
from tests.canary import CANARY
from tests.processes import Child

SECRETS, CONFLICTS, KILLS = 1000, 100, 20
VALUES = {"user": f"{CANARY}-user", "password": f"{CANARY}-password"}


@pytest.fixture
def migration(manager: LocalSecretsManager, local_client: Client) -> Migration:
    """From the file to the workspace."""
    return Migration(local_client, manager, Scope.WORKSPACE)


def test_a_secret_is_made_as_it_was(manager: LocalSecretsManager, local_client: Client, migration: Migration) -> None:
    """Keys and values are the same, and a label says where they came from."""
    manager.register_secret("s", VALUES)
    made = migration.put(migration.look_at("s"))
    assert local_client.get_secret("s").secret_values == VALUES
    assert made.labels == {LABEL: "file"}
    assert migration.look_at("s").standing is Standing.SAME


def test_overwriting_is_an_exact_mirror(manager: LocalSecretsManager, local_client: Client, migration: Migration) -> None:
    """Keys that the secrets manager does not have go, the others change, in one version; the former one is kept."""
    manager.register_secret("s", VALUES)
    local_client.create_secret("s", {"user": "other", "more": "x"}, description="mine")
    candidate = migration.look_at("s")
    assert candidate.standing is Standing.DIFFERENT
    made = migration.put(candidate)
    assert (made.version, made.description) == (2, "mine")
    assert local_client.get_secret("s").secret_values == VALUES
    assert local_client.get_secret("s", version=1).secret_values == {"user": "other", "more": "x"}


def test_what_changes_meanwhile_is_not_overwritten(manager: LocalSecretsManager, local_client: Client, migration: Migration) -> None:
    """A change of the centralized secret after it was looked at stops the overwriting; one of either stops the deletion."""
    manager.register_secret("s", VALUES)
    local_client.create_secret("s", {"user": "other"})
    candidate = migration.look_at("s")
    local_client.update_secret("s", add_or_update_values={"user": "newer"})
    with pytest.raises(StaleVersion):
        migration.put(candidate)
    with pytest.raises(StaleVersion, match="has other values"):
        migration.delete("s")
    migration.put(migration.look_at("s"))
    manager.change_secret("s", {"user": "changed"})
    with pytest.raises(StaleVersion, match="was not deleted"):
        migration.delete("s")
    assert manager.get_secret("s").content["user"] == "changed"


def test_another_scope(manager: LocalSecretsManager, local_client: Client) -> None:
    """Only the scope that it goes to counts: the workspace's secret of the name stays as it is."""
    manager.register_secret("s", VALUES)
    local_client.create_secret("s", {"user": "other"})
    migration = Migration(local_client, manager, Scope.USER)
    assert migration.look_at("s").standing is Standing.ABSENT
    migration.put(migration.look_at("s"))
    assert local_client.get_secret("s", scope="user").secret_values == VALUES
    assert local_client.get_secret("s", scope="workspace").secret_values == {"user": "other"}


def test_unknown_names_stop_it(manager: LocalSecretsManager, migration: Migration) -> None:
    """All unknown names are told at once."""
    manager.register_secret("s", VALUES)
    with pytest.raises(NotFound, match="has no secrets 'x', 'y'; nothing was migrated"):
        migration.names(["s", "x", "y", "x"])
    assert migration.names(["s", "s"]) == ["s"]
    assert migration.names() == ["s"]


def test_killed_again_and_again(manager: LocalSecretsManager, local_client: Client) -> None:
    """A thousand secrets, a hundred of which conflict, killed twenty times: the end is that of a migration that nobody disturbed.

    Meanwhile each reference keeps a value: at no moment is a secret in neither place.
    """
    wanted = {f"s{number:04}": {"user": f"{CANARY}-{number}", "password": "x"} for number in range(SECRETS)}
    choose = random.Random(CANARY)
    conflicting = set(choose.sample(sorted(wanted), CONFLICTS))
    for name, values in wanted.items():
        manager.register_secret(name, values)
    for name in conflicting:
        local_client.create_secret(name, {"user": "other", "extra": "x"})
    killed = 0
    for _ in range(KILLS):
        child = Child(children.migrate_until_killed, local_client.settings, [])
        for _ in range(choose.randrange(1, 40)):
            child.receive()
        child.kill()
        killed += len(list(child.receive_all())) < SECRETS
        child.end()
        here, there = set(manager.list_secrets()), {each.name for each in all_secrets(local_client)}
        assert here | there == set(wanted)
    assert killed == KILLS
    assert 0 < len(manager.list_secrets()) < SECRETS
    last = Child(children.migrate_until_killed, local_client.settings, [])
    remaining = list(last.receive_all())
    last.end()
    assert 0 < len(remaining) < SECRETS
    assert manager.list_secrets() == []
    found = {each.name: each for each in all_secrets(local_client)}
    assert {name: local_client.get_secret(each.id).secret_values for name, each in found.items()} == wanted
    assert {name for name, each in found.items() if each.version == 2} == conflicting
    assert {each.version for name, each in found.items() if name not in conflicting} == {1}


def all_secrets(client: Client) -> list:  # type: ignore[type-arg]
    """The metadata of all secrets."""
    return list(client.list_secrets(size=1000))
