"""The pages of one secret: what they show, and what is done there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from playwright.sync_api import Locator, Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.ui.browser import look_for_barriers
from tests.ui.conftest import SignIn

PEM = f"{CANARY}\n  second line\n\nfourth line\n"


def values_of(caller: Caller, secret_id: str) -> dict[str, str]:
    """What the API gives."""
    values: dict[str, str] = caller.call("GET", f"/secrets/{secret_id}").data["values"]
    return values


def id_of(caller: Caller, name: str) -> str:
    """The id of a secret of this name."""
    found: str = caller.call("GET", f"/secrets/by-name/{name}/metadata").data["id"]
    return found


def fill_row(page: Page, number: int, key: str, value: str) -> None:
    """Types into a row of a form."""
    row = page.locator("#rows .entry").nth(number)
    row.get_by_label("Key", exact=True).fill(key)
    row.locator("textarea").fill(value)


def test_create(page: Page, admin: Caller) -> None:
    """What is typed becomes a secret, values of several lines too; they are masked while they are typed, unless asked for."""
    page.goto("/secrets")
    page.get_by_role("link", name="Create the first one").click()
    page.get_by_label("Name", exact=True).fill("database")
    fill_row(page, 0, "user", f"{CANARY} reader")
    page.get_by_role("button", name="Add a key").click()
    expect(page.locator("#rows .entry").nth(1).get_by_label("Key", exact=True)).to_be_focused()
    fill_row(page, 1, "pem", PEM)
    area = page.locator("#rows .entry").nth(1).locator("textarea")
    expect(area).to_have_css("-webkit-text-security", "disc")
    page.locator("#rows .entry").nth(1).get_by_label("Show value").check()
    expect(area).to_have_css("-webkit-text-security", "none")
    page.get_by_role("button", name="Add a key").click()
    fill_row(page, 2, "spare", f"{CANARY} spare")
    page.locator("#rows .entry").nth(2).get_by_role("button", name="Remove").click()
    page.get_by_label("Description").fill("Read-only.\nAsk the data team.")
    page.get_by_label("Labels").fill("team=data\nstage = live")
    page.get_by_label("Expires").fill("2031-02-03T04:05")
    look_for_barriers(page)
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("database")
    look_for_barriers(page)
    found = admin.call("GET", f"/secrets/{id_of(admin, 'database')}").data
    assert found["values"] == {"user": f"{CANARY} reader", "pem": PEM}
    assert found["labels"] == {"team": "data", "stage": "live"}
    assert found["description"] == "Read-only.\nAsk the data team."
    assert found["expires_at"] == "2031-02-03T04:05:00Z"


def test_errors_stay_beside_the_form(page: Page, admin: Caller) -> None:
    """A mistake is named above the form, and nothing typed is lost; mended, the same form does it."""
    admin.create("taken", {"k": CANARY})
    page.goto("/secrets/new")
    page.get_by_label("Name", exact=True).fill("taken")
    fill_row(page, 0, "key", f"{CANARY} typed")
    page.get_by_label("Labels").fill("no label")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("alert")).to_contain_text("key=value")
    look_for_barriers(page)
    page.get_by_label("Labels").fill("")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("alert")).to_contain_text("already exists")
    page.get_by_label("Name", exact=True).fill("free")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("free")
    assert values_of(admin, id_of(admin, "free")) == {"key": f"{CANARY} typed"}


@pytest.mark.parametrize("kind", ["env", "json"])
def test_paste(page: Page, admin: Caller, kind: str) -> None:
    """A pasted .env file or JSON object becomes keys and values; the page says which keys it found, and what is wrong with it."""
    text = {"env": f"# access\nexport A='{CANARY} a'\nB=\n", "json": f'{{"A": "{CANARY} a", "B": ""}}'}[kind]
    page.goto("/secrets/new")
    page.get_by_label("Name", exact=True).fill("pasted")
    page.get_by_text("Paste a .env file or JSON").click()
    field = page.get_by_label("Lines of KEY=VALUE")
    field.fill(f'{{"A": ["{CANARY}"' if kind == "json" else f"A B C {CANARY}")
    expect(page.locator("#pasted .bad")).to_be_visible()
    field.fill(text)
    expect(page.locator("#pasted")).to_have_text("2 keys: A, B")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("pasted")
    assert values_of(admin, id_of(admin, "pasted")) == {"A": f"{CANARY} a", "B": ""}


def test_file_as_value(page: Page, admin: Caller) -> None:
    """A file becomes a value to the last byte, also where its lines end as on Windows; one that is no UTF-8 text is refused."""
    page.goto("/secrets/new")
    page.get_by_label("Name", exact=True).fill("files")
    chooser = page.locator("#rows .entry").nth(0).locator("input[type=file]")
    chooser.set_input_files({"name": "binary", "mimeType": "", "buffer": b"\xff\xfe\x00"})
    expect(page.get_by_role("alert")).to_contain_text("not UTF-8 text")
    text = f"{CANARY}\r\nwindows\r\nmac\runix\n"
    chooser.set_input_files({"name": "key file.pem", "mimeType": "", "buffer": text.encode()})
    expect(page.get_by_role("status")).to_contain_text("Read key file.pem")
    expect(page.locator("#rows .entry").nth(0).get_by_label("Key", exact=True)).to_have_value("key_file.pem")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("files")
    assert values_of(admin, id_of(admin, "files")) == {"key_file.pem": text}


def test_a_file_that_is_edited_is_text(page: Page, admin: Caller) -> None:
    """What is typed over the content of a file counts."""
    page.goto("/secrets/new")
    page.get_by_label("Name", exact=True).fill("typed")
    row = page.locator("#rows .entry").nth(0)
    row.locator("input[type=file]").set_input_files({"name": "f", "mimeType": "", "buffer": f"{CANARY}\r\n".encode()})
    expect(page.get_by_role("status")).to_contain_text("Read f")
    row.locator("textarea").fill(f"{CANARY} typed")
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("typed")
    assert values_of(admin, id_of(admin, "typed")) == {"f": f"{CANARY} typed"}


def test_reveal_and_hide(page: Page, admin: Caller) -> None:
    """One value is shown when it is asked for, alone; it is hidden at once by Hide, and after 30 seconds by itself."""
    secret = admin.create("s", {"first": f"{CANARY} <b>one</b>\n two", "second": f"{CANARY} two"})
    page.clock.install()
    page.goto(f"/secrets/{secret['id']}")
    page.get_by_role("button", name="Reveal the value of first").click()
    value = page.locator(".value")
    expect(value).to_have_text(f"{CANARY} <b>one</b>\n two", use_inner_text=True)
    expect(page.get_by_role("button", name="Reveal the value of first")).to_be_hidden()
    expect(page.get_by_role("button", name="Hide the value of first")).to_be_focused()
    look_for_barriers(page)
    page.keyboard.press("Enter")
    expect(value).to_have_count(0)
    expect(page.get_by_role("button", name="Reveal the value of first")).to_be_focused()
    page.get_by_role("button", name="Reveal the value of second").click()
    expect(value).to_have_text(f"{CANARY} two")
    page.clock.fast_forward(29_000)
    expect(value).to_have_count(1)
    page.clock.fast_forward(2_000)
    expect(value).to_have_count(0)


def test_copy(admin: Caller, sign_in: SignIn) -> None:
    """A value gets into the clipboard without being shown."""
    secret = admin.create("s", {"key": f"{CANARY}\n copied "})
    page = sign_in(admin, permissions=["clipboard-read", "clipboard-write"])
    page.goto(f"/secrets/{secret['id']}")
    page.get_by_role("button", name="Copy the value of key").click()
    expect(page.get_by_role("status")).to_contain_text("Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == f"{CANARY}\n copied "
    assert CANARY not in page.content()


def test_edit(page: Page, admin: Caller) -> None:
    """Values that are there never come to the page; what is left empty stays, what is ticked goes, what is typed is new."""
    secret = admin.create(
        "old_name", {"keep": f"{CANARY} keep", "change": f"{CANARY} old", "drop": f"{CANARY} drop"}, labels={"a": "b"}
    )
    page.goto(f"/secrets/{secret['id']}")
    page.get_by_role("link", name="Edit").click()
    expect(page.get_by_label("new value of keep", exact=True)).to_have_value("")
    look_for_barriers(page)
    page.get_by_label("new value of change", exact=True).fill(f"{CANARY} new")
    page.get_by_label("Remove the key drop").check()
    page.get_by_label("Name", exact=True).fill("new_name")
    page.get_by_label("user: you alone").check()
    page.get_by_role("button", name="Add a key").click()
    fill_row(page, 0, "more", PEM)
    page.get_by_text("Paste a .env file or JSON").click()
    page.get_by_label("Lines of KEY=VALUE").fill("blank=")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("new_name")
    found = admin.call("GET", f"/secrets/{secret['id']}").data
    assert found["values"] == {"keep": f"{CANARY} keep", "change": f"{CANARY} new", "blank": "", "more": PEM}
    assert (found["name"], found["scope"], found["labels"], found["version"]) == ("new_name", "user", {"a": "b"}, 2)


def test_somebody_else_was_faster(page: Page, admin: Caller, person: Callable[[str], Caller]) -> None:
    """Who saves on top of a version that they have not seen is told which keys differ; nothing typed and nobody's work is lost."""
    secret = admin.create("s", {"mine": f"{CANARY} 1", "theirs": f"{CANARY} 1", "gone": f"{CANARY} 1"})
    page.goto(f"/secrets/{secret['id']}/edit")
    other = person("editor")
    theirs = {"values": {"theirs": f"{CANARY} 2", "gone": None}, "description": "theirs"}
    assert other.call("PATCH", f"/secrets/{secret['id']}", theirs).status == 200
    page.get_by_label("new value of mine", exact=True).fill(f"{CANARY} 2")
    page.get_by_role("button", name="Save").click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Somebody else was faster: version 2")
    expect(alert).to_contain_text("gone was removed, theirs was changed")
    look_for_barriers(page)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("s")
    found = admin.call("GET", f"/secrets/{secret['id']}").data
    assert found["values"] == {"mine": f"{CANARY} 2", "theirs": f"{CANARY} 2"}
    assert found["description"] == "theirs"


