"""Pages of runs."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")
from playwright.sync_api import Page, expect

from tests.callers import Caller
from tests.canary import CANARY
from tests.ui.browser import arrive
from tests.ui.furniture import HOSTILE, done, record_run
from tests.ui.visitor import Visitor


def test_find_a_run(page: Page, admin: Caller) -> None:
    """Runs are listed, newest first, and filtered by pipeline and status."""
    secret = admin.create("tracker", {"username": f"{CANARY}-u"})
    record_run(admin, "training-1", secret["id"])
    done(admin.call("POST", "/runs", {"pipeline": "evaluation", "stack": "default", "name": "evaluation-1"}))
    page.goto("/runs")
    expect(page.get_by_text("2 runs")).to_be_visible()
    expect(page.get_by_role("row").nth(1)).to_contain_text("evaluation-1")
    page.get_by_label("Status").select_option("failed")
    expect(page.get_by_text("1 run", exact=True)).to_be_visible()
    page.get_by_role("link", name="training-1").click()
    arrive(page, "training-1")
    page.goto("/runs?pipeline=evaluation")
    expect(page.get_by_role("row").nth(1)).to_contain_text("running")
    page.goto("/runs?pipeline=none")
    expect(page.get_by_text("No run fits.")).to_be_visible()


def test_a_record_with_very_much_in_it(admin: Caller) -> None:
    """However much was recorded, however deep, the page stays small enough to look at."""
    nested: Any = "the end"
    for _ in range(500):
        nested = [nested]
    parameters = {"deep": nested, "long": "x" * 500_000, "many": list(range(50_000))}
    done(admin.call("POST", "/runs", {"pipeline": "p", "stack": "default", "name": "large", "parameters": parameters}))
    answer = Visitor(admin).get("/runs/large")
    assert answer.status == 200
    assert len(answer.body) < 200_000
    assert "which the command line shows" in answer.body.decode()
    assert answer.body.count(b"many[") == 298


def test_what_a_run_did(page: Page, admin: Caller) -> None:
    """A run shows its steps, their status, parameters and errors, and which key of which version of a secret each has read."""
    secret = admin.create("tracker", {"username": f"{CANARY}-u"})
    page.goto(f"/runs/{record_run(admin, 'training-1', secret['id'])}")
    expect(page.get_by_label("Error of the run")).to_have_text(f"step 'train' failed: {HOSTILE}")
    train = page.get_by_role("region", name="train", exact=True)
    expect(train.get_by_label("Error of train")).to_contain_text("ValueError")
    expect(train).to_contain_text("{{tracker.password}}")
    expect(train).to_contain_text("load.output")
    read = train.get_by_role("region", name="Read by train").get_by_role("row").nth(1)
    expect(read).to_contain_text("username")
    expect(read.get_by_role("cell").nth(1)).to_have_text("1")
    load = page.get_by_role("region", name="load", exact=True)
    expect(load).to_contain_text("completed")
    expect(load).to_contain_text("12,345")
    expect(page.get_by_role("region", name="Parameters of the run")).to_contain_text("deep.list[0]")
    read.get_by_role("link").click()
    expect(page).to_have_url(f"/secrets/{secret['id']}")
