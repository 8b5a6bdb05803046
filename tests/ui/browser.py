"""A browser for tests: what it is told, and what it sees of values.

Everything that the server sends to a browser goes by a collector: a value in there fails the test, unless it is in an answer that was
asked to reveal it. So does what a page writes to the console, such as a breach of the Content-Security-Policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, Response, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from tests.canary import CANARY, holds_canary
from tests.ui import axe

CHROMIUM = Path("/usr/bin/chromium")
_REVEALING = re.compile(r"/secrets/[^/]+/(reveal|copy)")
_EXPECTED = re.compile(
    r"(Failed to load resource: the server responded with a status of|Response Status Error Code) (401|403|404|409|412|413|422|429)\b"
)
"""Refusals are part of the conversation."""


class Chromium:
    """One process of a browser for many tests.

    Playwright's event loop runs in a greenlet of this thread, and Python takes it for running all the time. `at_work` hides it
    from tests that run a loop of their own.
    """

    def __init__(self) -> None:
        self._manager = sync_playwright()
        self.playwright: Playwright = self._manager.start()
        self.browser: Browser = self.launch()
        self._loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)

    def launch(self, *arguments: str) -> Browser:
        """Another process with more arguments."""
        return self.playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *arguments])

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Within it, the browser can be used."""
        asyncio._set_running_loop(self._loop)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def close(self) -> None:
        """Ends the browser."""
        with self.at_work():
            self.browser.close()
            self.playwright.stop()


class Collector:
    """Looks at all that a browser gets from a server."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.looked_at = 0
        self.bytes: dict[str, int] = {}

    def follow(self, context: BrowserContext) -> None:
        """Looks at everything that this context gets from now on."""
        context.on("response", self._response)
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.found.append(f"a script failed: {error.error}"))

    def expect(self, page: Page, paths: set[str]) -> None:
        """Waits until it has looked at these, which the page gets; it hears of them a little later than the page."""
        deadline = time.monotonic() + 15
        while not paths <= self.bytes.keys():
            assert time.monotonic() < deadline, f"the page does not get {paths - self.bytes.keys()}"
            page.evaluate("new Promise(requestAnimationFrame)")

    def check(self, page: Page) -> None:
        """Looks at what a page has kept in the browser."""
        kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.title, history.state])")
        if holds_canary(kept):
            self.found.append(f"a value is kept by the page {urlsplit(page.url).path}")

    def _request(self, request: Request) -> None:
        if holds_canary(request.url):
            self.found.append("a value is in a URL")

    def _response(self, response: Response) -> None:
        path = urlsplit(response.url).path
        if any(holds_canary(text) for text in response.headers.values()):
            self.found.append(f"a value is in a header of {path}")
        if response.status in (204, 303, 304):
            return
        try:
            body = response.body()
        except PlaywrightError:  # the page was left before it was read
            return
        self.looked_at += 1
        self.bytes[path] = response.request.sizes()["responseBodySize"]  # as it travels
        revealing = response.request.method == "POST" and _REVEALING.fullmatch(path)
        if holds_canary(body) and not (revealing and body.count(CANARY.encode()) == 1):
            self.found.append(f"a value is in what {response.request.method} {path} answers")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _EXPECTED.search(message.text):
            self.found.append(f"the browser complains: {message.text}")


def arrive(page: Page, heading: str) -> None:
    """Waits for the page with this heading, and for its scripts."""
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.wait_for_load_state()


def look_for_barriers(page: Page, *, rules: str = "wcag2a wcag2aa wcag21a wcag21aa wcag22aa best-practice") -> None:
    """Fails with what axe-core finds on the page. Skips where axe-core cannot be had."""
    try:
        text = axe.script()
    except (axe.NotThere, OSError) as error:
        pytest.skip(f"axe-core cannot be had: {error}")
    page.wait_for_load_state()  # without its styles a page looks otherwise
    page.evaluate(f"() => {{ {text} }}")
    options = {"runOnly": {"type": "tag", "values": rules.split()}, "resultTypes": ["violations"]}
    result: dict[str, Any] = page.evaluate("(options) => axe.run(document, options)", options)
    found = [f"{each['id']}: {each['help']} at {[node['target'] for node in each['nodes']]}" for each in result["violations"]]
    assert not found, f"{urlsplit(page.url).path}: {found}"
