"""Secrets managers and the way out of them, on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.canary import CANARY, holds_canary

from .conftest import BIN, VALUE, CommandLine, Outcome
from .test_stacks import done

pytestmark = pytest.mark.transports("embedded", "server")

WARNING = "warning: secrets managers are deprecated; "
SM = "secrets-manager"


def refused(outcome: Outcome, code: int, message: str) -> Outcome:
    """The outcome of a command of this group that has to fail: the warning, one line of this text, perhaps a hint."""
    assert outcome.code == code, outcome.err
    lines = [line for line in outcome.err.splitlines() if not line.startswith(WARNING)]
    assert len(lines) <= 2, outcome.err
    assert lines[0].startswith("Error: ")
    assert message in lines[0], outcome.err
    assert all(line.startswith("hint: ") for line in lines[1:]), outcome.err
    assert outcome.out == ""
    return outcome


@pytest.fixture
def file(tmp_path: Path, allow_values_in: Callable[[Path], Path]) -> Path:
    """Where the secrets manager keeps its secrets."""
    return allow_values_in(tmp_path / "kept") / "secrets.yaml"


@pytest.fixture
def managed(strongroom: CommandLine, file: Path) -> CommandLine:
    """The command line, whose active stack has a secrets manager."""
    done(strongroom(SM, "register", "mine", "--flavor=local", f"--path={file}"))
    done(strongroom("stack", "register", "managed", "-o", "default", "-a", "default", "--secrets_manager", "mine", "--set"))
    return strongroom


def test_every_command_says_that_it_is_deprecated(managed: CommandLine) -> None:
    """Each command of the group prints one warning on stderr that names what to use instead, and works; help does not warn."""
    for arguments in (
        (SM, "register", "other", "--flavor=local"),
        (SM, "list"),
        (SM, "get"),
        (SM, "describe", "other"),
        (SM, "update", "other", "--path=/x"),
        (SM, "rename", "other", "another"),
        (SM, "delete", "another", "-y"),
        (SM, "flavor", "list"),
        (SM, "flavor", "describe", "vault"),
    ):
        outcome = done(managed(*arguments))
        assert outcome.err.count(WARNING + "strongroom secret needs no component") == 1, arguments
        assert not done(managed(*arguments[:-1] if arguments[-1] == "-y" else arguments, "--help")).err
    for word, arguments in (
        ("create", ("register", "s", f"--k={VALUE}")),
        ("get", ("get", "s")),
        ("list", ("list",)),
        ("update", ("update", "s", f"--l={VALUE}")),
        ("list", ("migrate", "-n")),
        ("delete", ("delete", "s", "-y")),
        ("delete", ("cleanup", "-y")),
    ):
        for group in ("secret", "secrets"):
            if (group, arguments[0]) in (("secrets", "register"), ("secret", "delete")):
                continue  # once is enough for these
            outcome = done(managed(SM, group, *arguments))
            assert outcome.err.count(WARNING) == 1
            assert f"strongroom secret {word}" in outcome.err.splitlines()[0]
        assert not done(managed(SM, "secret", arguments[0], "--help")).err
    for arguments in (("register", "x", "-o", "default", "-a", "default", "-x", "mine"), ("update", "x", "-x", "mine")):
        assert "warning: secrets managers are deprecated" in done(managed("stack", *arguments)).err


def test_secrets_come_and_go(managed: CommandLine, file: Path) -> None:
    """register, get, list, update and delete take keys and values as `strongroom secret` does."""
    Path("token.txt").write_text(f"{CANARY}\n")
    Path("values.env").write_text(f"from_env='{CANARY}'\n")
    made = done(managed(SM, "secret", "register", "s", f"--user={VALUE}", "--token=@token.txt", "-v", f"{{in_json: {VALUE}}}"))
    Path("token.txt").unlink()
    assert "Registered secret 's' in secrets manager 'mine' with 3 keys: in_json, user, token." in made.err
    assert made.out == ""
    shown = done(managed(SM, "secret", "get", "s", "-o", "json")).data
    assert shown == {
        "name": "s",
        "keys": ["in_json", "token", "user"],
        "values": {"user": CANARY, "token": f"{CANARY}\n", "in_json": CANARY},
    }
    assert CANARY in done(managed(SM, "secrets", "get", "s")).out
    assert done(managed(SM, "secret", "get", "s", "--key", "user")).out == CANARY
    assert done(managed(SM, "secret", "get", "s", "--key=user", "-o", "json")).data == {"user": CANARY}
    refused(managed(SM, "secret", "get", "s", "--key=none"), 1, "has no such key")
    done(managed(SM, "secret", "update", "s", f"--more={VALUE}2", "-r", "user", "token"))
    done(managed(SM, "secret", "update", "s", "--from-env-file", "values.env"))
    Path("values.env").unlink()
    assert sorted(managed(SM, "secret", "get", "s", "-o", "json").data["values"]) == ["from_env", "in_json", "more"]
    done(managed(SM, "secret", "update", "s", "-i", stdin=b"\n" + VALUE.encode() + b"3\n\ny\nadded\n" + VALUE.encode() + b"\nn\n"))
    assert managed(SM, "secret", "get", "s", "-o", "json").data["values"]["more"] == f"{CANARY}3"
    done(managed(SM, "secret", "register", "t", "-i", stdin=b"k\n" + VALUE.encode() + b"\nn\n"))
    assert [each["name"] for each in done(managed(SM, "secret", "list", "-o", "json")).data["items"]] == ["s", "t"]
    listed = done(managed(SM, "secret", "list"))
    assert listed.out.split() == ["NAME", "s", "t"]
    assert "2 secrets in secrets manager 'mine'." in listed.err
    assert set(yaml.safe_load(file.read_text())) == {"s", "t"}
    assert managed(SM, "secret", "delete", "s", stdin=b"n\n").code == 1
    assert "Deleted secret 's' of secrets manager 'mine'." in done(managed(SM, "secret", "delete", "s", stdin=b"y\n")).err
    assert managed(SM, "secret", "cleanup", stdin=b"\n").code == 1
    assert "Deleted 1 secret of" in done(managed(SM, "secret", "cleanup", stdin=b"yes\n")).err
    assert managed(SM, "secret", "list", "-o", "json").data["items"] == []


def test_mistakes_of_the_group(managed: CommandLine) -> None:
    """Each mistake is one clear line with the right exit code, and stores nothing."""
    done(managed(SM, "secret", "register", "there", "--k=v"))
    for code, message, arguments in (
        (2, "needs at least one key", ("register", "x")),
        (2, "NAME is missing", ("register", f"--k={VALUE}")),
        (2, "--k has no value", ("register", "x", "--k", VALUE)),
        (2, "the value of 'k' is null", ("register", "x", "-v", '{"k": null}')),
        (1, "cannot contain a dot", ("register", "a.b", f"--k={VALUE}")),
        (1, "a key", ("register", "x", f"--a b={VALUE}")),
        (1, "cannot read the file given for --k", ("register", "x", "--k=@none")),
        (1, "has a secret 'there' already", ("register", "there", f"--k={VALUE}")),
        (1, "has a secret 'there' already", ("register", "there", "-i")),
        (1, "keys and values", ("register", "x", "-v", json.dumps({f"k{number}": "x" * 60_000 for number in range(2)}))),
        (1, "has no secret 'x'", ("get", "x")),
        (1, "has no secret 'x'", ("update", "x", f"--k={VALUE}")),
        (1, "has no secret 'x'", ("delete", "x", "-y")),
        (2, "there is nothing to change", ("update", "there")),
        (2, "is to be changed twice", ("update", "there", "--k=w", "-r", "k")),
        (1, "has no key 'z' to remove", ("update", "there", "--k=w", "-r", "z")),
        (1, "has no secrets 'x', 'y'; nothing was migrated", ("migrate", "there", "x", "y", "-n")),
        (2, "--scope takes one of", ("migrate", "--scope", "all")),
        (2, "--show-secrets shows values in questions", ("migrate", "-n", "--show-secrets")),
    ):
        refused(managed(SM, "secret", *arguments), code, message)
    assert managed(SM, "secret", "get", "there", "-o", "json").data["values"] == {"k": "v"}
    assert managed("secret", "list", "-o", "json").data["total"] == 0


def test_without_a_secrets_manager(strongroom: CommandLine) -> None:
    """Without one in the active stack each of them ends with 1 and says what to do."""
    for arguments in (("register", "x", "--k=v"), ("get", "x"), ("list",), ("update", "x", "--k=v"), ("delete", "x"), ("migrate",)):
        outcome = refused(strongroom(SM, "secret", *arguments), 1, "the active stack 'default' has no secrets manager")
        assert "strongroom secret works without one" in outcome.err
        assert "-x NAME" in outcome.err
    refused(strongroom(SM, "get"), 1, "has no secrets manager")


def test_missing_secrets_go_to_the_manager(managed: CommandLine) -> None:
    """`stack register-secrets` asks for what is missing and writes it into the stack's secrets manager."""
    done(managed("experiment-tracker", "register", "t", "--flavor=mlflow", "--tracking_password={{s.pw}}"))
    done(managed("stack", "update", "managed", "-e", "t"))
    assert managed("stack", "validate").code == 1
    asked = done(managed("stack", "register-secrets", stdin=VALUE.encode() + b"\n"))
    assert "Created secret 's' in secrets manager 'mine' with: pw." in asked.err
    done(managed("stack", "validate"))
    assert managed(SM, "secret", "get", "s", "--key=pw").out == CANARY
    assert managed("secret", "list", "-o", "json").data["total"] == 0


