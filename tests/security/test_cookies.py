"""Cookies of the web page: over TLS, no other host and no page without TLS can set one that the server takes."""

from __future__ import annotations

from collections.abc import Iterator
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import pytest
import trustme
from urllib3 import HTTPHeaderDict

from strongroom.server.ui.visit import csrf_of
from tests.callers import Answer, Caller
from tests.servers.strongroom import PASSWORD, StrongroomServer

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NAMES = {"strongroom-session", "strongroom-workspace"}
LOGIN = {"username": "root", "password": PASSWORD}


@pytest.fixture(scope="module", params=["TLS", "a proxy with TLS", "plain HTTP"])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Caller, dict[str, str], bool]]:
    """A stranger at a server, the headers of a proxy if there is one, and whether the browser speaks TLS."""
    folder = tmp_path_factory.mktemp("cookies")
    variables = {"CONFIG_PATH": str(folder / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    headers: dict[str, str] = {}
    if request.param == "TLS":
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        options = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
        server = StrongroomServer(variables, *options, scheme="https", ca_cert=folder / "ca.pem")
    elif request.param == "a proxy with TLS":
        server = StrongroomServer({**variables, "TRUSTED_PROXIES": "127.0.0.1"})
        headers = {"X-Forwarded-Proto": "https"}
    else:
        server = StrongroomServer(variables)
    with server.connections() as pool:
        yield Caller(server, pool), headers, request.param != "plain HTTP"
    server.stop()


def ask(way: tuple[Caller, dict[str, str], bool], path: str, cookies: str = "", form: dict[str, str] | None = None) -> Answer:
    caller, headers, _ = way
    given = {**headers, **({"Cookie": cookies} if cookies else {}), **(FORM if form is not None else {})}
    body = None if form is None else urlencode(form)
    answer = caller.pool.request("GET" if form is None else "POST", path, body=body, headers=given, retries=False, redirect=False)
    return Answer(answer.status, answer.headers, answer.data)


def cookies_of(answer: Answer) -> SimpleCookie:
    headers = answer.headers
    assert isinstance(headers, HTTPHeaderDict)
    found = SimpleCookie()
    for line in headers.getlist("Set-Cookie"):
        found.load(line)
    return found


def check(cookies: SimpleCookie, names: set[str], is_tls: bool) -> None:
    """Each has the attributes without which a browser refuses a name that begins with `__Host-`."""
    assert {name.removeprefix("__Host-") for name in cookies} == names
    for name, morsel in cookies.items():
        assert name.startswith("__Host-") is is_tls
        assert bool(morsel["secure"]) is is_tls
        assert (morsel["path"], morsel["domain"], morsel["httponly"], morsel["samesite"].lower()) == ("/", "", True, "strict")


def test_every_cookie_that_is_set(way: tuple[Caller, dict[str, str], bool]) -> None:
    """Signing in, choosing a workspace and signing out set and end cookies bound to the host, over TLS; without it, plain ones."""
    is_tls = way[2]
    signed_in = cookies_of(ask(way, "/sign-in", form=LOGIN))
    check(signed_in, {"strongroom-session"}, is_tls)
    (session,) = signed_in.values()
    form = {"csrf": csrf_of(session.value)}
    carried = f"{session.key}={session.value}"
    check(cookies_of(ask(way, "/workspace", carried, {**form, "workspace": "default"})), {"strongroom-workspace"}, is_tls)
    assert ask(way, "/secrets", carried).status == 200
    ended = cookies_of(ask(way, "/sign-out", carried, form))
    check(ended, NAMES, is_tls)
    assert {morsel["max-age"] for morsel in ended.values()} == {"0"}
    assert ask(way, "/secrets", carried).status == 303


def test_cookies_that_another_page_could_set(way: tuple[Caller, dict[str, str], bool]) -> None:
    """Over TLS a session or a workspace under any other name counts for nothing, alone or beside the real one, in either order."""
    is_tls = way[2]
    (session,) = cookies_of(ask(way, "/sign-in", form=LOGIN)).values()
    good = f"{session.key}={session.value}"
    forms = ["strongroom-session", "__host-strongroom-session", "__Secure-strongroom-session", " strongroom-session"]
    if not is_tls:
        forms = ["__Host-strongroom-session", *forms[1:3]]
    for name in forms:
        assert ask(way, "/secrets", f"{name}={session.value}").status == 303, name
        for order in (f"{name}=other; {good}", f"{good}; {name}=other"):
            assert ask(way, "/secrets", order).status == 200, name
    if is_tls:
        assert ask(way, "/secrets", f"{good}; strongroom-workspace=nowhere").status == 200
        assert ask(way, "/secrets", f"{good}; __Host-strongroom-workspace=nowhere").status in (403, 404)
