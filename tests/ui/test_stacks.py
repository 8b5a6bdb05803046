"""Pages of stacks and components."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
from playwright.sync_api import Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.ui.browser import arrive
from tests.ui.conftest import SignIn
from tests.ui.furniture import PLAIN, component, done


@pytest.fixture
def stack(admin: Caller) -> str:
    """A stack whose references lead to all that they may lead to."""
    admin.create("tracker", {"username": f"{CANARY}-u"})
    attributes = {
        "tracking_username": "{{tracker.username}}",
        "tracking_password": "{{tracker.passwort}}",
        "tracking_token": "{{trakcer.token}}",
    }
    done(admin.call("POST", "/components", component("tracker", **attributes)))
    done(admin.call("POST", "/components", component("plain", tracking_password=PLAIN)))
    parts = {"orchestrator": "default", "artifact_store": "default", "experiment_tracker": "tracker"}
    done(admin.call("POST", "/stacks", {"name": "production", "components": parts}))
    return "production"


def test_choose_a_stack(page: Page, stack: str) -> None:
    """The list marks one's active stack; another one is chosen by a button, there and on its page."""
    page.goto("/stacks")
    rows = page.get_by_role("row")
    expect(rows.filter(has_text="your active stack")).to_contain_text("default")
    page.get_by_role("button", name="Use production").click()
    expect(page.get_by_role("row").filter(has_text="your active stack")).to_contain_text("production")
    page.get_by_role("table").get_by_role("link", name="default", exact=True).click()
    page.get_by_role("button", name="Make it my active stack").click()
    expect(page).to_have_url("/stacks")
    expect(page.get_by_role("row").filter(has_text="your active stack")).to_contain_text("artifact store default")


def test_what_references_lead_to(page: Page, stack: str) -> None:
    """A stack's page says of each reference whether it resolves, suggests names, and links to the secret."""
    page.goto(f"/stacks/{stack}")
    expect(page.get_by_text("2 of 3 do not resolve")).to_be_visible()

    def row(attribute: str) -> str:
        return page.get_by_role("row").filter(has_text=attribute).inner_text()

    assert "{{tracker.username}}" in row("tracking_username")
    assert "resolves" in row("tracking_username")
    assert "no such key" in row("tracking_password")
    assert "no such secret" in row("tracking_token")
    assert "Did you mean tracker?" in row("tracking_token")
    assert "tracker" not in row("tracking_uri")
    page.get_by_role("row").filter(has_text="tracking_username").get_by_role("link").click()
    arrive(page, "tracker")
    expect(page).to_have_url(re.compile(r"/secrets/[0-9a-f-]{36}$"))


def test_who_may_not_read(person: Callable[..., Caller], stack: str, sign_in: SignIn) -> None:
    """Whoever may not read values is told so, and sees no way to change anything."""
    viewer = sign_in(person("viewer"))
    viewer.goto(f"/stacks/{stack}")
    expect(viewer.get_by_role("row").filter(has_text="tracking_username")).to_contain_text("there, but you may not read it")
    expect(viewer.get_by_text("3 of 3 do not resolve")).to_be_visible()
    viewer.goto("/components/experiment_tracker/plain")
    expect(viewer.get_by_text("Delete")).to_have_count(0)


def test_approve_what_others_wrote(page: Page, admin: Caller, person: Callable[..., Caller], sign_in: SignIn, stack: str) -> None:
    """A stack's page shows what waits for the user, what it takes and what changed, and approves what was shown by a button."""
    store = {"name": "bucket", "type": "artifact_store", "flavor": "s3", "configuration": {"path": "s3://team/a"}}
    made = done(admin.call("POST", "/components", store))
    parts = {"orchestrator": "default", "artifact_store": "bucket"}
    done(admin.call("POST", "/stacks", {"name": "shared", "components": parts}))
    page.goto("/stacks/shared")
    expect(page.get_by_text("Waiting for")).to_have_count(0)
    member = person("reader")
    theirs = sign_in(member)
    theirs.goto("/stacks/shared")
    waiting = theirs.get_by_role("region", name="Waiting for your approval")
    expect(waiting).to_contain_text("artifact store 'bucket'")
    expect(waiting).to_contain_text("s3://team/a")
    expect(waiting).to_contain_text("Nothing of it was approved before.")
    assert member.call("GET", "/stacks/by-name/shared/use").status == 403
    done(admin.call("PATCH", f"/components/{made['id']}", {"configuration": {"path": "s3://other/<b>"}}))
    theirs.get_by_role("button", name="Approve").click()
    expect(theirs.get_by_role("alert")).to_contain_text("was changed since")
    theirs.goto("/stacks/shared")
    expect(waiting).to_contain_text("s3://other/<b>")
    theirs.get_by_role("button", name="Approve").click()
    expect(waiting).to_have_count(0)
    expect(theirs).to_have_url("/stacks/shared")
    assert member.call("GET", "/stacks/by-name/shared/use").status == 200
    done(admin.call("PATCH", f"/components/{made['id']}", {"configuration": {"path": "s3://third/a"}}))
    theirs.goto("/stacks/shared")
    expect(waiting).to_contain_text("path: s3://other/<b> → s3://third/a")
    viewer = sign_in(person("viewer"))
    viewer.goto("/stacks/shared")
    expect(viewer.get_by_role("button", name="Approve")).to_have_count(0)


