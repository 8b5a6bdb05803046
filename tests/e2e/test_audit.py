"""`strongroom audit`, on the embedded store."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from .conftest import CommandLine


def test_list_export_and_verify(strongroom: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are listed; with STRONGROOM_AUDIT=all reads too; the export has a line per event; the chain holds."""
    strongroom("secret", "create", "s", "--k=hunter22")
    strongroom("secret", "get", "s")
    monkeypatch.setenv("STRONGROOM_AUDIT", "all")
    strongroom("secret", "get", "s")
    found = strongroom("audit", "list", "--target", "s", "-o", "json").data
    assert [item["operation"] for item in found["items"]] == ["secret.get-by-name", "secret.create"]
    assert "secret.create" in strongroom("audit", "list").out
    assert strongroom("audit", "list", "--outcome", "forbidden", "-o", "json").data["items"] == []
    lines = strongroom("audit", "export", "--actor", "default").out.splitlines()
    assert [json.loads(line)["number"] for line in lines][:2] == [1, 2]
    moment = found["items"][0]["moment"]
    of_a_time = strongroom("audit", "list", "--since", moment, "--target", "s", "-o", "json").data
    assert [item["operation"] for item in of_a_time["items"]] == ["secret.get-by-name"]
    assert moment not in strongroom("audit", "export", "--until", moment).out
    assert "--since' takes a time" in strongroom("audit", "list", "--since", "yesterday").err
    report = strongroom("audit", "verify", "-o", "json").data
    assert report["valid"]
    assert strongroom("audit", "verify", "--expect", f"{report['events']}:{report['mark']}").code == 0
    assert "is whole" in strongroom("audit", "verify").err


def test_a_changed_trail_ends_with_1(strongroom: CommandLine, store: Path) -> None:
    """A removed event is told with its number, and the command fails."""
    for name in ("a", "b", "c"):
        strongroom("secret", "create", name, "--k=hunter22")
    with sqlite3.connect(store / "strongroom.db") as database:
        database.execute("DELETE FROM audit_events WHERE number = 2")
    database.close()
    outcome = strongroom("audit", "verify")
    assert outcome.code == 1
    assert "event 2 is missing" in outcome.err
    assert outcome.err.count("Error:") == 1
    assert strongroom("audit", "verify", "-o", "json").data["valid"] is False


@pytest.mark.parametrize("expect", ["", "5", "x:y", "-1:00", "999:00"])
def test_a_report_that_does_not_fit(strongroom: CommandLine, expect: str) -> None:
    """What is no report is wrong usage; one that the trail does not hold is a failure."""
    strongroom("secret", "create", "s", "--k=hunter22")
    assert strongroom("audit", "verify", "--expect", expect).code == (1 if expect == "999:00" else 2)
