"""Signing in and out."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import Page, expect

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
