"""Questions on a real terminal: nothing hidden is shown, nothing typed is lost, a mistake is asked again."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pexpect
import pytest

from .conftest import BIN, CommandLine

pytestmark = pytest.mark.transports("embedded", "server")

HIDDEN = "typed-in-the-dark"


@pytest.fixture
def terminal() -> Iterator:
    """Starts `strongroom` on a pseudo-terminal."""
    started: list[pexpect.spawn] = []

    def start(*arguments: str) -> pexpect.spawn:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
        child = pexpect.spawn(str(BIN / "strongroom"), list(arguments), env=environment, encoding="utf-8", timeout=30)
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def finish(child: pexpect.spawn) -> str:
    """The rest of what the command shows; it has to end well."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return child.before


def test_create(terminal, strongroom: CommandLine) -> None:
    """Bad and repeated keys are asked again; values are not echoed; what was typed before is kept."""
    child = terminal("secret", "create", "s", "-i", "--given=1")
    for key, reply in (
        ("a b", "cannot contain a blank"),
        ("", "cannot be empty"),
        ("given", "already"),
        ("name", "reserved|cannot be called"),
    ):
        child.expect("Key: ")
        child.sendline(key)
        child.expect(reply)
    child.expect("Key: ")
    child.sendline("user")
    child.expect(r"Value of 'user' \(hidden\): ")
    child.sendline(HIDDEN)
    child.expect("Another key")
    assert HIDDEN not in child.before
    child.sendline("y")
    child.expect("Key: ")
    child.sendline("user")
    child.expect("already")
    child.expect("Key: ")
    child.sendline("empty")
    child.expect("hidden")
    child.sendline("")
    child.expect("Another key")
    child.sendline("")
    assert "3 keys: given, user, empty" in finish(child)
    assert strongroom("secret", "get", "s", "-o", "json").data["values"] == {"given": "1", "user": HIDDEN, "empty": ""}


def test_create_with_a_taken_name(terminal, strongroom: CommandLine) -> None:
    """A taken name is said before anything is asked."""
    strongroom("secret", "create", "s", "--k=v")
    child = terminal("secret", "create", "s", "-i")
    child.expect("already exists")
    child.expect(pexpect.EOF)
    assert "Key:" not in child.before


def test_update(terminal, strongroom: CommandLine) -> None:
    """Enter keeps a value; a new one replaces it; then new keys are asked for."""
    strongroom("secret", "create", "s", "--a=1", "--b=2", "--c=3")
    child = terminal("secret", "update", "s", "-i", "-r", "c")
    child.expect(r"New value of 'a' \(hidden, Enter keeps it\): ")
    child.sendline("")
    child.expect("New value of 'b'")
    child.sendline(HIDDEN)
    child.expect("Add a key")
    assert HIDDEN not in child.before
    child.sendline("yes")
    child.expect("Key: ")
    child.sendline("b")
    child.expect("already")
    child.expect("Key: ")
    child.sendline("d")
    child.expect("hidden")
    child.sendline("4")
    child.expect("Another key")
    child.sendline("n")
    finish(child)
    assert strongroom("secret", "get", "s", "-o", "json").data["values"] == {"a": "1", "b": HIDDEN, "d": "4"}


@pytest.mark.parametrize("interrupt", ["sendintr", "sendeof"])
def test_giving_up(terminal, strongroom: CommandLine, interrupt: str) -> None:
    """Ctrl-C and Ctrl-D in the middle end in one line, and nothing is stored."""
    child = terminal("secret", "create", "s", "-i")
    child.expect("Key: ")
    child.sendline("user")
    child.expect("hidden")
    getattr(child, interrupt)()
    child.expect("Error: cancelled; nothing was changed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert strongroom("secret", "list", "-o", "json").data["total"] == 0


def test_delete(terminal, strongroom: CommandLine, workspace: str) -> None:
    """The question is asked on the terminal."""
    strongroom("secret", "create", "s", "--k=v")
    child = terminal("secret", "delete", "s")
    child.expect(rf"Delete secret 's' in workspace '{workspace}', id [0-9a-f-]+, with all its versions\? \[y/N\]")
    child.sendline("y")
    finish(child)
    assert strongroom("secret", "list", "-o", "json").data["total"] == 0


def test_tables_on_a_terminal(terminal, strongroom: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are drawn; `--key` ends its line; no control character of a value gets through."""
    strongroom("secret", "create", "s", "--k=v\x1b[31m", "--l=two\nlines")
    shown = finish(terminal("secret", "get", "s"))
    assert "│" in shown
    assert "\x1b[31m" not in shown
    assert r"v\x1b[31m" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in finish(terminal("secret", "list"))
    strongroom("secret", "create", "t", "--k=v")
    assert finish(terminal("secret", "get", "t", "--key", "k")) == "v\r\n"


def test_answers_from_a_pipe(strongroom: CommandLine) -> None:
    """Where standard input is no terminal, answers are lines of it; too few of them store nothing."""
    assert strongroom("secret", "create", "s", "-i", stdin=b"a b\na\nv1\ny\nb\nv2\nn\n").code == 0
    assert strongroom("secret", "get", "s", "-o", "json").data["values"] == {"a": "v1", "b": "v2"}
    cut_off = strongroom("secret", "create", "t", "-i", stdin=b"a\nv1\ny\n")
    assert cut_off.code == 1
    assert "cancelled" in cut_off.err
    assert strongroom("secret", "get", "t").code == 1