def test_versions_and_roll_back(page: Page, admin: Caller) -> None:
    """Versions show what became of the keys; rolling back asks, and does it when that is wanted."""
    secret = admin.create("s", {"a": f"{CANARY} 1"})
    path = f"/secrets/{secret['id']}"
    admin.call("PATCH", path, {"values": {"b": f"{CANARY} 1"}})
    admin.call("PATCH", path, {"values": {"a": None, "b": f"{CANARY} 2"}})
    page.goto(path)
    row = page.get_by_role("row", name="Roll back to version 1")
    expect(page.get_by_role("row", name="3 current")).to_contain_text("removed: a")
    expect(page.get_by_role("row", name="Roll back to version 2")).to_contain_text("+ b")
    expect(row).to_contain_text("sql: present")
    row.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Make version 1 the current one?")
    look_for_barriers(page)
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert admin.call("GET", path).data["version"] == 3
    row.get_by_role("button").click()
    dialog.get_by_role("button", name="Yes").click()
    expect(page.get_by_role("row", name="1 current")).to_be_visible()
    assert values_of(admin, secret["id"]) == {"a": f"{CANARY} 1"}


def test_delete(page: Page, admin: Caller) -> None:
    """A secret goes when its name was typed, and not before."""
    secret = admin.create("precious", {"k": CANARY})
    page.goto(f"/secrets/{secret['id']}")
    page.get_by_role("link", name="Delete").click()
    look_for_barriers(page)
    page.get_by_label("Type its name").fill("preciou")
    page.get_by_role("button", name="Delete the secret").click()
    expect(page.get_by_role("alert")).to_contain_text("not the name")
    page.get_by_label("Type its name").fill("precious")
    page.get_by_role("button", name="Delete the secret").click()
    expect(page).to_have_url("/secrets")
    assert admin.call("GET", f"/secrets/{secret['id']}").status == 404


