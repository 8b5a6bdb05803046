"""`strongroom user`, `workspace`, `service-account` and `api-key`, on the embedded store."""

from __future__ import annotations

import pexpect
import pytest

from tests.canary import CANARY

from .conftest import BIN, CommandLine

PASSWORD = f"{CANARY}-password".encode()


def test_users_from_beginning_to_end(strongroom: CommandLine) -> None:
    """Create, list, describe, update, deactivate."""
    made = strongroom("user", "create", "bob", "--password=-", "-o", "json", stdin=PASSWORD + b"\n")
    assert (made.code, made.data["name"], made.data["admin"]) == (0, "bob", False)
    assert [user["name"] for user in strongroom("user", "list", "-o", "json").data["items"]] == ["bob", "default"]
    assert "bob" in strongroom("user", "list", "--name", "startswith:b").out
    assert strongroom("user", "describe", "bob", "-o", "json").data == made.data
    assert strongroom("user", "update", "bob", "--admin", "-o", "json").data["admin"] is True
    assert strongroom("user", "update", "bob", "--password=-", stdin=PASSWORD + b"2\n").code == 0
    assert "last administrator" in strongroom("user", "deactivate", "bob", "-y").err
    strongroom("user", "update", "default", "--password=-", stdin=PASSWORD + b"\n")
    assert strongroom("user", "update", "bob", "--no-admin", "-o", "json").data["admin"] is False
    assert strongroom("user", "deactivate", "bob", stdin=b"n\n").code == 1
    assert strongroom("user", "deactivate", "bob", "-y").code == 0
    assert strongroom("user", "describe", "bob", "-o", "json").data["active"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("user", "create", "bob", "--password=hunter22"), 2, "takes no value on the command line"),
        (("user", "create", "a b", "--password=-"), 1, "the name of a user"),
        (("user", "create", "default", "--password=-"), 1, "already exists"),
        (("user", "update", "bob"), 2, "there is nothing to change"),
        (("user", "describe", "nobody"), 1, "there is no user"),
        (("workspace", "set", "nowhere"), 1, "there is no workspace"),
        (("workspace", "create", "a.b"), 1, "the name of the workspace"),
        (("workspace", "member", "add", "nobody", "--role", "viewer"), 1, "there is no user"),
        (("workspace", "member", "add", "default", "--role", "chief"), 2, "viewer, reader, editor, admin"),
        (("workspace", "member", "remove", "default", "-y"), 1, "last administrator"),
        (("api-key", "create", "nobody", "k"), 1, "there is no service account"),
    ],
)
def test_mistakes_are_one_clear_line(strongroom: CommandLine, arguments: tuple[str, ...], code: int, says: str) -> None:
    """Wrong input is told in one line, and nobody is added."""
    outcome = strongroom(*arguments, stdin=PASSWORD + b"\n")
    assert outcome.code == code
    assert says in outcome.err
    assert outcome.err.count("Error:") == 1
    assert [user["name"] for user in strongroom("user", "list", "-o", "json").data["items"]] == ["default"]


def test_a_password_is_asked_for_hidden_and_twice(strongroom: CommandLine) -> None:
    """At a terminal the password is not echoed, and asked again until both are the same."""
    child = pexpect.spawn(str(BIN / "strongroom"), ["user", "create", "carol"], timeout=30)
    answers = (b"one-password", b"another-one", PASSWORD, PASSWORD)
    for question, answer in zip((b"Password of", b"The same again", b"Password of", b"The same again"), answers, strict=True):
        child.expect(question)
        child.waitnoecho()
        child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert strongroom("user", "describe", "carol", "-o", "json").data["active"] is True


def test_workspaces_keep_secrets_apart(strongroom: CommandLine) -> None:
    """What is made in one workspace is not seen in another; the choice outlives the command."""
    assert strongroom("secret", "create", "s", "--k=hunter22").code == 0
    assert strongroom("workspace", "create", "vision", "--set", "-o", "json").data["active"] is True
    assert strongroom("secret", "list", "-o", "json").data["items"] == []
    assert strongroom("secret", "create", "s", "--l=hunter22").code == 0
    assert [item["name"] for item in strongroom("workspace", "list", "-o", "json").data["items"]] == ["default", "vision"]
    assert strongroom("workspace", "set", "default").code == 0
    assert strongroom("secret", "describe", "s", "-o", "json").data["keys"] == ["k"]


def test_a_variable_chooses_the_workspace(strongroom: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """STRONGROOM_ACTIVE_WORKSPACE wins in its shell; a name that is not there is told."""
    assert strongroom("workspace", "create", "vision").code == 0
    monkeypatch.setenv("STRONGROOM_ACTIVE_WORKSPACE", "vision")
    assert strongroom("secret", "create", "s", "--k=hunter22").code == 0
    assert strongroom("secret", "describe", "s", "-o", "json").data["workspace"] == "vision"
    assert "is set, so 'vision' is used here" in strongroom("workspace", "set", "default").err
    monkeypatch.setenv("STRONGROOM_ACTIVE_WORKSPACE", "absent")
    outcome = strongroom("secret", "list")
    assert (outcome.code, "there is no workspace 'absent'" in outcome.err) == (1, True)


def test_members_and_machines(strongroom: CommandLine) -> None:
    """Members get roles; a service account gets a key, which is printed once."""
    strongroom("user", "create", "bob", "--password=-", stdin=PASSWORD + b"\n")
    assert strongroom("workspace", "member", "add", "bob", "--role", "reader").code == 0
    members = {item["name"]: item["role"] for item in strongroom("workspace", "member", "list", "-o", "json").data["items"]}
    assert members == {"bob": "reader", "default": "admin"}
    assert strongroom("workspace", "member", "remove", "bob", "-y").code == 0
    assert strongroom("service-account", "create", "ci", "--role", "reader", "-o", "json").data["role"] == "reader"
    assert "ci" in strongroom("service-account", "list").out
    made = strongroom("api-key", "create", "ci", "k", "--expires-at", "2099-01-01T00:00:00Z", "-o", "json").data
    assert made["key"].startswith("srk_")
    bare = strongroom("api-key", "create", "ci", "l")
    assert bare.out.startswith("srk_")
    assert made["key"] not in strongroom("api-key", "list", "ci", "-o", "json").out
    assert "2099" in strongroom("api-key", "list", "ci").out
    assert strongroom("api-key", "delete", "ci", "k", "-y").code == 0
    assert strongroom("service-account", "delete", "ci", "-y").code == 0
    assert strongroom("service-account", "list", "-o", "json").data["items"] == []


def test_ones_own_password(strongroom: CommandLine) -> None:
    """Without a password to begin with there is none to change; with one, the current one is needed."""
    outcome = strongroom("user", "password", stdin=PASSWORD + b"\n" + PASSWORD + b"2\n")
    assert (outcome.code, "the current password is wrong" in outcome.err) == (1, True)
    strongroom("user", "update", "default", "--password=-", stdin=PASSWORD + b"\n")
    assert strongroom("user", "password", stdin=PASSWORD + b"\n" + PASSWORD + b"2\n").code == 0
