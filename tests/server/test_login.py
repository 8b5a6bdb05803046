"""Logging in, and what a token is good for."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from strongroom.client import Client
from strongroom.client.login import log_in, log_in_with_key, log_out, set_up, status
from strongroom.client.login_state import login_file, read_login
from strongroom.config import Settings
from strongroom.errors import ConfigurationError, TooManyRequests, Unauthenticated
from strongroom.redaction import SecretText
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.servers.strongroom import PASSWORD, StrongroomServer

FORM = "application/x-www-form-urlencoded"


def test_a_form_or_json(admin: Caller, nobody: Caller) -> None:
    """Either gives a bearer token that works, and is never cached."""
    form = urlencode({"username": "default", "password": PASSWORD}).encode()
    for answer in (
        nobody.call("POST", "/login", body=form, Content_Type=FORM),
        nobody.call("POST", "/login", {"username": "default", "password": PASSWORD}),
    ):
        assert answer.status == 200
        assert set(answer.data) == {"access_token", "token_type", "expires_in"}
        assert answer.data["token_type"] == "bearer"
        me = replace(admin, token=answer.data["access_token"]).call("GET", "/me").data
        assert (me["name"], me["workspace"], me["role"], me["admin"]) == ("default", admin.workspace, "admin", True)


def test_wrong_names_and_wrong_passwords_read_alike(nobody: Caller, admin: Caller) -> None:
    """Who can log in is not told, and what was typed is not repeated."""
    answers = [nobody.call("POST", "/login", {"username": name, "password": CANARY}) for name in ("default", f"no-{admin.workspace}")]
    assert {answer.status for answer in answers} == {401}
    assert answers[0].body == answers[1].body
    assert not holds_canary(answers[0].body)
    twice = b"username=a&username=b&password=x"
    assert nobody.call("POST", "/login", body=twice, Content_Type=FORM).status == 422
    assert nobody.call("POST", "/login", body=b"username=%ff&password=x", Content_Type=FORM).status == 422
    assert nobody.call("POST", "/login", {"username": "default", "password": 1}).status == 422


def test_too_many_failures(admin: Caller, nobody: Caller, new_local_settings: Settings) -> None:
    """After ten failures for a name it is 429 with `Retry-After`, also with the right password; the client says how long."""
    name = f"r-{admin.workspace}"
    admin.add(name)
    for _ in range(10):
        assert nobody.call("POST", "/login", {"username": name, "password": CANARY}).status == 401
    answer = nobody.call("POST", "/login", {"username": name, "password": PASSWORD})
    assert (answer.status, answer.error["code"]) == (429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 900
    with pytest.raises(TooManyRequests) as caught:
        log_in(new_local_settings, admin.server.url, name, SecretText(PASSWORD))
    assert 0 < caught.value.retry_after <= 900


def test_a_token_that_ends_is_dead_at_once_everywhere(admin: Caller) -> None:
    """Both workers refuse it from the moment that the logout is acknowledged."""
    person = admin.add(f"t-{admin.workspace}", "reader")
    assert [_fresh(person).call("GET", "/secrets").status for _ in range(8)] == [200] * 8
    assert person.call("POST", "/logout").status == 204
    assert [_fresh(person).call("GET", "/secrets").status for _ in range(16)] == [401] * 16


def test_a_token_dies_under_load(admin: Caller) -> None:
    """On 32 connections that are in use, spread over both workers: no request that begins after the logout's answer gets through."""
    person = admin.add(f"l-{admin.workspace}", "reader")
    callers = [_fresh(person) for _ in range(32)]
    assert {caller.call("GET", "/secrets").status for caller in callers} == {200}
    ended = threading.Event()

    def hammer(mine: list[Caller]) -> tuple[set[int], set[int]]:
        before, after = set(), set()
        while not ended.is_set():
            before.update(caller.call("GET", "/secrets").status for caller in mine)
        for _ in range(3):
            after.update(caller.call("GET", "/secrets").status for caller in mine)
        return before, after

    with ThreadPoolExecutor(8) as pool:
        seen = [pool.submit(hammer, callers[number::8]) for number in range(8)]
        try:
            assert _fresh(person).call("POST", "/logout").status == 204
        finally:
            ended.set()
        for before, after in (each.result() for each in seen):
            assert before <= {200, 401}
            assert after == {401}
    for caller in callers:
        assert caller.pool.num_connections == 1  # each was kept all the time
        caller.pool.close()


