"""What a new user does first, from signing in to the audit trail; and the pictures of the guide.

With the variable TESTS_IMAGES the pictures are made anew in that folder (see docs/guides/use-the-web-page.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import BrowserContext, Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import PASSWORD
from tests.ui.browser import look_for_barriers


def picture(page: Page, name: str) -> None:
    """Makes a picture of the page as it is, if that is asked for; what is on it has to be accessible in any case."""
    look_for_barriers(page)
    folder = os.environ.get("TESTS_IMAGES")
    if not folder:
        return
    shown = [("canary-[0-9a-f]+", "pg-pass"), (r"\b(new-user-\d+)\b", "ada"), (r"\bw\d+\b", "default")]
    page.evaluate(
        """(shown) => {
          const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
          while (walk.nextNode()) for (const [from, to] of shown) {
            const text = walk.currentNode;
            if (new RegExp(from).test(text.data)) text.data = text.data.replace(new RegExp(from, "g"), to);
          }
        }""",
        shown,
    )
    page.screenshot(path=Path(folder) / f"{name}.png", animations="disabled")


def test_first_steps(admin: Caller, person: Callable[..., Caller], new_context: Callable[..., BrowserContext]) -> None:
    """Signing in, a secret from a pasted .env file, one value revealed, an edit rolled back: all of it is in the audit trail."""
    admin.create("registry", {"user": CANARY, "token": CANARY}, labels={"team": "vision"})
    admin.create("tracking", {"username": CANARY, "password": CANARY}, labels={"team": "vision"})
    user = person("admin", "new-user")
    name = user.call("GET", "/me").data["name"]
    page = new_context(base_url=admin.server.url, viewport={"width": 1000, "height": 680}).new_page()

    page.goto("/")
    picture(page, "sign-in")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Secrets")

    page.get_by_role("link", name="New secret").click()
    page.get_by_label("Name", exact=True).fill("warehouse")
    page.get_by_text("Paste a .env file or JSON").click()
    page.get_by_label("Lines of KEY=VALUE").fill(f"PGHOST=db.example.com\nPGUSER=reader\nPGPASSWORD='{CANARY}'\n")
    expect(page.locator("#pasted")).to_have_text("3 keys: PGHOST, PGUSER, PGPASSWORD")
    picture(page, "new-secret")
    page.get_by_label("Labels").fill("team=data")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("warehouse")

    page.get_by_role("button", name="Reveal the value of PGPASSWORD").click()
    expect(page.locator(".value")).to_have_text(CANARY)
    page.locator(".shown").scroll_into_view_if_needed()
    picture(page, "secret")

    page.get_by_role("link", name="Edit").click()
    page.get_by_label("new value of PGPASSWORD", exact=True).fill(f"{CANARY} mistyped")
    picture(page, "edit")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="2 current")).to_be_visible()
    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_role("row", name="1 current")).to_be_visible()
    page.get_by_role("heading", name="Versions").scroll_into_view_if_needed()
    picture(page, "versions")
    page.get_by_role("link", name="Secrets").first.click()
    expect(page.locator("tbody tr")).to_have_count(3)
    picture(page, "secrets")

    secret_id = admin.call("GET", "/secrets/by-name/warehouse/metadata").data["id"]
    events = admin.call("GET", f"/audit?target_id={secret_id}&actor={name}").data["items"]
    looking = {"secret.get-metadata", "secret.list-versions", "secret.list-usage"}
    done = [each["operation"] for each in reversed(events) if each["operation"] not in looking]
    assert done == ["secret.create", "secret.get", "secret.update", "secret.rollback"]


def test_what_was_done_is_in_the_list(page: Page, admin: Caller) -> None:
    """Whoever looks at the audit trail sees who revealed a value and who rolled back."""
    secret = admin.create("warehouse", {"PGPASSWORD": CANARY})
    page.goto(f"/secrets/{secret['id']}")
    page.get_by_role("button", name="Reveal the value of PGPASSWORD").click()
    expect(page.locator(".value")).to_have_text(CANARY)
    admin.call("PATCH", f"/secrets/{secret['id']}", {"values": {"PGPASSWORD": f"{CANARY} 2"}})
    page.reload()
    page.get_by_role("button", name="Roll back to version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()
    expect(page.get_by_role("row", name="1 current")).to_be_visible()
    page.goto("/audit?target=warehouse")
    for operation in ("secret.get", "secret.rollback"):
        expect(page.get_by_role("cell", name=operation, exact=True).first).to_be_visible()
    picture(page, "audit")
