"""What the web page holds against those who would misuse it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme
import urllib3

from strongroom.server.ui.visit import csrf_of
from tests.callers import Answer, Caller
from tests.canary import CANARY, holds_canary
from tests.servers.strongroom import PASSWORD, StrongroomServer

FORM = "application/x-www-form-urlencoded"
XSS = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>{{1234567*8}}"


def visit(caller: Caller, path: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
    """What a browser with this caller's cookies would get; with fields it sends a form."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    cookies = {"strongroom-session": caller.token, "strongroom-workspace": caller.workspace}
    given["Cookie"] = "; ".join(f"{name}={text}" for name, text in cookies.items() if text)
    body = None
    if fields is not None:
        given["Content-Type"] = FORM
        body = urlencode(fields)
    method = "GET" if fields is None else "POST"
    answer = caller.pool.request(method, path, body=body, headers=given, retries=False, redirect=False)
    return Answer(answer.status, answer.headers, answer.data)


def csrf(caller: Caller) -> str:
    """What this caller's forms carry."""
    return csrf_of(caller.token or "")


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Somebody without a token, at a server with TLS and an administrator `root`."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    options = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
    variables = {"CONFIG_PATH": str(folder / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables, *options, scheme="https", ca_cert=folder / "ca.pem")
    with server.connections() as pool:
        yield Caller(server, pool)
    server.stop()


def test_forms_of_others_are_refused(admin: Caller, person: Callable[[str], Caller]) -> None:
    """A form has to carry the session's own token and to come from a page of ours, or it changes nothing and reveals nothing."""
    secret = admin.create("s", {"key": CANARY})
    path, fields = f"/secrets/{secret['id']}/reveal", {"key": "key"}
    ours = f"http://127.0.0.1:{admin.server.port}"
    refused = [
        visit(admin, path, fields, Sec_Fetch_Site="same-origin"),  # without the token
        visit(admin, path, {**fields, "csrf": csrf(person("admin"))}, Sec_Fetch_Site="same-origin"),
        visit(admin, path, {**fields, "csrf": ""}),
        visit(admin, path, {**fields, "csrf": "é\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")}),
        visit(admin, path, {**fields, "csrf": csrf(admin)}, Sec_Fetch_Site="cross-site"),
        visit(admin, path, {**fields, "csrf": csrf(admin)}, Sec_Fetch_Site="same-site", Origin=ours),
        visit(admin, path, {**fields, "csrf": csrf(admin)}, Origin="https://evil.example"),
        visit(admin, path, {**fields, "csrf": csrf(admin)}, Origin="null"),
    ]
    assert {answer.status for answer in refused} == {403}
    assert not any(holds_canary(answer.body) for answer in refused)
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Origin": ours}, {}):
        assert visit(admin, path, {**fields, "csrf": csrf(admin)}, **headers).status == 200
    assert visit(admin, path, fields, X_CSRF_Token=csrf(admin)).status == 200


def test_signing_in_is_no_business_of_other_pages(admin: Caller, nobody: Caller) -> None:
    """Another site's page cannot sign a browser in, or out."""
    fields = {"username": "default", "password": PASSWORD}
    assert visit(nobody, "/sign-in", fields, Sec_Fetch_Site="cross-site").status == 403
    assert visit(admin, "/sign-out", {}, Sec_Fetch_Site="cross-site").status == 403
    assert visit(admin, "/secrets").status == 200


def test_every_page_that_changes_anything_checks_its_form(admin: Caller) -> None:
    """No POST of the web page does anything without the session's token, whichever it is."""
    from strongroom.server.ui.app import PAGES

    secret = admin.create("s", {"key": CANARY})
    posts = [path for method, path, _, strangers in PAGES if method == "POST" and not strangers]
    assert len(posts) >= 8
    for path in posts:
        answer = visit(admin, path.replace("{id}", secret["id"]).replace("{name}", "s"), {"name": "s"})
        assert answer.status == 403, path
    assert visit(admin, "/secrets").status == 200
    assert admin.call("GET", f"/secrets/{secret['id']}").status == 200


