"""A server records every access before it answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.config import Settings
from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import StrongroomServer


@pytest.fixture(autouse=True)
def _whole(admin: Caller) -> Iterator[None]:
    """Whatever a test did: afterwards the trail is whole."""
    yield
    report = admin.call("POST", "/audit/verify", {}).data
    assert (report["valid"], report["problems"]) == (True, [])


def events(admin: Caller, **filters: Any) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={text}" for name, text in {"size": 100, **filters}.items())
    items: list[dict[str, Any]] = admin.call("GET", f"/audit?{query}").data["items"]
    return items


def test_reads_and_writes_are_on_record(admin: Caller) -> None:
    """An access is found as soon as it was answered: who, from where, which version, with which token."""
    made = admin.create("watched", {"k": f"{CANARY}-k"})
    assert admin.call("GET", "/secrets/by-name/watched").status == 200
    newest, before = events(admin, target_id=made["id"])
    assert (newest["operation"], newest["outcome"], newest["version"]) == ("secret.get-by-name", "ok", 1)
    assert (before["operation"], before["address"], before["workspace"]) == ("secret.create", "127.0.0.1", admin.workspace)
    assert newest["token_id"]
    assert newest["actor"] == "default"


def test_refusals_are_on_record(admin: Caller, nobody: Caller) -> None:
    """Whoever is refused is recorded: without a token, with a wrong one, without the right, and without the secret."""
    number = events(admin)[0]["number"]
    assert nobody.call("GET", "/secrets").status == 401
    assert nobody.call("GET", "/secrets", Authorization="Bearer srs_wrong").status == 401
    assert nobody.call("POST", "/login", {"username": "default", "password": f"{CANARY}-wrong"}).status == 401
    assert admin.call("GET", "/secrets/by-name/absent").status == 404
    found = [(item["operation"], item["outcome"], item["actor"]) for item in events(admin, after=number)]
    mine = [item for item in found if item[0] in ("secret.list", "user.login", "secret.get-by-name")]
    for expected in (
        ("secret.list", "unauthenticated", ""),
        ("user.login", "unauthenticated", ""),
        ("secret.get-by-name", "not_found", "default"),
    ):
        assert expected in mine


def test_a_refused_repetition_is_on_record(admin: Caller) -> None:
    """So is a request that comes with the Idempotency-Key of another one."""
    assert admin.call("POST", "/secrets", {"name": "s", "values": {"k": f"{CANARY}-k"}}, Idempotency_Key="key").status == 201
    number = events(admin)[0]["number"]
    assert admin.call("POST", "/secrets", {"name": "other", "values": {"k": f"{CANARY}-k"}}, Idempotency_Key="key").status == 422
    (refused,) = events(admin, after=number, operation="secret.create", actor="default")
    assert (refused["outcome"], refused["target"]) == ("invalid", "")


def test_wrong_cookies_are_on_record(admin: Caller, nobody: Caller) -> None:
    """Whoever comes to the web page with a token that nobody has is recorded, too; who has none is only sent to sign in."""
    number = events(admin)[0]["number"]
    refused = {"operation": "user.who-am-i", "outcome": "unauthenticated", "actor": ""}

    def recorded() -> int:
        found = [{key: item[key] for key in refused} for item in events(admin, after=number)]
        return found.count(refused)

    pool = nobody.pool
    assert pool.request("GET", "/secrets", redirect=False).status == 303
    assert recorded() == 0
    cookie = {"Cookie": f"strongroom-session={CANARY}"}
    assert pool.request("GET", "/secrets", headers=cookie, redirect=False).status == 303
    assert recorded() == 1
    assert pool.request("POST", "/secrets", headers={**cookie, "Sec-Fetch-Site": "same-origin"}, redirect=False).status == 401
    assert recorded() == 2


def test_workers_make_one_chain(admin: Caller, strongroom_server: StrongroomServer) -> None:
    """Requests that several workers answer at once are each recorded once, without gaps."""
    admin.create("busy", {"k": f"{CANARY}-k"})
    before = admin.call("GET", "/audit?target=busy&operation=secret.get-by-name").data["total"]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: admin.call("GET", "/secrets/by-name/busy").status, range(80)))
    assert statuses == [200] * 80
    after = admin.call("GET", "/audit?target=busy&operation=secret.get-by-name").data["total"]
    assert after - before == 80


def test_a_client_finds_events_of_a_time(admin: Caller, remote_settings: Settings) -> None:
    """Times reach the server with their zone, to the microsecond."""
    for name in ("first", "second"):
        admin.create(name, {"k": f"{CANARY}-k"})
    with Client(remote_settings) as client:
        both = client.list_audit_events(operation="secret.create", size=2)
        moment = both.items[0].moment.astimezone(timezone(timedelta(hours=-7)))
        assert [each.target for each in client.list_audit_events(since=moment, operation="secret.create")] == ["second"]
        assert client.list_audit_events(until=moment, operation="secret.create").items[0] == both.items[1]


def test_the_trail_is_for_administrators_of_the_server(admin: Caller) -> None:
    """An administrator of a workspace gets neither events nor the state of the chain."""
    chief = admin.add(f"chief-{admin.workspace}", "admin")
    assert chief.call("GET", "/audit").status == 403
    assert chief.call("POST", "/audit/verify", {}).status == 403
