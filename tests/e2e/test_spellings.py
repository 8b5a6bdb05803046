"""Options that are spelled in other ways, and those of other versions, are options: a private secret never becomes visible."""

from __future__ import annotations

import itertools

import pytest

from strongroom.client import Client
from tests.e2e.conftest import CommandLine

TRUE = ["--private", "--private=true", "--private true", "--private=TRUE", "--Private", "-p", "-p=yes", "-p on", "--PRIVATE 1"]
FALSE = ["--private=false", "--private False", "-p=no", "-p off", "--private 0"]
SCOPES = ["--Scope=user", "--SCOPE user", "--scope=user"]


def scope_of(name: str) -> str:
    with Client() as client:
        [found] = [each for each in client.list_secrets() if each.name == name]
        assert found.keys == ["k"]
        return str(found.scope.value)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("option", [*TRUE, *SCOPES, *FALSE])
def test_create(strongroom: CommandLine, option: str, *, first: bool) -> None:
    """Before or behind the name; no key comes of it."""
    words = [*option.split(), "s", "--k=v"] if first else ["s", "--k=v", *option.split()]
    assert strongroom("secret", "create", *words).code == 0
    assert scope_of("s") == ("workspace" if option in FALSE else "user")


@pytest.mark.parametrize("option", [*TRUE, "--new_scope=user", "--New-Scope user", "--NEW_SCOPE=user"])
def test_update(strongroom: CommandLine, option: str) -> None:
    """Moves the secret, and adds no key; also beside another change."""
    for others in ([], ["--k=w"]):
        strongroom("secret", "create", "s", "--k=v")
        assert strongroom("secret", "update", "s", *option.split(), *others).code == 0
        assert scope_of("s") == "user"
        assert strongroom("secret", "update", "s", "--private=false").code == 0
        assert scope_of("s") == "workspace"
        strongroom("secret", "delete", "s", "-y")


@pytest.mark.parametrize("command", ["get", "describe", "export", "history", "usage"])
def test_looking(strongroom: CommandLine, command: str) -> None:
    """`--private` looks in the user scope alone, `--private=false` in the workspace."""
    strongroom("secret", "create", "mine", "--private", "--k=v")
    strongroom("secret", "create", "ours", "--k=v")
    for name, option in itertools.product(("mine", "ours"), ("--private", "-p true", "--private=no", "--Scope=user")):
        fits = (name == "ours") == ("no" in option)
        assert (strongroom("secret", command, name, *option.split()).code == 0) == fits


@pytest.mark.parametrize("words", [["--private=perhaps"], ["--private="], ["--private", "--scope=workspace"], ["-p=2"]])
@pytest.mark.parametrize("command", ["create", "update"])
def test_what_is_not_clear_is_refused(strongroom: CommandLine, command: str, words: list[str]) -> None:
    """And changes nothing."""
    if command == "update":
        strongroom("secret", "create", "s", "--k=v")
        words = [word.replace("--scope", "--new-scope") for word in words]
    done = strongroom("secret", command, "s", "--a=b", *words)
    assert (done.code, done.out) == (2, "")
    with Client() as client:
        assert [each.keys for each in client.list_secrets()] == ([["k"]] if command == "update" else [])


def test_keys_of_such_names(strongroom: CommandLine) -> None:
    """They go through `-v`; values and words behind `--` are left alone."""
    assert strongroom("secret", "create", "s", "-v", '{"private": "a", "Scope": "b"}', "--k=-p", "--description=--Scope").code == 0
    with Client() as client:
        found = client.get_secret("s")
        assert found.secret_values == {"private": "a", "Scope": "b", "k": "-p"}
        assert (found.description, found.scope.value) == ("--Scope", "workspace")
