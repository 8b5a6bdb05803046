"""The `local` secrets manager: one file, for its owner alone, whole at any moment."""

from __future__ import annotations

import base64
import json
import os
import random
import stat
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.client import Client
from strongroom.errors import AlreadyExists, ConfigurationError, InvalidInput, NotFound, ValuesCorrupt
from strongroom.secrets_managers.local import LocalSecretsManager
from strongroom.stacks import SecretsManager
from tests import children
from tests.canary import CANARY, holds_canary
from tests.processes import Child, run_together

VALUES = {"user": f"{CANARY}-user", "password": f"{CANARY}-password"}
WRITERS, EACH, KILLS = 8, 25, 30


def mode(path: Path) -> int:
    """The rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_lives_and_goes(manager: LocalSecretsManager) -> None:
    """What is registered is found under its exact name, changed, listed and deleted."""
    manager.register_secret("s", VALUES)
    assert manager.get_secret("s").content == VALUES
    assert manager.find_secret("S") is None
    assert manager.list_secrets() == ["s"]
    assert manager.change_secret("s", {"more": "x"}, ["user"]) == ["password", "more"]
    assert manager.get_secret("s").content == {"password": VALUES["password"], "more": "x"}
    manager.update_secret("s", VALUES)
    assert manager.find_secret("s") == VALUES
    manager.delete_secret("s")
    assert manager.list_secrets() == []


def test_mistakes_change_nothing(manager: LocalSecretsManager) -> None:
    """A name that is taken or not there, a key that is not there, a secret without keys: one clear error each, and no change."""
    manager.register_secret("secret", VALUES)
    before = manager.path.read_bytes()
    with pytest.raises(AlreadyExists, match="has a secret 'secret' already"):
        manager.register_secret("secret", {"a": "b"})
    with pytest.raises(InvalidInput, match="letters, digits"):
        manager.register_secret("a.b", VALUES)
    for call in (
        lambda: manager.get_secret("secre"),
        lambda: manager.update_secret("secre", {}),
        lambda: manager.delete_secret("secre"),
        lambda: manager.change_secret("secre", {"a": "b"}),
    ):
        with pytest.raises(NotFound, match="has no secret 'secre'") as caught:
            call()
        assert isinstance(caught.value, KeyError)
        assert caught.value.hint == "did you mean secret?"
    with pytest.raises(InvalidInput, match="has no key 'zzz' to remove"):
        manager.change_secret("secret", {"a": "b"}, ["zzz"])
    with pytest.raises(InvalidInput, match="both set and removed"):
        manager.change_secret("secret", {"user": "b"}, ["user"])
    with pytest.raises(InvalidInput, match="needs at least one key"):
        manager.change_secret("secret", {}, list(VALUES))
    assert manager.path.read_bytes() == before


def test_nobody_else_reads_it(manager: LocalSecretsManager) -> None:
    """File and lock are 0600 and the folder is 0700, whatever the umask; nothing else is left behind."""
    former = os.umask(0)
    try:
        manager.register_secret("s", VALUES)
    finally:
        os.umask(former)
    assert {path.name: mode(path) for path in manager.path.parent.iterdir()} == {"secrets.yaml": 0o600, ".secrets.yaml.lock": 0o600}
    assert mode(manager.path.parent) == 0o700


def test_it_shows_nothing_by_accident(manager: LocalSecretsManager) -> None:
    """Neither the secret nor the component shows a value in its repr."""
    manager.register_secret("s", VALUES)
    assert not holds_canary(f"{manager.get_secret('s')!r} {manager!r} {manager.get_secret('s').values}")


def test_the_file_is_yaml(manager: LocalSecretsManager) -> None:
    """Other tools read the file as YAML; one that was written by hand is read, too, each scalar as the text that stands there."""
    manager.register_secret("s", VALUES)
    assert yaml.safe_load(manager.path.read_text()) == {"s": VALUES}
    manager.path.write_text("s:\n  port: 5432\n  on: yes\nt: {a: 'b c'}\n")
    assert manager.get_secret("s").content == {"port": "5432", "on": "yes"}
    manager.change_secret("t", {"d": "é\0"})
    assert manager.get_secret("t").content == {"a": "b c", "d": "é\0"}
    assert manager.get_secret("s").content == {"port": "5432", "on": "yes"}


def test_another_file_is_not_overwritten(manager: LocalSecretsManager) -> None:
    """What is no YAML of secrets is a clear error that shows none of it, and stays as it is."""
    manager.path.parent.mkdir(parents=True)
    for text in (f"- {CANARY}", f"s: {CANARY}", f"s: {{a: [{CANARY}]}}", f"s: {{{CANARY}", "\0"):
        manager.path.write_text(text)
        for call in (lambda: manager.list_secrets(), lambda: manager.register_secret("x", VALUES)):
            with pytest.raises(ValuesCorrupt, match="no YAML of secrets") as caught:
                call()
            assert not holds_canary(f"{caught.value} {caught.value.hint} {caught.value.__context__}")
        assert manager.path.read_text() == text


def test_a_file_of_another_system(manager: LocalSecretsManager) -> None:
    """Secrets that it wrote, in base64 and with a key of its own, are read as they were meant; others stay beside them."""
    manager.register_secret("ours", VALUES)
    theirs = {key: base64.b64encode(text.encode()).decode() for key, text in VALUES.items()}
    document = {"theirs": {**theirs, "zenml_schema_name": "arbitrary"}, "ours": VALUES}
    manager.path.write_text(yaml.safe_dump(document))
    assert manager.get_secret("theirs").content == VALUES
    assert manager.get_secret("ours").content == VALUES
    manager.change_secret("theirs", {"more": f"{CANARY}-more"})
    assert manager.get_secret("theirs").content == VALUES | {"more": f"{CANARY}-more"}
    for bad in (f"{CANARY}!", base64.b64encode(b"\xff" + CANARY.encode()).decode(), "ä"):
        manager.path.write_text(yaml.safe_dump({"theirs": {"a": bad, "zenml_schema_name": "arbitrary"}}))
        with pytest.raises(ValuesCorrupt) as caught:
            manager.get_secret("theirs")
        assert not holds_canary(f"{caught.value!r}{caught.value.__context__!r}")


def test_a_path_of_ones_own(local_client: Client, tmp_path: Path) -> None:
    """The attribute `path` names the file, also below the home; what cannot be written there is one clear line."""
    local_client.create_component("a", type="secrets_manager", flavor="local", configuration={"path": "~/deep/er/x.yaml"})
    local_client.create_component("b", type="secrets_manager", flavor="local", configuration={"path": "/proc/none/x.yaml"})
    local_client.update_stack("default", components={"secrets_manager": "a"})
    manager = local_client.active_stack.secrets_manager
    assert manager is not None
    manager.register_secret("s", {"k": "v"})
    assert json.loads((tmp_path / "home/deep/er/x.yaml").read_text()) == {"s": {"k": "v"}}
    local_client.update_stack("default", components={"secrets_manager": "b"})
    other = local_client.active_stack.secrets_manager
    assert isinstance(other, SecretsManager)
    assert other.list_secrets() == []
    with pytest.raises(ConfigurationError, match="the file of secrets manager 'b' cannot be used"):
        other.register_secret("s", {"k": "v"})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.dictionaries(st.from_regex(r"\A[A-Za-z0-9_-]{1,20}\Z"), st.text(st.characters(exclude_categories=["Cs"])), min_size=1)
)
def test_any_text(manager: LocalSecretsManager, values: dict[str, str]) -> None:
    """Any Unicode text comes back as it was."""
    if manager.find_secret("any") is None:
        manager.register_secret("any", {"k": "v"})
    manager.update_secret("any", values)
    assert manager.get_secret("any").content == values


def test_many_writers(manager: LocalSecretsManager, local_client: Client) -> None:
    """Of eight processes that register, change and delete at the same time, no change of one undoes another's."""
    manager.register_secret("shared", {"start": CANARY})
    outcomes = run_together(children.manage_secrets, [(local_client.settings, CANARY, writer, EACH) for writer in range(WRITERS)])
    assert [outcome.error for outcome in outcomes] == [None] * WRITERS
    shared = manager.get_secret("shared").content
    assert len(shared) == 1 + WRITERS * EACH
    own = {f"w{writer}-{number}" for writer in range(WRITERS) for number in range(0, EACH, 2)}
    assert manager.list_secrets() == sorted({"shared", *own})
    assert [path.name for path in manager.path.parent.iterdir() if path.name.startswith(".secrets.yaml-")] == []


def test_killed_writers(manager: LocalSecretsManager, local_client: Client) -> None:
    """A writer that is killed at any moment leaves the file as it was or as it was to be, and holds nobody up."""
    manager.register_secret("counter", {"n": "0"})
    choose, acknowledged = random.Random(CANARY), 0
    for _ in range(KILLS):
        child = Child(children.count_in_manager, local_client.settings)
        messages = [child.receive() for _ in range(choose.choice([1, 2, 3, 8]))]
        child.kill()
        messages += child.receive_all()
        child.end()
        acknowledged = messages[-1]
        found = int(manager.get_secret("counter").content["n"])
        assert found in (acknowledged, acknowledged + 1)
        assert mode(manager.path) == 0o600
    manager.change_secret("counter", {"n": "done"})
    assert manager.get_secret("counter").content == {"n": "done"}
