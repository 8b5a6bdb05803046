"""Servers behind proxies, and clients behind proxies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from strongroom.client import Client
from strongroom.client.login import log_in
from strongroom.config import read_settings
from strongroom.errors import ConfigurationError, Unavailable
from strongroom.redaction import SecretText
from strongroom.service.throttle import MAX_FAILURES
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.fakes.proxy import Proxy
from tests.servers.strongroom import PASSWORD, StrongroomServer, free_port

ADMIN = {"ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy that wants a password."""
    proxy = Proxy("user", f"{CANARY}:@")
    yield proxy
    proxy.stop()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_limits_and_records_behind_a_proxy(tmp_path: Path) -> None:
    """With a trusted proxy in front, failed logins count for the client's address, and it stands in the audit trail and the log."""
    variables = {"CONFIG_PATH": str(tmp_path / "server"), "TRUSTED_PROXIES": "127.0.0.1", **ADMIN}
    server = StrongroomServer(variables)
    try:
        with server.connections() as pool:
            nobody = Caller(server, pool)
            wrong, right = ({"username": "root", "password": each} for each in (f"{CANARY}-wrong", PASSWORD))
            for number in range(MAX_FAILURES):
                claimed = f"198.51.100.{number}, 203.0.113.1"  # what stands at the left is the client's own invention
                assert nobody.call("POST", "/login", wrong, X_Forwarded_For=claimed).status == 401
            assert nobody.call("POST", "/login", right, X_Forwarded_For="203.0.113.1").status == 429
            answer = nobody.call("POST", "/login", right, X_Forwarded_For="203.0.113.2")
            assert answer.status == 200
            root = replace(nobody, token=answer.data["access_token"])
            events = root.call("GET", "/audit?operation=user.login&size=50", X_Forwarded_For="2001:db8::1").data["items"]
            assert {event["address"] for event in events} == {"203.0.113.1", "203.0.113.2"}
            wanted, logged = {"203.0.113.1", "203.0.113.2", "2001:db8::1"}, set[str]()
            for _ in range(100):  # a line is written when its answer has left
                if wanted <= logged:
                    break
                assert root.call("GET", "/me").status == 200
                lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{") and line.endswith("}")]
                logged = {line.get("address") for line in lines}
            assert wanted <= logged
    finally:
        server.stop()


def test_by_default_the_header_means_nothing(admin: Caller) -> None:
    """A client cannot choose the address under which it is recorded."""
    admin.create("watched", {"k": CANARY})
    assert admin.call("GET", "/secrets/by-name/watched", X_Forwarded_For="203.0.113.1").status == 200
    events = admin.call("GET", "/audit?target=watched&size=50").data["items"]
    assert {event["address"] for event in events} == {"127.0.0.1"}


def test_a_client_tunnels_through_its_proxy(tmp_path: Path, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """`HTTPS_PROXY` is honoured, with its password; the proxy sees where to and nothing else. `NO_PROXY` goes past it."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    variables = {"CONFIG_PATH": str(tmp_path / "server"), **ADMIN}
    server = StrongroomServer(variables, *options, scheme="https", ca_cert=tmp_path / "ca.pem")
    settings = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path / "client"), "STRONGROOM_CA_CERT": str(tmp_path / "ca.pem")})
    try:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        log_in(settings, server.url, "root", SecretText(PASSWORD))
        with Client(settings) as client:
            client.create_secret("s", {"k": CANARY})
            assert client.get_secret("s").secret_values == {"k": CANARY}
        assert {line.split()[0] for line in proxy.seen} == {"CONNECT"}
        assert {line.split()[1] for line in proxy.seen} == {f"127.0.0.1:{server.port}"}
        before = len(proxy.seen)
        monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.1")
        with Client(settings) as client:
            assert client.get_secret("s").secret_values == {"k": CANARY}
        assert len(proxy.seen) == before
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{CANARY}-wrong@{proxy.address}")
        with Client(settings) as client, pytest.raises(Unavailable, match=r"the proxy 127\.0\.0\.1 does not connect") as caught:
            client.get_secret("s")
        assert not holds_canary(str(caught.value) + str(caught.value.hint))
    finally:
        server.stop()


def test_a_plain_server_elsewhere_is_asked_for_at_the_proxy(
    admin: Caller, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where plain HTTP was allowed, the proxy is asked for the whole URL; one on this machine is never asked for at a proxy."""
    proxy.names["strongroom.test"] = "127.0.0.1"
    monkeypatch.setenv("http_proxy", proxy.url)
    assert admin.token is not None
    base = {"STRONGROOM_CONFIG_PATH": str(tmp_path / "client"), "STRONGROOM_API_KEY": admin.token, "STRONGROOM_INSECURE": "1"}
    base["STRONGROOM_ACTIVE_WORKSPACE"] = admin.workspace
    port = admin.server.port
    with Client(read_settings(base | {"STRONGROOM_SERVER_URL": f"http://strongroom.test:{port}"})) as client:
        client.create_secret("s", {"k": CANARY})
        assert client.get_secret("s").secret_values == {"k": CANARY}
    assert len(proxy.seen) == 2
    assert proxy.seen[1].startswith(f"GET http://strongroom.test:{port}/api/v1/secrets/by-name/s?")
    with Client(read_settings(base | {"STRONGROOM_SERVER_URL": f"http://127.0.0.1:{port}"})) as client:
        assert client.get_secret("s").secret_values == {"k": CANARY}
    assert len(proxy.seen) == 2


@pytest.mark.parametrize("url", [f"socks5://user:{CANARY}@127.0.0.1:1", f"http://user:{CANARY}@127.0.0.1:x"], ids=["scheme", "port"])
def test_a_proxy_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Is said without its password."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    settings = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path), "STRONGROOM_SERVER_URL": "https://strongroom.test"})
    settings = replace(settings, api_key="srk_x")
    with pytest.raises(ConfigurationError, match="the proxy's URL") as caught:
        Client(settings).list_secrets()
    assert not holds_canary(repr(caught.value) + repr(caught.value.__context__))


def test_a_proxy_that_is_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is what the error is about: not the server."""
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{free_port()}")
    settings = read_settings({"STRONGROOM_CONFIG_PATH": str(tmp_path), "STRONGROOM_SERVER_URL": "https://strongroom.test"})
    settings = replace(settings, api_key="srk_x")
    with pytest.raises(Unavailable, match=r"the proxy 127\.0\.0\.1 does not connect to strongroom\.test"):
        Client(settings).list_secrets()
