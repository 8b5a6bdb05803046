"""Passwords and keys on standard input, as shells, editors and other systems write them."""

from __future__ import annotations

import pytest

from tests.callers import Caller
from tests.canary import CANARY
from tests.e2e.conftest import CommandLine
from tests.servers.strongroom import PASSWORD

AROUND = ("{}", "{}\n", "{}\r\n", "\ufeff{}\r\n", "  {}\t\n", "\u00a0{}\u200b\n")


def test_passwords_and_keys_are_found_among_blanks(strongroom: CommandLine, admin: Caller) -> None:
    """Line ends of all systems, blanks and a byte order mark are no part of a password, a set-up token or an API key."""
    account, person = f"m-{admin.workspace}", f"p-{admin.workspace}"
    admin.add(person, "reader")
    admin.call("POST", "/service-accounts", {"name": account, "role": "reader"})
    key = admin.call("POST", f"/service-accounts/{account}/api-keys", {"name": "k"}).data["key"]
    for around in AROUND:
        given = around.format(key).encode()
        assert strongroom("login", admin.server.url, "--api-key=-", stdin=given).code == 0, repr(around)
        given = around.format(PASSWORD).encode()
        done = strongroom("login", admin.server.url, "--username", person, "--password=-", stdin=given)
        assert done.code == 0, repr(around)
        assert strongroom("login", admin.server.url, stdin=f"{person}\n".encode() + given).code == 0, repr(around)


@pytest.mark.parametrize("option", ["--password", "--api-key", "--setup-token"])
@pytest.mark.parametrize(
    ("stdin", "code", "reason"),
    [
        (CANARY.encode("utf-16"), 1, "standard input is not UTF-8 text"),
        (f"é{CANARY}".encode("latin-1"), 1, "standard input is not UTF-8 text"),
        (b"", 2, "there is nothing on standard input"),
        (b"\n", 2, "there is nothing on standard input"),
        (" \ufeff\r\n".encode(), 2, "there is nothing on standard input"),
    ],
    ids=["utf-16", "latin-1", "nothing", "a line end", "blanks"],
)
def test_what_is_no_credential(strongroom: CommandLine, option: str, stdin: bytes, code: int, reason: str) -> None:
    """Is refused in words, without what was read, before a server is asked."""
    who = () if option == "--api-key" else ("--username", "u")
    done = strongroom("login", "http://127.0.0.1:9", *who, f"{option}=-", stdin=stdin)
    assert (done.code, done.out) == (code, "")
    assert reason in done.err


def test_a_key_with_a_line_end_inside(strongroom: CommandLine, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a variable it is refused by the variable's name."""
    monkeypatch.setenv("STRONGROOM_SERVER_URL", admin.server.url)
    for key in (f"srk_{CANARY}\nx", f"srk {CANARY}", f"srk_{CANARY}é"):
        monkeypatch.setenv("STRONGROOM_API_KEY", key)
        done = strongroom("secret", "list")
        assert done.code == 1
        assert "STRONGROOM_API_KEY has a blank, a line end" in done.err
