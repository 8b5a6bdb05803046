"""Pages of secrets stores, their jobs, and the audit trail, on a server of their own with a backup store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
from playwright.sync_api import Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.fakes.folder_store import folder_variables, python_path
from tests.servers.strongroom import PASSWORD, StrongroomServer
from tests.ui.browser import Collector, arrive, look_for_barriers
from tests.ui.conftest import SignIn


@pytest.fixture
def operator(
    tmp_path: Path, local_settings: object, folder: Path, monkeypatch: pytest.MonkeyPatch, allow_values_in: Callable[[Path], Path]
) -> Iterator[Caller]:
    """The administrator of a server with three secrets; its backup store waits while there is a file `gate`."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    backup = folder_variables(allow_values_in(tmp_path / "backup"), "BACKUP_SECRETS_STORE", tmp_path / "gate")
    server = StrongroomServer({"CONFIG_PATH": str(folder), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD, **backup})
    try:
        with server.connections() as pool:
            caller = Caller(server, pool).log_in("root")
            for name in ("one", "two", "three"):
                caller.create(name, {"key": f"{CANARY}-{name}"})
            yield caller
    finally:
        (tmp_path / "gate").unlink(missing_ok=True)
        server.stop()


def test_a_job_is_followed_to_its_end(operator: Caller, sign_in: SignIn, tmp_path: Path, collector: Collector) -> None:
    """A job's page shows how far it is while it runs, and the report at its end, without being loaded again.

    A server that does not answer for a while is asked again.
    """
    page = sign_in(operator)
    gate = tmp_path / "gate"
    page.goto("/stores")
    expect(page.get_by_role("region", name="Backup")).to_contain_text("folder:backup")
    expect(page.get_by_role("region", name="Backup")).to_contain_text("answers")
    look_for_barriers(page)
    gate.touch()
    page.get_by_label("Read every value").check()
    page.get_by_role("button", name="Verify").click()
    arrive(page, "Verify")
    expect(page.get_by_role("progressbar")).to_be_visible()
    expect(page.locator("main").get_by_role("status")).to_contain_text("running")
    look_for_barriers(page)
    page.route("**/stores/jobs/*", lambda route: route.abort(), times=1)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.get_by_role("alert")).to_have_count(0)  # it asks again
    collector.found[:] = [each for each in collector.found if "htmx:" not in each and "ERR_FAILED" not in each]
    other = sign_in(operator)
    other.goto("/stores")
    other.get_by_role("button", name="Verify").click()
    expect(other.get_by_role("alert")).to_contain_text("is under way")
    gate.unlink()
    expect(page.locator("main").get_by_role("status")).to_have_text("done 3 of 3 secrets")
    expect(page.get_by_role("progressbar")).to_have_count(0)
    page.get_by_role("link", name="Secrets stores").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("verify")


def test_failures_are_named(operator: Caller, sign_in: SignIn, tmp_path: Path) -> None:
    """What a job could not do is listed with the name of the secret."""
    page = sign_in(operator)
    for path in (tmp_path / "backup").rglob("[!.]*"):
        if path.is_file() and f"{CANARY}-two" in path.read_text():
            path.write_text("{")
    page.goto("/stores")
    page.get_by_label("Read every value").check()
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("main").get_by_role("status")).to_contain_text("done")
    failure = page.get_by_role("region", name="Failures").get_by_role("row").nth(1)
    expect(failure.get_by_role("rowheader")).to_have_text("two")
    look_for_barriers(page)


def test_a_store_is_emptied_on_purpose_only(operator: Caller, sign_in: SignIn) -> None:
    """To empty a store takes a typed word; values are read from the other store then, and come back by a restore."""
    page = sign_in(operator)
    page.goto("/stores")
    form = page.locator("form[action='/stores/back-up']")
    expect(form.get_by_label("type the word")).to_be_hidden()
    form.get_by_label("Then empty the primary store").check()
    for word in ("primary", "empty"):
        form.get_by_label("type the word").fill(word)
        form.get_by_role("button", name="Back up").click()
        if word == "primary":
            expect(page.get_by_role("alert")).to_contain_text("nothing was begun")
            assert operator.call("GET", "/jobs").data["items"] == []
    arrive(page, "Backup")
    expect(page.locator("main").get_by_role("status")).to_have_text("done 3 of 3 secrets")
    page.goto("/stores")
    page.locator("form[action='/stores/restore']").get_by_role("button", name="Restore").click()
    expect(page.locator("main").get_by_role("status")).to_have_text("done 3 of 3 secrets")
    arrive(page, "Restore")


def test_the_audit_trail(operator: Caller, sign_in: SignIn, folder: Path) -> None:
    """Events are found by who, what, which and how it ended; a button follows the chain, and says when it was changed."""
    page = sign_in(operator)
    operator.call("GET", "/secrets/by-name/none")
    page.goto("/audit")
    page.get_by_label("Operation").fill("secret.create")
    page.get_by_label("Operation").press("Enter")
    expect(page.get_by_text("3 events", exact=True)).to_be_visible()
    page.get_by_label("Target").fill("two")
    page.get_by_label("Target").press("Enter")
    expect(page.get_by_text("1 event", exact=True)).to_be_visible()
    expect(page.get_by_role("row").nth(1)).to_contain_text("root")
    page.goto("/audit?outcome=not_found")
    expect(page.get_by_role("row").nth(1)).to_contain_text("secret.get-by-name")
    expect(page.get_by_role("row").nth(1)).to_contain_text("not found")
    page.goto(f"/audit?target={operator.call('GET', '/secrets').data['items'][0]['id'].upper()}")
    expect(page.get_by_text("1 event", exact=True)).to_be_visible()
    page.goto("/audit?operation=secret.create&until=2000-01-01T00:00")
    expect(page.get_by_text("No event fits.")).to_be_visible()
    page.get_by_label("Until").fill("")
    page.get_by_label("From").fill("2001-01-01T00:00")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("3 events", exact=True)).to_be_visible()
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.get_by_text("The audit trail is whole")).to_be_visible()
    look_for_barriers(page)
    (database,) = folder.glob("*.db")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE audit_events SET actor = 'mallory' WHERE number = 2")
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.get_by_role("alert")).to_contain_text("The audit trail was changed")
    expect(page.get_by_role("alert")).to_contain_text("Event 2:")
    look_for_barriers(page)


def test_pages_of_the_audit_trail(page: Page, admin: Caller) -> None:
    """A long trail has pages, and a filter stays when one turns them."""
    for _ in range(51):
        admin.call("GET", "/me")
    page.goto("/audit?operation=user.who-am-i")
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text(", page 2 of")).to_be_visible()
    expect(page.get_by_label("Operation")).to_have_value("user.who-am-i")