# Migration.


def add(managed: CommandLine, *names: str, text: str = VALUE) -> None:
    """Registers secrets in the secrets manager."""
    for name in names:
        done(managed(SM, "secret", "register", name, f"--k={text}"))


def secret_of(managed: CommandLine, name: str, *more: str) -> dict[str, str] | None:
    """The values of a centralized secret, or None."""
    outcome = managed("secret", "get", name, "-o", "json", *more)
    return outcome.data["values"] if outcome.code == 0 else None


def names_left(managed: CommandLine) -> list[str]:
    """The secrets that the secrets manager still has."""
    return [each["name"] for each in done(managed(SM, "secret", "list", "-o", "json")).data["items"]]


def test_migrating_everything(managed: CommandLine) -> None:
    """Without questions all secrets are made in the workspace; again, nothing needs anything; with --delete they go there."""
    add(managed, "a", "b", "c")
    moved = done(managed(SM, "secrets", "migrate", "--non-interactive", "-o", "json"))
    assert moved.data == {"done": 3, "failed": 0, "skipped": 0, "failures": []}
    assert "Migrated 3 secrets." in moved.err
    assert [secret_of(managed, name, "--scope=workspace") for name in "abc"] == [{"k": CANARY}] * 3
    assert names_left(managed) == ["a", "b", "c"]
    assert "Migrated 0 secrets, 3 needed nothing." in done(managed(SM, "secrets", "migrate", "-n")).err
    assert "3 needed nothing" in done(managed(SM, "secret", "migrate", "-n", "--delete")).err
    assert names_left(managed) == []
    assert "Migrated 0 secrets." in done(managed(SM, "secret", "migrate", "-n", "--delete")).err


