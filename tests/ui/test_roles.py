"""Who may see and do what on the pages: every page with every role, as the operations allow it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from strongroom.server.ui.app import PAGES, POLICY
from strongroom.server.ui.visit import csrf_of
from tests.callers import Answer, Caller
from tests.canary import CANARY, holds_canary
from tests.ui.furniture import HOSTILE, Furniture, done, furnish
from tests.ui.visitor import Visitor

MEMBERS = frozenset({"viewer", "reader", "editor", "admin"})
USERS = frozenset({"reader", "editor", "admin"})
WRITERS = frozenset({"editor", "admin"})
ADMIN, SERVER = frozenset({"admin"}), frozenset({"server admin"})
EVERYBODY = MEMBERS | SERVER

READS = {
    "/account": EVERYBODY,
    "/audit": SERVER,
    "/components": MEMBERS,
    "/components/{type}/{name}": MEMBERS,
    "/members": EVERYBODY,
    "/runs": MEMBERS,
    "/runs/{name}": MEMBERS,
    "/service-accounts": ADMIN,
    "/service-accounts/{name}": ADMIN,
    "/stacks": MEMBERS,
    "/stacks/{name}": MEMBERS,
    "/stores": SERVER,
    "/stores/jobs/{id}": SERVER,
    "/users": SERVER,
    "/users/{name}": SERVER,
    "/workspaces": EVERYBODY,
}
"""Who sees what a page shows; the others are refused."""

WRITES: dict[str, tuple[frozenset[str], str]] = {
    "/account/password": (EVERYBODY, "/account"),
    "/audit/verify": (SERVER, "/audit"),
    "/components/service_connector/{name}/approve": (USERS, ""),
    "/components/{type}/{name}/delete": (WRITERS, "/components/{type}/{name}"),
    "/members": (ADMIN | SERVER, "/members"),
    "/members/remove": (ADMIN | SERVER, "/members"),
    "/service-accounts": (ADMIN, "/service-accounts"),
    "/service-accounts/{name}/delete": (ADMIN, "/service-accounts/{name}"),
    "/service-accounts/{name}/keys": (ADMIN, "/service-accounts/{name}"),
    "/service-accounts/{name}/keys/delete": (ADMIN, "/service-accounts/{name}"),
    "/stacks/{name}/activate": (MEMBERS, "/stacks/{name}"),
    "/stacks/{name}/approve": (USERS, "/stacks/{name}"),
    "/stores/back-up": (SERVER, ""),
    "/stores/restore": (SERVER, ""),
    "/stores/verify": (SERVER, "/stores"),
    "/users": (SERVER, "/users"),
    "/users/{name}/admin": (SERVER, "/users/{name}"),
    "/users/{name}/deactivate": (SERVER, "/users/{name}"),
    "/users/{name}/password": (SERVER, "/users/{name}"),
    "/workspaces": (SERVER, "/workspaces"),
}
"""Who may send a form, and the page that has it (none without a backup store, or a connector that waits)."""

FIELDS = {
    "/account/password": {"current": f"{CANARY}-wrong", "password": f"{CANARY}-new", "again": f"{CANARY}-new"},
    "/members": {"user": "nobody-of-this-name", "role": "reader"},
    "/members/remove": {"user": "nobody-of-this-name"},
    "/service-accounts": {"name": "bad name", "role": "reader"},
    "/service-accounts/{name}/delete": {"typed": "CI"},
    "/service-accounts/{name}/keys": {"name": "bad name"},
    "/service-accounts/{name}/keys/delete": {"name": "none"},
    "/stacks/{name}/approve": {"seen": "", "account": ""},
    "/stores/verify": {},
    "/users": {"name": "bad name", "password": f"{CANARY}-new", "again": f"{CANARY}-new"},
    "/users/{name}/admin": {"admin": "no"},
    "/users/{name}/deactivate": {"typed": "USER"},
    "/users/{name}/password": {"password": "short", "again": "short"},
    "/workspaces": {"name": "bad name"},
}
"""What is sent: nothing that changes much, so that the order does not matter."""


_places = itertools.count(1)


@pytest.fixture(scope="module")
def place(_administrator: Caller) -> Caller:
    """The administrator, in a workspace of these tests."""
    name = f"roles-{next(_places)}"
    done(_administrator.call("POST", "/workspaces", {"name": name}))
    return replace(_administrator, workspace=name)


@pytest.fixture(scope="module")
def furniture(place: Caller) -> Furniture:
    """One of everything; no test takes any of it away."""
    name = f"looked-at-{place.workspace}"
    place.add(name, "viewer")
    return furnish(place, name)


@pytest.fixture(scope="module")
def visitors(place: Caller) -> dict[str, Visitor]:
    """Somebody of each role. The administrator of the server belongs to no workspace."""
    people = {role: Visitor(place.add(f"{role}-{place.workspace}", role)) for role in sorted(MEMBERS)}
    name = f"root-{place.workspace}"
    operator = place.add(name)
    user = place.call("GET", f"/users/{name}").data
    done(place.call("PATCH", f"/users/{user['id']}", {"admin": True}))
    return {**people, "server admin": Visitor(operator.log_in(name))}


def filled(path: str, furniture: Furniture) -> str:
    """The path with names of what there is; a new parameter needs an example here."""
    examples = {
        "/secrets": {"id": furniture.secret_id, "key": "username", "version": "1", "name": "tracker"},
        "/stacks": {"name": furniture.stack},
        "/components": {"type": "experiment_tracker", "name": "tracker"},
        "/runs": {"name": furniture.run},
        "/service-accounts": {"name": furniture.service_account},
        "/users": {"name": furniture.user},
        "/stores": {"id": furniture.job_id},
    }
    return re.sub(r"{(\w+)}", lambda found: examples["/" + path.split("/")[1]][found[1]], path)


def sent_to(path: str, furniture: Furniture) -> str:
    """Where a form is sent to: what is there for looking stays as it is."""
    return filled(path, furniture).replace(f"/{furniture.stack}/activate", "/default/activate")


def is_sign_in(answer: Answer) -> bool:
    return (answer.status == 303 and answer.headers["Location"].startswith("/sign-in")) or (
        answer.status == 401 and b'action="/sign-in"' in answer.body
    )


def test_every_page_is_in_these_tables() -> None:
    """What is not about secrets or sessions has to be listed with who may see and do it."""
    ours = {(method, path) for method, path, handler, _ in PAGES if not handler.__module__.endswith((".secret", ".session"))}
    assert ours == {("GET", path) for path in READS} | {("POST", path) for path in WRITES}


def test_a_stranger_gets_the_sign_in_page(place: Caller, furniture: Furniture) -> None:
    """Whoever is not signed in is asked to be, by every page and every form, also with a session that there is not."""
    strangers = (Visitor(replace(place, token=None)), Visitor(replace(place, token="sr-made-up")))
    for method, path, _, for_strangers in PAGES:
        for stranger in strangers:
            answer = stranger.get(filled(path, furniture)) if method == "GET" else stranger.post(filled(path, furniture))
            if for_strangers:
                assert answer.status in (200, 401, 422, 429), (path, answer.status)
            else:
                assert is_sign_in(answer), (method, path, answer.status)


def test_each_page_with_each_role(visitors: dict[str, Visitor], furniture: Furniture) -> None:
    """A page shows itself or refuses, as the operations allow it; it never fails, shows a value, or may be kept by a cache."""
    for kind, visitor in visitors.items():
        for method, path, _, _ in PAGES:
            if method != "GET":
                continue
            for headers in ({}, {"HX_Request": "true"}):
                answer = visitor.get(filled(path, furniture), **headers)
                assert answer.status in (200, 303, 403), (kind, path, answer.status)
                assert answer.headers["Cache-Control"] == "no-store", path
                assert answer.headers["Content-Security-Policy"] == POLICY, path
                assert not holds_canary(answer.body), f"a value is on {path}"
                if path in READS:
                    assert (answer.status == 200) is (kind in READS[path]), (kind, path, answer.status)
                if b"<style" in answer.body or re.search(rb"<script(?! src=)| style=| on\w+=", answer.body.replace(b"onerror=", b"")):
                    raise AssertionError(f"{path} has something inline")


def test_forms_are_shown_to_those_who_may_send_them(visitors: dict[str, Visitor], furniture: Furniture) -> None:
    """A form is on its page exactly for the roles that may send it."""
    for kind, visitor in visitors.items():
        for path, (allowed, page) in WRITES.items():
            if page and kind in READS[page]:
                html = visitor.get(filled(page, furniture)).body.decode()
                assert (f'hx-post="{filled(path, furniture)}"' in html) is (kind in allowed), (kind, path)


def test_forms_are_refused_to_all_others(visitors: dict[str, Visitor], furniture: Furniture) -> None:
    """Whoever sends a form all the same is refused exactly where the operation is not allowed; nothing fails."""
    order = sorted(WRITES, key=lambda path: path.endswith("/delete"))
    for kind, visitor in visitors.items():
        for path in order:
            answer = visitor.post(sent_to(path, furniture), FIELDS.get(path))
            assert answer.status < 500, (kind, path, answer.status)
            typed_wrong = path == "/service-accounts/{name}/delete"  # is told before it is asked for
            expected = kind in WRITES[path][0]
            assert (answer.status != 403) is expected or typed_wrong, (kind, path, answer.status)
            assert not holds_canary(answer.body), f"{path} repeats a password"


def test_forms_of_elsewhere_are_refused(place: Caller, furniture: Furniture, visitors: dict[str, Visitor]) -> None:
    """A form without the session's own token, with another session's, or from another site does nothing, whatever it asks for."""
    visitor, other = Visitor(place), visitors["admin"].caller
    for method, path, _, for_strangers in PAGES:
        if method != "POST" or for_strangers:
            continue
        where, fields = filled(path, furniture), FIELDS.get(path)
        for answer in (
            visitor.post(where, fields, csrf=""),
            visitor.post(where, fields, csrf=csrf_of(other.token or "")),
            visitor.post(where, fields, csrf="", X_CSRF_Token=csrf_of(other.token or "")),
            visitor.post(where, fields, Sec_Fetch_Site="cross-site"),
            visitor.post(where, fields, Sec_Fetch_Site="same-site"),
            visitor.post(where, fields, Origin="http://elsewhere.example"),
        ):
            assert answer.status == 403, (path, answer.status)
    assert visitor.get("/account").status == 200, "a refused form has ended the session"


def test_hostile_fields_come_back_as_text(place: Caller, furniture: Furniture) -> None:
    """Whatever is typed into a field of a form, the answer repeats it as text, if at all."""
    visitor = Visitor(place)
    for path in WRITES:
        names = {"name", "user", "role", "typed", "expires", "admin", "delete_secrets", *FIELDS.get(path, {})}
        for hostile in (HOSTILE, "\0🔑" * 5_000):
            given = {name: f"{CANARY}-{hostile}" if name in ("password", "again", "current") else hostile for name in names}
            answer = visitor.post(sent_to(path, furniture), given, **({"HX_Request": "true"} if hostile is HOSTILE else {}))
            assert answer.status < 500, (path, answer.status)
            assert b"<img src=x" not in answer.body, path
            assert not holds_canary(answer.body), f"{path} repeats a password"


def test_pages_of_what_there_is_not(admin: Caller) -> None:
    """A name that leads nowhere is a page that says so; odd pages of lists are none."""
    visitor = Visitor(admin)
    for path in ("/stacks/none", "/components/alerter/none", "/components/none/none", "/runs/none", "/users/none"):
        assert visitor.get(path).status == 404, path
    for path in ("/service-accounts/none", "/stores/jobs/none", "/secrets/none"):
        assert visitor.get(path).status == 404, path
    for path in ("/stacks", "/components", "/runs", "/members", "/service-accounts", "/users", "/workspaces", "/audit"):
        for odd in ("0", "-1", "x", "٣", "9" * 5000, "999999999", ""):
            assert visitor.get(f"{path}?page={odd if odd.isascii() else '%D9%A3'}").status == 200, (path, odd[:9])
        for odd in ("%00", "%F0%9F%94%91", "%FF", "a%0D%0Ab", "%25", "'"):
            query = "&".join(f"{name}={odd}" for name in ("search", "type", "status", "pipeline", "actor", "operation", "target"))
            assert visitor.get(f"{path}?{query}").status in (200, 422), (path, odd)