def test_usage(page: Page, admin: Caller) -> None:
    """The page of a secret says which runs read it: the latest there, all of them on pages of their own."""
    secret = admin.create("s", {"k": CANARY})
    page.goto(f"/secrets/{secret['id']}")
    expect(page.get_by_text("No run of a pipeline has read this secret.")).to_be_visible()
    name = f"training-of-{admin.workspace}"
    plan = {"name": name, "pipeline": "training", "stack": "default", "steps": [{"name": f"step{number}"} for number in range(12)]}
    run = admin.call("POST", "/runs", plan).data
    reads = [{"secret_id": secret["id"], "secret": "s", "version": 1, "key": "k", "step": f"step{number}"} for number in range(12)]
    assert admin.call("POST", f"/runs/{run['id']}/reads", {"reads": reads}).status == 204
    page.reload()
    region = page.get_by_role("region", name="Usage")
    expect(region.locator("tbody tr")).to_have_count(10)
    expect(region.get_by_role("link", name=name).first).to_have_attribute("href", f"/runs/{name}")
    page.get_by_role("link", name="All 12 reads by runs").click()
    expect(page.get_by_role("region", name="Usage").locator("tbody tr")).to_have_count(12)
    look_for_barriers(page)


def test_keyboard_alone(page: Page, admin: Caller) -> None:
    """A secret is created, revealed and hidden again without a mouse."""
    page.goto("/secrets/new")
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("typed")
    press_until(page, "Tab", page.get_by_label("Key", exact=True))
    page.keyboard.type("key")
    page.keyboard.press("Tab")
    page.keyboard.type(f"{CANARY} typed")
    press_until(page, "Tab", page.get_by_role("button", name="Create the secret"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("typed")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    press_until(page, "Tab", page.get_by_role("button", name="Reveal the value of key"))
    page.keyboard.press("Enter")
    expect(page.locator(".value")).to_have_text(f"{CANARY} typed")
    page.keyboard.press("Enter")
    expect(page.locator(".value")).to_have_count(0)


def press_until(page: Page, key: str, wanted: Locator) -> None:
    """Presses a key until something has the focus; what has it is to be seen."""
    for _ in range(30):
        page.keyboard.press(key)
        if wanted.evaluate("(element) => element === document.activeElement"):
            assert wanted.evaluate("(element) => getComputedStyle(element).outlineStyle") == "solid"
            return
    raise AssertionError("it cannot be reached")


def test_without_scripts(admin: Caller, sign_in: SignIn) -> None:
    """Without a script one reads, reveals, creates and searches; a mistake keeps all that was typed but the values."""
    secret = admin.create("s", {"key": f"{CANARY} shown"})
    page = sign_in(admin, java_script_enabled=False)
    page.goto("/secrets?search=s")
    page.get_by_role("link", name="s", exact=True).click()
    page.get_by_role("button", name="Reveal the value of key").click()
    expect(page.locator(".value")).to_have_text(f"{CANARY} shown")
    page.goto("/secrets/new")
    expect(page.locator("#rows .entry")).to_have_count(5)
    page.get_by_label("Name", exact=True).fill("s")
    fill_row(page, 0, "k", PEM)
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("alert")).to_contain_text("already exists")
    expect(page.get_by_label("Name", exact=True)).to_have_value("s")
    expect(page.locator("#rows [name=key]").nth(0)).to_have_value("k")
    page.get_by_label("Name", exact=True).fill("other")
    page.locator("#rows textarea").nth(0).fill(PEM)
    page.get_by_role("button", name="Create the secret").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("other")
    assert values_of(admin, id_of(admin, "other")) == {"k": PEM}
    page.goto(f"/secrets/{secret['id']}/edit")
    page.get_by_label("new value of key", exact=True).fill(f"{CANARY} edited")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("s")
    assert values_of(admin, secret["id"]) == {"key": f"{CANARY} edited"}