def test_migrating_some_for_oneself(managed: CommandLine) -> None:
    """Names choose, --scope user makes them one's own."""
    add(managed, "a", "b")
    done(managed(SM, "secret", "migrate", "b", "-n", "--scope", "user", "--delete"))
    assert secret_of(managed, "b", "--scope=user") == {"k": CANARY}
    assert secret_of(managed, "b", "--scope=workspace") is None
    assert secret_of(managed, "a") is None
    assert names_left(managed) == ["a"]


def test_conflicts_without_questions(managed: CommandLine) -> None:
    """What has other values under the name stays as it is and is a failure, and is not deleted; --overwrite mirrors it exactly."""
    add(managed, "a", "b")
    done(managed("secret", "create", "a", "--k=other", "--more=x"))
    outcome = managed(SM, "secret", "migrate", "-n", "--delete", "-o", "json")
    assert outcome.code == 1
    report = outcome.data
    (failure,) = report.pop("failures")
    assert report == {"done": 1, "failed": 1, "skipped": 0}
    assert (failure["name"], "--overwrite" in failure["error"]) == ("a", True)
    assert secret_of(managed, "a") == {"k": "other", "more": "x"}
    assert names_left(managed) == ["a"]
    told = managed(SM, "secret", "migrate", "-n")
    assert told.code == 1
    assert "Migrated 0 secrets, 1 failed." in told.err
    done(managed(SM, "secret", "migrate", "-n", "--overwrite", "--delete"))
    assert secret_of(managed, "a") == {"k": CANARY}
    assert secret_of(managed, "a", "--version=1") == {"k": "other", "more": "x"}
    assert names_left(managed) == []


