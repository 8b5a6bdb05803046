"""Sessions that end in the middle, set-up of a new server, and signing in from other addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import BrowserContext, Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import PASSWORD, StrongroomServer
from tests.ui.browser import Chromium, look_for_barriers
from tests.ui.conftest import SignIn


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[StrongroomServer]:
    """A server to which nobody can log in yet."""
    server = StrongroomServer({"CONFIG_PATH": str(tmp_path / "server")})
    yield server
    server.stop()


def sign_in_again(page: Page, name: str, password: str) -> None:
    """In the dialog that says that the session has ended."""
    dialog = page.get_by_role("dialog", name="Your session has ended")
    dialog.get_by_label("User name").fill(name)
    dialog.get_by_label("Password").fill(password)
    dialog.get_by_role("button", name="Sign in").click()


def test_a_session_ends_in_the_middle(admin: Caller, person: Callable[[str], Caller], sign_in: SignIn) -> None:
    """Whoever's session ends while they type signs in again in a dialog, and sends what is still there."""
    caller = person("editor")
    name = caller.call("GET", "/me").data["name"]
    page = sign_in(caller)
    page.goto("/secrets/new")
    page.get_by_label("Name", exact=True).fill("typed_for_long")
    page.get_by_label("Key", exact=True).fill("key")
    page.locator("#value-1").fill(f"{CANARY} typed")
    assert caller.call("POST", "/logout").status == 204
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_label("User name")).to_be_focused()
    look_for_barriers(page)
    sign_in_again(page, name, "a wrong one")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("wrong")
    sign_in_again(page, name, PASSWORD)
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("status")).to_have_text("You are signed in again.")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("typed_for_long")
    assert admin.call("GET", "/secrets/by-name/typed_for_long").data["values"] == {"key": f"{CANARY} typed"}


def test_a_session_ends_before_a_value_is_copied(admin: Caller, person: Callable[[str], Caller], sign_in: SignIn) -> None:
    """Reveal, copy and search ask to sign in again too."""
    secret = admin.create("s", {"key": CANARY})
    caller = person("reader")
    name = caller.call("GET", "/me").data["name"]
    page = sign_in(caller, permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"/secrets/{secret['id']}")
    assert caller.call("POST", "/logout").status == 204
    page.get_by_role("button", name="Copy the value of key").click()
    sign_in_again(page, name, PASSWORD)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Copy the value of key").click()
    expect(page.get_by_role("status")).to_contain_text("Copied")
    page.get_by_role("button", name="Reveal the value of key").click()
    expect(page.locator(".value")).to_have_text(CANARY)


def test_set_up(new_server: StrongroomServer, new_context: Callable[..., BrowserContext]) -> None:
    """The link that a new server prints leads to a form that knows the one-time token, which leaves the address bar at once."""
    link = re.search(rf"{re.escape(new_server.url)}/set-up#token=\S+", new_server.log)
    assert link is not None
    page = new_context().new_page()
    page.goto(link[0])
    expect(page).to_have_url(f"{new_server.url}/set-up")
    look_for_barriers(page)
    token = page.get_by_label("One-time token")
    assert token.input_value() == link[0].partition("#token=")[2]
    page.get_by_label("User name").fill("no blanks please")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the administrator").click()
    expect(page.get_by_role("alert")).to_contain_text("the name of a user has")
    page.get_by_label("User name").fill("ada")  # token and password are still there
    page.get_by_role("button", name="Make the administrator").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")
    expect(page.locator(".who .name")).to_have_text("ada")
    other = new_context().new_page()
    other.goto(link[0])
    other.get_by_label("User name").fill("eve")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Make the administrator").click()
    expect(other.get_by_role("alert")).to_contain_text("not valid")


def test_plain_http_from_another_machine(
    admin: Caller, person: Callable[[str], Caller], chromium: Chromium, new_context: Callable[..., BrowserContext]
) -> None:
    """Where browsers see no secure context and send less, one still signs in and writes; copying says why it does not work."""
    secret = admin.create("s", {"key": CANARY})
    name = person("editor").call("GET", "/me").data["name"]  # the administrator has too many workspaces to choose from
    browser = chromium.launch("--host-resolver-rules=MAP strongroom.test 127.0.0.1")
    page = new_context(browser, base_url=f"http://strongroom.test:{admin.server.port}", java_script_enabled=True).new_page()
    page.goto("/sign-in")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")
    page.get_by_role("link", name="s", exact=True).click()
    page.get_by_role("button", name="Copy the value of key").click()
    expect(page.get_by_role("alert")).to_contain_text("https")
    page.get_by_role("button", name="Reveal the value of key").click()
    expect(page.locator(".value")).to_have_text(CANARY)
    assert page.url.endswith(secret["id"])
