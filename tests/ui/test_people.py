"""Pages of members, workspaces, service accounts, users and one's own account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
from playwright.sync_api import Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.servers.strongroom import PASSWORD
from tests.ui.browser import arrive, look_for_barriers
from tests.ui.conftest import SignIn

NEW = f"{CANARY}-new-password"


def user_of(admin: Caller, someone: Caller) -> str:
    name: str = someone.call("GET", "/me").data["name"]
    return name


def with_few_workspaces(admin: Caller, person: Callable[..., Caller]) -> Caller:
    """An administrator of the server who belongs to the administrator's workspace alone."""
    somebody = person("viewer")
    name = user_of(admin, somebody)
    user = admin.call("GET", f"/users/{name}").data
    assert admin.call("PATCH", f"/users/{user['id']}", {"admin": True}).status == 200  # which ends their session
    return replace(somebody, token=None).log_in(name)


def test_members(page: Page, admin: Caller, person: Callable[..., Caller]) -> None:
    """Administrators of a workspace add members, change their roles and take them out; the last administrator stays."""
    name = user_of(admin, person(None))
    page.goto("/members")
    page.get_by_label("User name").fill("nobody-of-this-name")
    page.get_by_label("reader").check()
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("there is no user 'nobody-of-this-name'")
    expect(page.get_by_label("User name")).to_have_value("nobody-of-this-name")
    page.get_by_label("User name").fill(name)
    page.get_by_role("button", name="Add").click()
    row = page.get_by_role("row").filter(has_text=name)
    expect(row.get_by_role("cell").nth(1)).to_have_text("reader")
    row.get_by_label(f"Role of {name}").select_option("editor")
    row.get_by_role("button", name="Change").click()
    expect(row.get_by_role("cell").nth(1)).to_have_text("editor")
    row.get_by_text(f"Remove {name}…").click()
    row.get_by_role("button", name=f"Take {name} out").click()
    expect(row).to_have_count(0)
    page.wait_for_load_state()
    mine = page.get_by_role("row").filter(has_text="you")
    mine.get_by_label("Role of default").select_option("viewer")
    mine.get_by_role("button", name="Change").click()
    expect(page.get_by_role("alert")).to_contain_text("is the last administrator")


def test_workspaces(admin: Caller, person: Callable[..., Caller], sign_in: SignIn) -> None:
    """Administrators of the server make workspaces and work there then; a button leads to each of the others."""
    page = sign_in(with_few_workspaces(admin, person))
    name = f"{admin.workspace}-new"
    page.goto("/workspaces")
    page.get_by_label("Name").fill("no blanks")
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_role("alert")).to_contain_text("the name of the workspace has")
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Make it").click()
    arrive(page, f"Members of {name}")
    expect(page.get_by_label("Workspace")).to_have_value(name)
    page.goto("/workspaces")
    page.get_by_role("button", name=f"Go to {admin.workspace}", exact=True).click()
    arrive(page, f"Members of {admin.workspace}")


def test_choosing_a_workspace(admin: Caller, person: Callable[[str], Caller], sign_in: SignIn) -> None:
    """Choosing another workspace in the frame leads there at once, without a button."""
    somebody = person("viewer")
    other = f"{admin.workspace}-other"
    assert admin.call("POST", "/workspaces", {"name": other}).status == 201
    assert admin.call("PUT", f"/workspaces/{other}/members/{user_of(admin, somebody)}", {"role": "viewer"}).status == 200
    page = sign_in(somebody)
    page.goto("/members")
    for workspace in (other, admin.workspace):
        page.wait_for_load_state()  # it is a script that goes there
        with page.expect_navigation(url="**/secrets"):
            page.get_by_label("Workspace").select_option(workspace)
        expect(page.get_by_label("Workspace")).to_have_value(workspace)


def test_more_workspaces_than_one_chooses_from(admin: Caller, person: Callable[..., Caller], sign_in: SignIn) -> None:
    """An administrator of the server finds their own workspaces first; the frame leads to the list of those it has no room for."""
    for number in range(100):
        assert admin.call("POST", "/workspaces", {"name": f"_{admin.workspace}-{number}"}).status == 201
    page = sign_in(with_few_workspaces(admin, person))
    page.goto("/secrets")
    assert page.get_by_label("Workspace").locator("option").first.inner_text() == admin.workspace
    page.get_by_role("link", name="All workspaces").click()
    arrive(page, "Workspaces")
    for width in (1100, 320):
        page.set_viewport_size({"width": width, "height": 700})
        look_for_barriers(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_service_accounts(page: Page, admin: Caller) -> None:
    """An API key is shown in the one answer that makes it, works, and ends at once when it is revoked."""
    name = f"ci-{admin.workspace}"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/members")
    page.get_by_role("link", name="Service accounts").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("reader").check()
    page.get_by_role("button", name="Make it").click()
    arrive(page, name)
    page.get_by_label("Name").fill("github")
    page.get_by_label("Expires").fill("2000-01-01")
    page.get_by_role("button", name="Make an API key").click()
    expect(page.get_by_role("alert")).to_contain_text("expires at a time to come")
    page.get_by_label("Expires").fill("2099-01-31")
    page.get_by_role("button", name="Make an API key").click()
    fresh = page.get_by_role("alert").filter(has_text="shown this once")
    key = fresh.locator("code").inner_text()
    fresh.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_contain_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == key
    machine = replace(admin, token=key)
    assert machine.call("GET", "/me").data["name"] == name
    expect(page.get_by_role("row").filter(has_text="github")).to_contain_text("2099-01-31")
    page.goto("/account")
    page.go_back()
    page.wait_for_load_state()
    assert key not in page.content()
    page.get_by_text("Revoke github…").click()
    page.get_by_role("button", name="End github now").click()
    expect(page.get_by_text("There is none.")).to_be_visible()
    page.wait_for_load_state()
    assert machine.call("GET", "/me").status == 401
    page.get_by_text("Delete this service account").click()
    page.get_by_label("to delete it").fill("another name")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("what you typed is not the name")
    page.get_by_label("to delete it").fill(name)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("There is none here yet.")).to_be_visible()