def test_questions(managed: CommandLine) -> None:
    """It asks for each whether to migrate and to delete it; for a conflict whether to overwrite it, take another name or skip it."""
    add(managed, "a", "b", "c", "d", "e")
    for name in "bcd":
        done(managed("secret", "create", name, "--k=other"))
    done(managed("secret", "create", "taken", "--k=other"))
    answers = [
        *("y", "y"),  # a: migrate, delete
        *("y", "o", "n"),  # b: overwrite, keep
        *("y", "maybe", "n", "a.b", "taken", "n", "c2", "y"),  # c: another name, after some that will not do; delete
        *("y", ""),  # d: skip
        "n",  # e: not at all
    ]
    outcome = done(managed(SM, "secret", "migrate", stdin="\n".join(answers).encode() + b"\n"))
    assert "Migrated 3 secrets, 2 needed nothing." in outcome.err
    assert "answer with o, n or s" in outcome.err
    assert "There is a secret 'taken'" in outcome.err
    assert [secret_of(managed, name) for name in ("a", "b", "c", "c2", "d", "e", "taken")] == [
        {"k": CANARY},
        {"k": CANARY},
        {"k": "other"},
        {"k": CANARY},
        {"k": "other"},
        None,
        {"k": "other"},
    ]
    assert names_left(managed) == ["b", "d", "e"]


def test_values_are_shown_if_asked_for(managed: CommandLine) -> None:
    """--show-secrets shows the values in the questions, on stdout; without it nothing shows one."""
    add(managed, "a")
    done(managed("secret", "create", "a", f"--k={VALUE}-there"))
    assert not holds_canary(managed(SM, "secret", "migrate", stdin=b"y\ns\n").out)
    shown = done(managed(SM, "secret", "migrate", "--show-secrets", stdin=b"y\ns\n")).out
    assert f"{CANARY}\n" in shown
    assert f"{CANARY}-there" in shown


def test_the_end_of_the_answers(managed: CommandLine) -> None:
    """When the answers end, it ends with 1 and says how far it came; what was done stays, and a rerun goes on."""
    add(managed, "a", "b")
    outcome = managed(SM, "secret", "migrate", stdin=b"y\ny\n")
    assert outcome.code == 1
    assert "interrupted after 1 secret; what was migrated stays so, run it again to go on" in outcome.err
    assert secret_of(managed, "a") == {"k": CANARY}
    assert names_left(managed) == ["b"]
    done(managed(SM, "secret", "migrate", "-n", "--delete"))
    assert secret_of(managed, "b") == {"k": CANARY}


def test_interrupted_by_hand(managed: CommandLine) -> None:
    """Ctrl-C at a question is the same, in a process of its own."""
    add(managed, "a", "b")
    child = subprocess.Popen(
        [BIN / "strongroom", SM, "secret", "migrate"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(b"y\nn\n")
    child.stdin.flush()
    said = b""
    while b"Migrate secret 'b'" not in said:
        piece = os.read(child.stderr.fileno(), 4096)
        assert piece, said
        said += piece
    child.send_signal(signal.SIGINT)
    rest = child.communicate(timeout=30)[1]
    assert child.returncode == 1
    assert b"interrupted after 1 secret" in rest
    assert secret_of(managed, "a") == {"k": CANARY}
    assert secret_of(managed, "b") is None