def test_headers(admin: Caller, nobody: Caller) -> None:
    """Pages are cached nowhere, framed by nobody, and load and run nothing from elsewhere and nothing inline."""
    secret = admin.create("s", {"key": CANARY})
    answers = [visit(admin, path) for path in ("/secrets", "/secrets/new", f"/secrets/{secret['id']}", "/secrets/none")]
    answers.append(visit(nobody, "/sign-in"))
    for answer in answers:
        policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["form-action"] == policy["connect-src"] == "'self'"
        assert not re.search(r"unsafe|\*|http", answer.headers["Content-Security-Policy"])
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        html = answer.body.decode()
        assert not re.search(r"<script(?![^>]* src=\"/static/)|<style|\sstyle=|\son[a-z]+=|javascript:", html)
        assert not re.search(r"(src|href|action)=\"(?!/|#)", html)


def test_cookies(admin: Caller, nobody: Caller, over_tls: Caller) -> None:
    """The session's cookie is out of reach of scripts and of other sites; over TLS it never travels without."""
    for caller, name in ((nobody, "default"), (over_tls, "root")):
        answer = visit(caller, "/sign-in", {"username": name, "password": PASSWORD})
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
        attributes = {part.strip().partition("=")[0].lower(): part.partition("=")[2] for part in cookie.split(";")}
        assert {"httponly", "path", "max-age"} <= attributes.keys()
        assert attributes["samesite"].lower() == "strict"
        assert "domain" not in attributes
        assert ("secure" in attributes) is (caller is over_tls)


