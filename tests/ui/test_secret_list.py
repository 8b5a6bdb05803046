"""The list of secrets: searching, filtering, sorting, paging."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.ui.browser import Collector, look_for_barriers
from tests.ui.conftest import SignIn


def names(page: Page) -> list[str]:
    """The names in the table, from top to bottom."""
    return page.locator("tbody th a:first-child").all_inner_texts()


def test_search_filter_and_sort(page: Page, admin: Caller, person: Callable[[str, str], Caller]) -> None:
    """One finds by typing a part of the name, by scope, owner and label; headings sort; the address is one to come back to."""
    admin.create("alpha_db", {"k": CANARY}, labels={"team": "data"})
    admin.create("beta_db", {"k": CANARY}, scope="user")
    colleague = person("editor", "grace")
    colleague.create("gamma", {"k": CANARY})
    colleague.create("hidden_db", {"k": CANARY}, scope="user")
    page.goto("/secrets")
    look_for_barriers(page)
    assert names(page) == ["alpha_db", "beta_db", "gamma"]
    page.get_by_label("Search by name").press_sequentially("_d")
    expect(page.get_by_text("2 secrets")).to_be_visible()
    assert names(page) == ["alpha_db", "beta_db"]
    page.get_by_label("Scope").select_option("user")
    expect(page.get_by_text("1 secret", exact=True)).to_be_visible()
    expect(page).to_have_url("/secrets?search=_d&scope=user")
    page.reload()
    assert names(page) == ["beta_db"]
    page.goto("/secrets")
    page.get_by_label("Owner").fill("grace")
    expect(page.get_by_text("1 secret", exact=True)).to_be_visible()
    assert names(page) == ["gamma"]
    page.get_by_label("Owner").fill("nobody at all")
    expect(page.get_by_text("No secret fits.")).to_be_visible()
    page.get_by_role("link", name="Show all secrets").click()
    page.get_by_role("link", name="team=data").click()
    assert names(page) == ["alpha_db"]
    expect(page.get_by_label("Label", exact=True)).to_have_value("team=data")
    page.goto("/secrets")
    page.get_by_role("link", name="Name").click()
    expect(page.get_by_role("columnheader", name="Name")).to_have_attribute("aria-sort", "descending")
    assert names(page) == ["gamma", "beta_db", "alpha_db"]
    page.get_by_role("link", name="Created (UTC)").click()
    expect(page.get_by_role("columnheader", name="Created")).to_have_attribute("aria-sort", "descending")
    assert names(page) == ["gamma", "beta_db", "alpha_db"]
    page.get_by_label("Search by name").fill("a_db")
    expect(page.get_by_text("2 secrets")).to_be_visible()
    assert names(page) == ["beta_db", "alpha_db"]


def test_pages(page: Page, admin: Caller) -> None:
    """Lists of many are shown a page at a time; one gets to the next, the last and the first page, and past the end is no error."""
    for number in range(101):
        admin.create(f"s{number:03}", {"k": CANARY})
    page.goto("/secrets")
    expect(page.get_by_text("101 secrets, page 1 of 3")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    assert names(page)[0] == "s050"
    page.get_by_role("link", name="Last").click()
    assert names(page) == ["s100"]
    page.get_by_role("link", name="First").click()
    assert names(page)[0] == "s000"
    page.goto("/secrets?page=7")
    expect(page.get_by_text("past the end")).to_be_visible()
    page.get_by_role("link", name="Previous").click()
    assert names(page) == ["s100"]
    for odd in ("-1", "0", "x", "9" * 30, "²"):
        page.goto(f"/secrets?page={odd}")
        assert names(page)[0] == "s000"


def test_odd_addresses(page: Page) -> None:
    """An address that somebody made up is answered with what is wrong."""
    page.goto("/secrets?sort=sideways")
    expect(page.get_by_role("alert")).to_contain_text("secrets are sorted by")
    page.goto("/secrets/none")
    expect(page.get_by_role("alert")).to_contain_text("there is no secret")
    look_for_barriers(page)


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1100), ("light", 320), ("dark", 320)])
def test_all_sorts_of_screens(admin: Caller, sign_in: SignIn, scheme: str, width: int) -> None:
    """Light and dark, wide and narrow, nothing is in anybody's way, and no page is wider than its screen."""
    name = "a_long_name_" * 15
    secret = admin.create(name, {"key": CANARY, f"k{name}": CANARY}, labels={"team": "x" * 100}, description="word " * 100)
    page = sign_in(admin, color_scheme=scheme, viewport={"width": width, "height": 700})
    for path in ("", "?search=none", "/new", f"/{secret['id']}", f"/{secret['id']}/edit", f"/{secret['id']}/delete"):
        page.goto(f"/secrets{path}")
        look_for_barriers(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_a_slow_click_after_typing(page: Page, admin: Caller) -> None:
    """Leaving a field whose filter is at work makes no new list, which would take what is being clicked away under the mouse."""
    admin.create("s", {"k": CANARY})
    page.goto("/secrets")
    page.wait_for_load_state()
    page.get_by_label("Owner").fill("nobody")
    expect(page).to_have_url("/secrets?owner=nobody")
    link = page.get_by_role("link", name="Show all secrets")
    link.evaluate("(element) => { element.dataset.clicked = 'soon'; }")
    page.get_by_label("Owner").blur()
    page.wait_for_load_state("networkidle")
    expect(link).to_have_attribute("data-clicked", "soon")
    link.click()
    expect(page).to_have_url("/secrets")


def test_first_page_is_light(page: Page, collector: Collector, admin: Caller) -> None:
    """A first page with all that it needs takes less than 100 kB."""
    for number in range(50):
        admin.create(f"s{number}", {"username": CANARY, "password": CANARY}, labels={"team": "data"})
    page.goto("/secrets")
    expect(page.locator("tbody tr")).to_have_count(50)
    collector.expect(page, {"/secrets", "/static/htmx.min.js", "/static/style.css", "/static/script.js"})
    assert sum(collector.bytes.values()) < 100_000
