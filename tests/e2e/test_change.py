"""`update`, `rename`, `delete`, `rollback`, and the rotation of the encryption key."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import CommandLine

pytestmark = pytest.mark.transports("embedded", "server")


@pytest.fixture(autouse=True)
def db(strongroom: CommandLine) -> None:
    assert strongroom("secret", "create", "db", "--user=admin", "--password=old", "--port=1").code == 0


def state(strongroom: CommandLine, name: str = "db") -> dict:
    data = strongroom("secret", "get", name, "-o", "json").data
    return {field: data[field] for field in ("values", "version", "scope", "labels", "description")}


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--password=new"], {"user": "admin", "password": "new", "port": "1"}),
        (["--extra="], {"user": "admin", "password": "old", "port": "1", "extra": ""}),
        (["-r", "port"], {"user": "admin", "password": "old"}),
        (["-r", "port", "user"], {"password": "old"}),
        (["-r", "port", "-r", "user"], {"password": "old"}),
        (["--remove-keys=port,user", "--x=1"], {"password": "old", "x": "1"}),
        (["-v", '{"port": null, "user": "u"}'], {"user": "u", "password": "old"}),
        (["-v", "port: ~\nx: 'null'"], {"user": "admin", "password": "old", "x": "null"}),
        (["--if-version", "1", "--user=u"], {"user": "u", "password": "old", "port": "1"}),
    ],
)  # fmt: skip
def test_update_merges(strongroom: CommandLine, options: list[str], values: dict[str, str]) -> None:
    """Named keys change, the others stay, and the reply shows no value."""
    outcome = strongroom("secret", "update", "db", *options)
    assert (outcome.code, outcome.out) == (0, "")
    assert "admin" not in outcome.err
    assert (state(strongroom)["values"], state(strongroom)["version"]) == (values, 2)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 2),
        (["-v", "{}"], 2),
        (["-r", "absent"], 1),
        (["--user=hunter22", "-r", "user"], 2),
        (["-r", "user", "user"], 2),
        (["-r", "user,password,port"], 1),
        (["--if-version=7", "--user=hunter22"], 1),
        (["--new-scope=hunter22"], 2),
        (["--user=hunter22", "hunter22"], 2),
        (["--user", "hunter22"], 2),
        (["--name=hunter22"], 1),
        (["--user=@hunter22"], 1),
        (["--user=hunter22", "-r", "absent"], 1),
        (["--scope=user", "--user=hunter22"], 1),
    ],
)  # fmt: skip
def test_refused_updates_change_nothing(strongroom: CommandLine, options: list[str], code: int) -> None:
    """One line, the right exit status, everything as before, no value repeated."""
    before = state(strongroom)
    outcome = strongroom("secret", "update", "db", *options)
    assert (outcome.code, outcome.out) == (code, "")
    assert len(outcome.err.splitlines()) <= 2
    assert state(strongroom) == before


def test_metadata(strongroom: CommandLine) -> None:
    """Scope, labels, description and expiry change without a new version."""
    assert strongroom("secret", "update", "db", "--label=a=1", "--label=b=2", "--description=d").code == 0
    assert strongroom("secret", "update", "db", "--label=a=", "--new-scope=user").code == 0
    assert state(strongroom) | {"values": None} == {
        "values": None, "version": 1, "scope": "user", "labels": {"b": "2"}, "description": "d"
    }  # fmt: skip


def test_new_scope_that_is_taken(strongroom: CommandLine) -> None:
    """A secret does not move onto another one."""
    strongroom("secret", "create", "db", "--private", "--k=mine")
    assert strongroom("secret", "update", "db", "--scope=workspace", "--new-scope=user").code == 1
    assert strongroom("secret", "get", "db", "--scope=workspace", "--key=user").out == "admin"


@pytest.mark.parametrize("words", [["new"], ["-n", "new"], ["--new-name=new"]])
def test_rename(strongroom: CommandLine, words: list[str]) -> None:
    """Both spellings give the secret another name; the old one is free."""
    outcome = strongroom("secret", "rename", "db", *words, "-o", "json")
    assert outcome.data["name"] == "new"
    assert strongroom("secret", "get", "db").code == 1
    assert state(strongroom, "new")["values"]["user"] == "admin"


@pytest.mark.parametrize("words", [[], ["new", "-n", "new"], ["a.b"], ["taken"], ["name"]])
def test_refused_renames(strongroom: CommandLine, words: list[str]) -> None:
    """No name, two names, a bad name, a taken name: nothing happens."""
    strongroom("secret", "create", "taken", "--k=v")
    assert strongroom("secret", "rename", "db", *words).code in (1, 2)
    assert state(strongroom)["values"]["user"] == "admin"


def test_delete_asks(strongroom: CommandLine, workspace: str) -> None:
    """The question shows name, scope and id; only yes deletes."""
    identifier = strongroom("secret", "get", "db", "-o", "json").data["id"]
    for answer in (b"", b"\n", b"n\n", b"maybe\n"):
        outcome = strongroom("secret", "delete", identifier, stdin=answer)
        assert outcome.code == 1
        assert f"Delete secret 'db' in workspace '{workspace}', id {identifier}" in outcome.err
    assert strongroom("secret", "delete", "db", stdin=b"y\n").code == 0
    assert strongroom("secret", "get", "db").code == 1
    assert strongroom("secret", "delete", "db", "-y").code == 1


def test_rollback(strongroom: CommandLine) -> None:
    """Going back and forth moves between kept versions; the next update continues the numbering."""
    strongroom("secret", "update", "db", "--password=new")
    assert strongroom("secret", "rollback", "db", "--to-version=1").code == 0
    assert state(strongroom)["values"]["password"] == "old"
    assert strongroom("secret", "rollback", "db", "--to-version=2").code == 0
    assert state(strongroom)["values"]["password"] == "new"
    assert strongroom("secret", "rollback", "db", "--to-version=2").code == 2
    assert strongroom("secret", "rollback", "db", "--to-version=9").code == 1
    assert strongroom("secret", "rollback", "db").code == 2
    strongroom("secret", "rollback", "db", "--to-version=1")
    strongroom("secret", "update", "db", "--port=2")
    assert (state(strongroom)["version"], state(strongroom)["values"]["password"]) == (3, "old")


@pytest.mark.transports("embedded", reason="how many versions are kept is a setting of the server")
def test_retention(strongroom: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many versions are kept, and the current one always."""
    monkeypatch.setenv("STRONGROOM_KEEP_VERSIONS", "3")
    for number in range(6):
        strongroom("secret", "update", "db", f"--n={number}")
    kept = strongroom("secret", "history", "db", "-o", "json").data["items"]
    assert [version["version"] for version in kept] == [7, 6, 5]
    strongroom("secret", "rollback", "db", "--to-version=5")
    for number in range(3):
        strongroom("secret", "update", "db", f"--n={number}x")
        strongroom("secret", "rollback", "db", "--to-version=5")
    kept = strongroom("secret", "history", "db", "-o", "json").data["items"]
    assert [(version["version"], version["current"]) for version in kept] == [(10, False), (9, False), (8, False), (5, True)]


@pytest.mark.transports("embedded", reason="a server's keys are rotated where it runs, not by those who are logged in")
def test_rotate_the_key(strongroom: CommandLine, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A managed key is replaced; a given key is replaced by the one before it; without a new one it says what to do."""
    before = (store / "encryption.key").read_text()
    outcome = strongroom("server", "rotate-key", "-o", "json")
    assert outcome.code == 0
    assert outcome.data["rewrapped"] == 1
    after = (store / "encryption.key").read_text()
    assert after != before
    assert len(after.split()) == 1
    assert state(strongroom)["values"]["user"] == "admin"

    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", after)
    unchanged = strongroom("server", "rotate-key")
    assert unchanged.code == 1
    assert "generate-key" in unchanged.err
    fresh = strongroom("server", "generate-key").out
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", f"{fresh.strip()},{after}")
    assert strongroom("server", "rotate-key").code == 0
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", fresh)
    assert state(strongroom)["values"]["user"] == "admin"
    monkeypatch.setenv("STRONGROOM_ENCRYPTION_KEY", after)
    wrong = strongroom("secret", "get", "db")
    assert wrong.code == 1
    assert "wrong encryption key" in wrong.err
    assert after.strip() not in wrong.err