def test_cookies_behind_a_proxy(tmp_path: Path) -> None:
    """Where a trusted proxy speaks TLS with the browser, the cookie is for TLS alone, and forms come from an https page."""
    variables = {"CONFIG_PATH": str(tmp_path / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer({**variables, "TRUSTED_PROXIES": "127.0.0.1"})
    try:
        with server.connections() as pool:
            caller, fields = Caller(server, pool), {"username": "root", "password": PASSWORD}
            origin = f"https://127.0.0.1:{server.port}"
            answer = visit(caller, "/sign-in", fields, X_Forwarded_Proto="https", Origin=origin)
            assert answer.status == 303
            assert "secure" in answer.headers["Set-Cookie"].lower()
            assert visit(caller, "/sign-in", fields, Origin=origin).status == 403
    finally:
        server.stop()


def test_no_such_page(nobody: Caller) -> None:
    """A browser gets a page where there is none, and a program JSON."""
    answer = visit(nobody, "/nowhere", Accept="text/html,*/*;q=0.8")
    assert answer.status == 404
    assert b"there is no such path here" in answer.body
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert visit(nobody, "/nowhere").error["code"] == "no_such_operation"


def test_next_leads_nowhere_else(nobody: Caller) -> None:
    """After signing in one is on this server, whatever the address said."""
    odd = [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "evil.example",
        "/\n/x",
    ]
    odd += ["javascript:alert(1)", " //evil.example", "/%0d%0aSet-Cookie:x=y", "/\r\nX: y", ""]
    for each in odd:
        page = visit(nobody, f"/sign-in?{urlencode({'next': each})}").body.decode()
        shown = re.search(r'name="next" value="([^"]*)"', page)
        assert shown is not None
        answer = visit(nobody, "/sign-in", {"username": "default", "password": PASSWORD, "next": each})
        for where in (shown[1], answer.headers["Location"]):
            assert re.fullmatch(r"/(?![/\\])[!-~]*", where), each
        assert "X" not in answer.headers


def test_no_markup_gets_in(admin: Caller) -> None:
    """Whatever text stands in a field, it is shown as text: in the list, in a secret's pages, in forms and in errors."""
    secret = admin.create("s", {"key": f"{CANARY}{XSS}"}, description=XSS, labels={"label": XSS})
    path = f"/secrets/{secret['id']}"
    token = csrf(admin)
    answers = [visit(admin, each) for each in ("/secrets", path, f"{path}/edit", f"{path}/delete")]
    answers += [
        visit(admin, f"/secrets?{urlencode({field: XSS})}") for field in ("search", "owner", "label", "sort", "scope", "page")
    ]
    answers += [visit(admin, f"/sign-in?{urlencode({'next': '/' + XSS})}"), visit(admin, f"/secrets/{urlencode({XSS: ''})}")]
    typed = {"name": XSS, "key": XSS, "value": XSS, "description": XSS, "labels": XSS, "expires": XSS, "scope": XSS, "csrf": token}
    answers += [visit(admin, "/secrets", typed), visit(admin, f"{path}/edit", {**typed, "if_version": XSS, "remove": XSS})]
    answers += [visit(admin, "/secrets/paste", {"csrf": token, "paste": text}) for text in (XSS, f"{XSS}=1", f'{{"{XSS}": 1}}')]
    answers.append(visit(admin, f"{path}/reveal", {"csrf": token, "key": "key"}))
    for answer in answers:
        html = answer.body.decode()
        assert "<img src=x" not in html
        assert "<script>" not in html
        assert "9876536" not in html
    copied = visit(admin, f"{path}/copy", {"csrf": token, "key": "key"})
    assert copied.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert copied.headers["X-Content-Type-Options"] == "nosniff"


def test_a_viewer_gets_no_value(admin: Caller, person: Callable[[str], Caller]) -> None:
    """Who may not read values gets none by any page, and no button for it; nor for changing anything."""
    secret = admin.create("s", {"key": CANARY})
    viewer = person("viewer")
    path, token = f"/secrets/{secret['id']}", csrf(viewer)
    for page in ("/secrets", path, f"{path}/edit", f"{path}/delete", f"{path}/usage"):
        answer = visit(viewer, page)
        assert answer.status == 200
        assert not holds_canary(answer.body)
    html = b"".join(
        visit(viewer, page).body for page in ("/secrets", "/secrets/new", path, f"{path}/edit", f"{path}/delete")
    ).decode()
    assert not re.search(r'"[^"]*(/reveal|/copy|/edit|/delete|/rollback|/secrets/new)"', html)
    attempts = {
        f"{path}/reveal": {"key": "key"},
        f"{path}/copy": {"key": "key"},
        f"{path}/edit": {"value.key": "x", "scope": "workspace", "was.scope": "workspace", "if_version": "1"},
        f"{path}/rollback": {"version": "1"},
        f"{path}/delete": {"name": "s"},
        "/secrets": {"name": "mine", "scope": "user", "key": "k", "value": "v"},
    }
    for place, fields in attempts.items():
        for headers in ({}, {"HX_Request": "true"}):
            answer = visit(viewer, place, {**fields, "csrf": token}, **headers)
            assert answer.status == 403, place
            assert not holds_canary(answer.body)
    assert admin.call("GET", f"/secrets/{secret['id']}").data["values"] == {"key": CANARY}


def test_private_secrets_of_others_are_nowhere(admin: Caller, person: Callable[[str], Caller]) -> None:
    """Another user's user-scoped secret does not exist, for administrators neither: all its pages read as if it had never been."""
    private = person("editor").create("private_to_somebody", {"key": CANARY}, scope="user")
    never = private["id"][:-4] + ("0000" if private["id"][-4:] != "0000" else "1111")
    fields = {"csrf": csrf(admin), "key": "key", "version": "1", "name": "private_to_somebody", "scope": "user"}
    for form in (None, fields):
        for piece in ("", "/edit", "/delete", "/usage") if form is None else ("/reveal", "/copy", "/edit", "/delete", "/rollback"):
            there, not_there = (visit(admin, f"/secrets/{each}{piece}", form) for each in (private["id"], never))
            assert there.status == not_there.status == 404
            assert there.body.replace(private["id"].encode(), b"") == not_there.body.replace(never.encode(), b"")
    assert b"private_to_somebody" not in visit(admin, "/secrets").body


def test_reveals_are_on_record(admin: Caller) -> None:
    """Each value that is revealed or copied is an event of the audit trail, and so is each attempt that was refused."""
    secret = admin.create("s", {"key": CANARY})
    for action in ("reveal", "copy"):
        assert visit(admin, f"/secrets/{secret['id']}/{action}", {"csrf": csrf(admin), "key": "key"}).status == 200
    events = admin.call("GET", f"/audit?target_id={secret['id']}&operation=secret.get").data["items"]
    assert [(each["actor"], each["outcome"], each["version"]) for each in events] == [("default", "ok", 1)] * 2


def test_limits_on_signing_in_are_the_api_s(over_tls: Caller) -> None:
    """Who has tried too many passwords on the page has tried them at the API too."""
    admin = over_tls.log_in("root")
    admin.add("guessed")
    for _ in range(10):
        assert visit(over_tls, "/sign-in", {"username": "guessed", "password": CANARY}).status == 401
    answer = visit(over_tls, "/sign-in", {"username": "guessed", "password": PASSWORD})
    assert answer.status == 429
    assert "Set-Cookie" not in answer.headers
    assert over_tls.call("POST", "/login", {"username": "guessed", "password": PASSWORD}).status == 429


def test_strangers_get_nothing(admin: Caller, nobody: Caller) -> None:
    """Without a session, or with one that has ended, every page leads to signing in, and every form is refused."""
    from strongroom.server.ui.app import PAGES

    admin.create("s", {"key": CANARY})
    for method, path, _, strangers in PAGES:
        for token in () if strangers else (None, "no-token", "x" * 3000):
            answer = visit(replace(nobody, token=token), path, {} if method == "POST" else None)
            assert answer.status == (303 if method == "GET" else 401), path
            assert not holds_canary(answer.body)


def test_bodies_are_limited(admin: Caller, nobody: Caller) -> None:
    """A stranger's form is small; a form of anybody has at most 1 MiB, and what is no form is refused and not repeated."""
    assert visit(nobody, "/sign-in", {"username": "x" * 20_000}).status == 413
    answer = visit(
        admin, "/secrets", {"csrf": csrf(admin), "name": "s", "scope": "workspace", "key": "k", "value": CANARY + "x" * 70_000}
    )
    assert answer.status == 413
    assert not holds_canary(answer.body)
    headers = {"Cookie": f"strongroom-session={admin.token}", "Content-Type": FORM, "X-CSRF-Token": csrf(admin)}
    with urllib3.HTTPConnectionPool("127.0.0.1", admin.server.port) as pool:
        huge = {**headers, "Content-Length": "1048577", "Connection": "close"}  # what was declared and not sent spoils the connection
        assert pool.request("POST", "/secrets", headers=huge, retries=False).status == 413
        assert pool.request("POST", "/secrets", body=b"name=%ff%fe", headers=headers, retries=False).status == 422


def test_odd_workspaces(admin: Caller) -> None:
    """A workspace that is none, or that one does not belong to, is refused in words, and one gets out of it again."""
    for name in ("no-such-workspace", "é€\r\nX: y", "", "a;b=c", "x" * 5000):
        fields = {"csrf": csrf(admin), "workspace": name, "next": "/secrets"}
        answer = visit(admin, "/workspace", fields)
        assert answer.status in (303, 404, 422), name
        assert "X" not in answer.headers
    for cookie in ("no-such-workspace", "%e9", '"', "x" * 3000):
        answer = visit(replace(admin, workspace=cookie), "/secrets")
        assert answer.status in (403, 404), cookie
        assert b'action="/workspace"' in answer.body, cookie


def test_static_files_are_all_there_is(nobody: Caller, tmp_path: Path) -> None:
    """Only the files of the page are served, and nothing around them."""
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/nothing.js", "/static/..%2fapp.py", "/static"):
        assert visit(nobody, path).status in (404, 405), path