def test_approve_for_a_service_account(page: Page, admin: Caller, person: Callable[..., Caller]) -> None:
    """An administrator of the workspace looks at a stack for a service account, and approves for it."""
    name = f"ci-{admin.workspace}"
    done(admin.call("POST", "/service-accounts", {"name": name, "role": "reader"}))
    author = person("editor")
    store = {"name": "bucket", "type": "artifact_store", "flavor": "s3", "configuration": {"path": "s3://team/a"}}
    done(author.call("POST", "/components", store))
    done(author.call("POST", "/stacks", {"name": "shared", "components": {"orchestrator": "default", "artifact_store": "bucket"}}))
    page.goto("/stacks/shared")
    page.get_by_label("What it takes of a service account").fill(name)
    page.get_by_role("button", name="Look").click()
    waiting = page.get_by_role("region", name=f"Waiting for the approval of {name}")
    expect(waiting).to_contain_text("s3://team/a")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text(f"Nothing waits for the approval of {name}.")).to_be_visible()


def test_approve_a_service_connector(admin: Caller, person: Callable[..., Caller], sign_in: SignIn) -> None:
    """A connector's page shows what waits, and approves it."""
    attributes = {"auth_method": "jwt", "vault_addr": "https://v", "role": "r", "jwt_path": "/a/file"}
    connector = {"name": "v", "type": "service_connector", "flavor": "vault", "configuration": attributes}
    done(admin.call("POST", "/components", connector))
    theirs = sign_in(person("reader"))
    theirs.goto("/components/service_connector/v")
    waiting = theirs.get_by_role("region", name="Waiting for your approval")
    expect(waiting).to_contain_text("the file /a/file (jwt_path)")
    theirs.get_by_role("button", name="Approve").click()
    expect(waiting).to_have_count(0)


def test_find_and_delete_a_component(page: Page, admin: Caller, stack: str) -> None:
    """Components are found by type and name; what is sensitive is masked; what is part of a stack stays."""
    page.goto("/components")
    page.get_by_label("Type").select_option("experiment tracker")
    expect(page.get_by_text("2 components")).to_be_visible()
    expect(page).to_have_url(re.compile("type=experiment_tracker"))
    page.get_by_label("Search by name").press_sequentially("pla")
    expect(page.get_by_text("1 component", exact=True)).to_be_visible()
    page.get_by_role("link", name="plain").click()
    expect(page.get_by_role("row").filter(has_text="tracking_password")).to_contain_text("masked")
    assert PLAIN not in page.content()
    page.get_by_text("Delete this component").click()
    page.get_by_role("button", name="Delete plain").click()
    expect(page).to_have_url("/components?type=experiment_tracker")
    expect(page.get_by_text("1 component", exact=True)).to_be_visible()
    page.get_by_role("link", name="tracker", exact=True).click()
    page.get_by_text("Delete this component").click()
    page.get_by_role("button", name="Delete tracker").click()
    expect(page.get_by_role("alert")).to_contain_text("is part of the stack 'production'")
    assert admin.call("GET", "/components/experiment_tracker/tracker").status == 200


def test_a_service_connector_of_a_stack(page: Page, admin: Caller) -> None:
    """A stack shows the service connectors that its components name, with what their references lead to."""
    admin.create("cloud", {"id": f"{CANARY}-i", "key": f"{CANARY}-k"})
    login = {"auth_method": "secret-key", "aws_access_key_id": "{{cloud.id}}", "aws_secret_access_key": "{{cloud.key}}"}
    login["region"] = "eu-central-1"
    done(admin.call("POST", "/components", {"name": "s3", "type": "service_connector", "flavor": "aws", "configuration": login}))
    bucket = {"path": "s3://bucket/x", "connector": "s3"}
    done(admin.call("POST", "/components", {"name": "bucket", "type": "artifact_store", "flavor": "s3", "configuration": bucket}))
    done(admin.call("POST", "/stacks", {"name": "cloud", "components": {"orchestrator": "default", "artifact_store": "bucket"}}))
    page.goto("/stacks/cloud")
    expect(page.get_by_text("all 2 resolve")).to_be_visible()
    page.get_by_role("link", name="s3", exact=True).click()
    arrive(page, "s3")
    expect(page.get_by_text("service connector", exact=True)).to_be_visible()