def test_an_api_key_that_is_deleted_is_dead_at_once(admin: Caller) -> None:
    """The same for API keys, and for users who are deactivated."""
    account = f"a-{admin.workspace}"
    admin.call("POST", "/service-accounts", {"name": account, "role": "reader"})
    made = admin.call("POST", f"/service-accounts/{account}/api-keys", {"name": "k"})
    assert (made.status, made.headers["Location"]) == (201, f"/api/v1/service-accounts/{account}/api-keys/k")
    machine = replace(admin, token=made.data["key"], workspace="")
    assert machine.call("GET", "/me").data["workspace"] == admin.workspace
    assert admin.call("DELETE", f"/service-accounts/{account}/api-keys/k").status == 204
    assert [_fresh(machine).call("GET", "/me").status for _ in range(8)] == [401] * 8
    name = f"d-{admin.workspace}"
    person = admin.add(name)
    assert admin.call("POST", f"/users/{admin.call('GET', f'/users/{name}').data['id']}/deactivate").status == 204
    assert [_fresh(person).call("GET", "/me").status for _ in range(8)] == [401] * 8


def _fresh(caller: Caller) -> Caller:
    """The same caller on a connection of its own, which may end at another worker."""
    return replace(caller, pool=caller.server.connections())


def test_the_first_administrator(tmp_path: Path) -> None:
    """A server that nobody can log in to shows a token; it makes one administrator, once, from the Python interface too."""
    server = StrongroomServer({"CONFIG_PATH": str(tmp_path / "server")})
    try:
        shown = next(line.strip() for line in server.log.splitlines() if line.strip().startswith("sru_"))
        assert f"strongroom login {server.url} --setup-token=- --username NAME" in server.log
        settings = Settings(folder=tmp_path / "client", database_url="sqlite:////nonexistent/x")
        with pytest.raises(Unauthenticated):
            set_up(settings, server.url, SecretText("sru_wrong"), "ann", SecretText(PASSWORD))
        identity = set_up(settings, server.url, SecretText(shown), "ann", SecretText(PASSWORD))
        assert (identity.name, identity.admin, identity.role) == ("ann", True, "admin")
        with pytest.raises(Unauthenticated):
            set_up(settings, server.url, SecretText(shown), "eve", SecretText(PASSWORD))
        with Client(settings) as client:
            client.create_secret("s", {"k": CANARY})
            assert client.get_secret("s").owner == "ann"
    finally:
        server.stop()


def test_a_login_is_kept_for_the_user_alone(admin: Caller, new_local_settings: Settings) -> None:
    """In a file that others cannot read; `status` shows it without the token; logging out ends it here and at the server."""
    name = f"k-{admin.workspace}"
    admin.add(name)
    log_in(new_local_settings, f"{admin.server.url}/", name, SecretText(PASSWORD))
    assert login_file(new_local_settings).stat().st_mode & 0o777 == 0o600
    assert login_file(new_local_settings).parent.stat().st_mode & 0o777 == 0o700
    state = read_login(new_local_settings)
    assert state is not None
    assert state.token.reveal() not in repr(state)
    shown = status(new_local_settings)
    assert (shown.server, shown.reachable, shown.user) == (admin.server.url, True, name)
    assert log_out(new_local_settings) == admin.server.url
    assert not login_file(new_local_settings).exists()
    assert replace(admin, token=state.token.reveal()).call("GET", "/me").status == 401
    assert log_out(new_local_settings) is None
    assert status(new_local_settings).server is None


def test_an_api_key_is_a_login_too(admin: Caller, new_local_settings: Settings) -> None:
    """It is kept, or comes from the settings; logging out forgets it here, and others can go on using it."""
    account = f"b-{admin.workspace}"
    admin.call("POST", "/service-accounts", {"name": account, "role": "editor"})
    key = admin.call("POST", f"/service-accounts/{account}/api-keys", {"name": "k"}).data["key"]
    assert log_in_with_key(new_local_settings, admin.server.url, SecretText(key)).name == account
    with Client(new_local_settings) as client:
        client.create_secret("s", {"k": CANARY})
    log_out(new_local_settings)
    with Client(replace(new_local_settings, server_url=admin.server.url, api_key=key)) as client:
        assert client.get_secret("s").secret_values == {"k": CANARY}


def test_settings_that_do_not_fit(admin: Caller, remote_settings: Settings, new_local_settings: Settings) -> None:
    """A key without a server is a clear error, and so is a server that one is not logged in to; a login fits its own server."""
    with pytest.raises(ConfigurationError, match="SERVER_URL"):
        Client(replace(new_local_settings, api_key="k")).list_secrets()
    with pytest.raises(Unauthenticated, match="not logged in"):
        Client(replace(remote_settings, server_url="http://127.0.0.1:9")).list_secrets()
    with Client(replace(remote_settings, server_url=admin.server.url)) as client:
        assert client.list_secrets().total == 0


def test_a_damaged_login_is_a_clear_error(remote_settings: Settings) -> None:
    """It names the file and says what to do, and shows nothing of it."""
    login_file(remote_settings).write_text('{"token": "damaged')
    with pytest.raises(ConfigurationError, match="damaged") as caught:
        Client(remote_settings).list_secrets()
    assert "strongroom login" in (caught.value.hint or "")
