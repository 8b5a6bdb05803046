"""Signing in and out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import PASSWORD
from tests.ui.browser import look_for_barriers


def test_sign_in_and_out(stranger: Page) -> None:
    """Whoever opens a page is asked who they are, comes to the page then, and is out again after signing out."""
    stranger.goto("/secrets?search=x")
    expect(stranger).to_have_url("/sign-in?next=%2Fsecrets%3Fsearch%3Dx")
    look_for_barriers(stranger)
    stranger.get_by_label("User name").fill("default")
    stranger.get_by_label("Password").fill(f"{CANARY}-wrong")
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("alert")).to_contain_text("wrong")
    stranger.get_by_label("User name").fill("default")
    stranger.get_by_label("Password").fill(PASSWORD)
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger).to_have_url("/secrets?search=x")
    stranger.get_by_role("button", name="Sign out").click()
    expect(stranger).to_have_url("/sign-in")
    stranger.goto("/secrets")
    expect(stranger.get_by_label("Password")).to_be_visible()


def test_begins_where_one_belongs(stranger: Page, admin: Caller, person: Callable[[str | None], Caller]) -> None:
    """Who is no member of the workspace in which one begins comes to one of their own; who is member of none is told."""
    for role in ("viewer", None):
        name = person(role).call("GET", "/me").data["name"]
        stranger.goto("/sign-in")
        stranger.get_by_label("User name").fill(name)
        stranger.get_by_label("Password").fill(PASSWORD)
        stranger.get_by_role("button", name="Sign in").click()
        if role:
            expect(stranger.get_by_role("heading", level=1)).to_have_text("Secrets")
            expect(stranger.get_by_label("Workspace")).to_have_value(admin.workspace)
        else:
            expect(stranger.get_by_role("alert")).to_contain_text("permission")
        look_for_barriers(stranger)
        stranger.get_by_role("button", name="Sign out").click()
        expect(stranger).to_have_url("/sign-in")
