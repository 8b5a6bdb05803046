"""Working with a server from the command line."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.callers import Caller
from tests.e2e.conftest import VALUE, CommandLine
from tests.servers.strongroom import PASSWORD, free_port


@pytest.fixture
def person(admin: Caller) -> str:
    """The name of somebody who can log in."""
    admin.add(name := f"e-{admin.workspace}", "editor")
    assert admin.call("PUT", f"/workspaces/default/members/{name}", {"role": "editor"}).status == 200
    return name


def test_the_journey_of_a_login(strongroom: CommandLine, admin: Caller, person: str, store: Path) -> None:
    """Log in, work, log out: the commands are the same as on the embedded store."""
    done = strongroom("login", admin.server.url, "--username", person, "--password=-", stdin=f"{PASSWORD}\n".encode())
    assert (done.code, done.out) == (0, "")
    assert f"Logged in at {admin.server.url} as '{person}'" in done.err
    assert stat.S_IMODE((store / "login.json").stat().st_mode) == 0o600
    assert [path.name for path in store.iterdir()] == ["login.json"]
    name = f"s_{admin.workspace}"
    assert strongroom("secret", "create", name, f"--k={VALUE}").code == 0
    assert strongroom("secret", "get", name, "-o", "json").data["owner"] == person
    status = strongroom("status", "-o", "json").data
    assert (status["server"], status["user"], status["role"], status["reachable"]) == (admin.server.url, person, "editor", True)
    assert strongroom("secret", "delete", name, "-y").code == 0
    assert strongroom("logout").code == 0
    assert strongroom("status", "-o", "json").data["server"] is None
    assert strongroom("secret", "list", "-o", "json").data["total"] == 0


def test_user_name_and_password_are_asked_for(strongroom: CommandLine, admin: Caller, person: str) -> None:
    """Without options both are asked for, the password hidden."""
    done = strongroom("login", admin.server.url, stdin=f"{person}\n{PASSWORD}\n".encode())
    assert done.code == 0
    assert "Password: " in done.err
    assert PASSWORD not in done.err


def test_an_api_key_from_standard_input(strongroom: CommandLine, admin: Caller) -> None:
    """A machine logs in with its key."""
    account = f"m-{admin.workspace}"
    admin.call("POST", "/service-accounts", {"name": account, "role": "reader"})
    key = admin.call("POST", f"/service-accounts/{account}/api-keys", {"name": "k"}).data["key"]
    assert strongroom("login", admin.server.url, "--api-key=-", stdin=key.encode()).code == 0
    assert strongroom("status", "-o", "json").data["workspace"] == admin.workspace
    refused = strongroom("secret", "create", "s", f"--k={VALUE}")
    assert (refused.code, "secret:create" in refused.err) == (1, True)


@pytest.mark.parametrize("option", ["--password", "--api-key", "--setup-token"])
def test_no_secret_on_the_command_line(strongroom: CommandLine, option: str) -> None:
    """Other people see it there; so it is refused, and not repeated."""
    done = strongroom("login", "http://127.0.0.1:9", "--username", "u", f"{option}={VALUE}")
    assert done.code == 2
    assert "takes - alone" in done.err


def test_wrong_logins_are_one_line(strongroom: CommandLine, admin: Caller, store: Path) -> None:
    """A wrong password, nobody there, a URL that is none: exit 1, a hint where there is one, and no login is kept."""
    wrong = strongroom("login", admin.server.url, "--username", "nobody", "--password=-", stdin=VALUE.encode())
    absent = strongroom("login", f"http://127.0.0.1:{free_port()}", "--username", "u", "--password=-", stdin=VALUE.encode())
    no_url = strongroom("login", "example.com", "--username", "u", "--password=-", stdin=VALUE.encode())
    plain = strongroom("login", "http://example.com", "--username", "u", "--password=-", stdin=VALUE.encode())
    for done, said in ((wrong, "password is wrong"), (absent, "nothing answers"), (no_url, "cannot be read"), (plain, "https")):
        assert done.code == 1
        assert said in done.err
        assert done.err.count("Error:") == 1
    assert not store.exists()


def test_a_login_that_ended_says_so(strongroom: CommandLine, admin: Caller, person: str) -> None:
    """A dead token is one clear line with what to do, and `status` shows it and fails."""
    strongroom("login", admin.server.url, "--username", person, "--password=-", stdin=PASSWORD.encode())
    known = admin.call("GET", f"/users/{person}").data
    admin.call("POST", f"/users/{known['id']}/deactivate")
    done = strongroom("secret", "list")
    assert done.code == 1
    assert "hint: log in again: strongroom login" in done.err
    status = strongroom("status", "-o", "json")
    assert status.code == 1
    assert status.data["problem"] == "this token is not valid, or not any more"
    assert strongroom("logout").code == 0
