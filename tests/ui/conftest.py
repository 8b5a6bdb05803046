"""Fixtures of the web page's tests: one browser for each worker, and a fresh profile for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.callers import Caller

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

    from tests.ui.browser import Chromium, Collector

SESSION, WORKSPACE = "strongroom-session", "strongroom-workspace"
TIMEOUT_MILLISECONDS = 15_000
_numbers = itertools.count(1)

SignIn = Callable[..., "Page"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A browser, for many tests."""
    pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
    from tests.ui.browser import CHROMIUM, Chromium

    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed; with Debian: apt-get install chromium")
    chromium = Chromium()
    yield chromium
    chromium.close()


@pytest.fixture
def collector(chromium: Chromium) -> Iterator[Collector]:
    """Looks at all that this test's pages get, and at what they keep: there is no value, and no complaint of the browser."""
    from tests.ui.browser import Collector

    collector = Collector()
    with chromium.at_work():
        yield collector
    assert not collector.found, collector.found


@pytest.fixture
def new_context(chromium: Chromium, collector: Collector) -> Iterator[Callable[..., BrowserContext]]:
    """Makes fresh profiles of the browser; options as of Playwright's `new_context`."""
    made: list[BrowserContext] = []

    def make(browser: Any = None, **options: Any) -> BrowserContext:
        context = (browser or chromium.browser).new_context(**{"viewport": {"width": 1100, "height": 800}, **options})
        context.set_default_timeout(TIMEOUT_MILLISECONDS)
        collector.follow(context)
        made.append(context)
        return context

    yield make
    for context in made:
        for page in context.pages:
            if page.url.startswith("http"):
                collector.check(page)
        context.close()


@pytest.fixture
def sign_in(new_context: Callable[..., BrowserContext]) -> SignIn:
    """A page of somebody who is signed in, in the caller's workspace: by their token, which a login by the form would set too."""

    def make(caller: Caller, **options: Any) -> Page:
        context = new_context(base_url=caller.server.url, **options)
        cookies = {SESSION: caller.token or "", WORKSPACE: caller.workspace}
        context.add_cookies(
            [{"name": name, "value": text, "url": caller.server.url, "httpOnly": True} for name, text in cookies.items()]
        )
        return context.new_page()

    return make


@pytest.fixture
def stranger(admin: Caller, new_context: Callable[..., BrowserContext]) -> Page:
    """A page of somebody who is not signed in."""
    return new_context(base_url=admin.server.url).new_page()


@pytest.fixture
def person(admin: Caller) -> Callable[[str], Caller]:
    """Adds users, who log in with the tests' password, with a role in the administrator's workspace."""

    def add(role: str | None, name: str = "person") -> Caller:
        return admin.add(f"{name}-{next(_numbers)}", role)

    return add


@pytest.fixture
def page(admin: Caller, sign_in: SignIn) -> Page:
    """A page of the administrator, in a fresh workspace."""
    return sign_in(admin)