def test_an_api_key_without_scripts(admin: Caller, sign_in: SignIn) -> None:
    """Forms work as plain forms too: the key is on the page that answers, and on no other."""
    page = sign_in(admin, java_script_enabled=False)
    assert admin.call("POST", "/service-accounts", {"name": f"ci-{admin.workspace}", "role": "reader"}).status == 201
    page.goto(f"/service-accounts/ci-{admin.workspace}")
    page.get_by_label("Name").fill("bad name")
    page.get_by_role("button", name="Make an API key").click()
    expect(page.get_by_role("alert")).to_contain_text("the name of the API key")
    page.goto(f"/service-accounts/ci-{admin.workspace}")
    page.get_by_label("Name").fill("github")
    page.get_by_role("button", name="Make an API key").click()
    key = page.get_by_role("alert").locator("code").inner_text()
    assert replace(admin, token=key).call("GET", "/me").status == 200


def test_add_and_change_a_user(page: Page, admin: Caller) -> None:
    """Administrators of the server add users, give them the administration and other passwords, and deactivate them."""
    name = f"user-{admin.workspace}@example.com"
    page.goto("/users")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password, 8 characters or more").fill(PASSWORD)
    page.get_by_label("again").fill(f"{PASSWORD}x")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_contain_text("the two passwords differ")
    expect(page.get_by_label("User name")).to_have_value(name)
    page.get_by_label("again").fill(PASSWORD)
    page.get_by_role("button", name="Add").click()
    arrive(page, name)
    user = replace(admin, token=None).log_in(name)

    page.get_by_role("button", name="Make administrator of the server").click()
    expect(page.get_by_role("button", name="Take the administration away")).to_be_visible()
    page.wait_for_load_state()
    assert user.call("GET", "/me").status == 401, "the user's sessions end"
    assert user.log_in(name).call("GET", "/me").data["admin"]

    page.get_by_label("Password, 8 characters or more").fill(NEW)
    page.get_by_label("again").fill(NEW)
    page.get_by_role("button", name="Set the password").click()
    expect(page.locator("main").get_by_role("status")).to_contain_text("The password was changed")
    page.wait_for_load_state()
    user = user.log_in(name, NEW)

    page.get_by_text("Deactivate this user").click()
    page.get_by_label("to deactivate").fill("somebody")
    page.get_by_role("button", name="Deactivate").click()
    expect(page.get_by_role("alert")).to_contain_text("what you typed is not the name")
    page.get_by_label("to deactivate").fill(name)
    page.get_by_role("button", name="Deactivate").click()
    expect(page.locator(".tag.bad")).to_have_text("cannot log in")
    assert user.call("GET", "/me").status == 401
    page.goto("/users")
    page.get_by_label("Search by name").press_sequentially(name)
    expect(page.get_by_text("1 user", exact=True)).to_be_visible()


def test_one_s_own_account(person: Callable[..., Caller], sign_in: SignIn) -> None:
    """Everybody sees who they are, and changes their password: this session stays, the others end; a wrong one changes nothing."""
    caller = person("reader")
    name = user_of(caller, caller)
    another = caller.log_in(name)
    page = sign_in(caller)
    page.goto("/secrets")
    page.get_by_role("link", name=name).click()
    arrive(page, "Your account")
    expect(page.get_by_text("reader", exact=True)).to_be_visible()
    for current in (f"{CANARY}-wrong", PASSWORD):
        page.get_by_label("Current password").fill(current)
        page.get_by_label("Password, 8 characters or more").fill(NEW)
        page.get_by_label("again").fill(NEW)
        page.get_by_role("button", name="Change my password").click()
        if current != PASSWORD:
            expect(page.get_by_role("alert")).to_contain_text("the current password is wrong")
    expect(page.locator("main").get_by_role("status")).to_contain_text("Your password was changed")
    assert another.call("GET", "/me").status == 401
    assert caller.call("GET", "/me").status == 200
    assert caller.log_in(name, NEW)
