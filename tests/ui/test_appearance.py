"""What holds for every page: no barriers, no sideways scrolling, nothing hostile at work."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
from playwright.sync_api import Page, expect

from strongroom.server.ui.app import PAGES
from tests.callers import Caller
from tests.ui.browser import look_for_barriers
from tests.ui.conftest import SignIn
from tests.ui.furniture import HOSTILE, Furniture, furnish
from tests.ui.test_roles import filled

LISTS = ("/stacks", "/components", "/runs", "/members", "/service-accounts", "/users", "/workspaces", "/audit", "/secrets")


@pytest.fixture
def furniture(admin: Caller, person: Callable[..., Caller]) -> Furniture:
    """One of everything, with hostile texts wherever a text may be."""
    return furnish(admin, person("viewer").call("GET", "/me").data["name"])


def paths(furniture: Furniture) -> list[str]:
    """Every page that somebody who is signed in may look at."""
    return [filled(path, furniture) for method, path, _, strangers in PAGES if method == "GET" and not strangers and path != "/"]


@pytest.mark.parametrize(("width", "scheme"), [(1100, "light"), (320, "dark")])
def test_no_barriers(admin: Caller, sign_in: SignIn, furniture: Furniture, width: int, scheme: str) -> None:
    """axe-core finds nothing on any page, light or dark, and no page scrolls sideways on a screen of 320 pixels."""
    page = sign_in(admin, viewport={"width": width, "height": 700}, color_scheme=scheme)
    for path in paths(furniture):
        page.goto(path)
        for each in page.locator("details").all():
            each.evaluate("(element) => { element.open = true; }")
        look_for_barriers(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} scrolls sideways"
        assert page.title().endswith(" – strongroom")
        assert page.get_by_role("heading", level=1).count() == 1, path


def test_hostile_texts_stay_texts(admin: Caller, sign_in: SignIn, furniture: Furniture) -> None:
    """A text that somebody stored, sent or put into a link is shown as it is, and never becomes part of the page."""
    page = sign_in(admin)
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    query = "&".join(
        f"{name}={quote(HOSTILE)}" for name in ("search", "pipeline", "actor", "operation", "target", "outcome", "label")
    )
    for path in (*paths(furniture), *(f"{path}?{query}&page=1&sort=asc:name" for path in LISTS), f"/runs/{quote(HOSTILE, '')}"):
        page.goto(path)
        assert page.locator("img[src=x], script:not([src]), [onerror], [href^='javascript:']").count() == 0, path
        assert "1234321" not in page.content(), f"{path} has worked something out"
    page.goto(f"/runs/{furniture.run}")
    expect(page.get_by_label("Error of the run")).to_contain_text(HOSTILE)
    page.goto("/components/experiment_tracker/tracker")
    expect(page.get_by_role("row").filter(has_text="tracking_uri")).to_contain_text(HOSTILE)
    page.goto("/members")
    page.get_by_label("User name").fill(HOSTILE)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("there is no user")
    assert page.locator("img[src=x]").count() == 0


def test_the_keyboard_is_enough(page: Page, admin: Caller) -> None:
    """Everything that can be done is reached with Tab, in order, and shows that it has the focus."""
    page.goto("/members")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    wanted = ["Members", "Service accounts", "Members", f"Role of {'default'}", "Change", "Remove"]
    seen = []
    for _ in wanted:
        page.keyboard.press("Tab")
        name = page.evaluate("() => (document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '')")
        seen.append(re.split(r"[…\n]| the role of", name)[0].strip().removesuffix(" default") if "Role" not in name else name)
        assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") != "none", name
    assert seen == wanted


def test_without_scripts(admin: Caller, sign_in: SignIn, furniture: Furniture) -> None:
    """Lists, filters and forms work without a script: by links and by pages that are loaded."""
    page = sign_in(admin, java_script_enabled=False)
    page.goto("/components")
    page.get_by_label("Type").select_option("experiment tracker")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.goto("/stacks")
    page.get_by_role("button", name="Use production").click()
    expect(page.get_by_role("row").filter(has_text="your active stack")).to_contain_text("production")
    page.goto("/members")
    page.get_by_label("User name").fill("nobody-of-this-name")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("there is no user")
    page.goto("/audit")
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.get_by_text("The audit trail is whole")).to_be_visible()
