"""Alerts and the dashboard ask for what a server measures. (Prometheus and Grafana are not here: no query is run.)"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from strongroom.operations.all import ALL_OPERATIONS
from tests.callers import Caller
from tests.canary import CANARY
from tests.deploy.chart import ROOT
from tests.fakes.folder_store import folder_variables, python_path
from tests.servers.strongroom import PASSWORD, StrongroomServer

FOLDER = ROOT / "deploy" / "monitoring"
PAGES = {"healthz", "readyz", "metrics", "openapi", "docs"}
"""What is measured and is no operation of the API."""


def queries() -> dict[str, str]:
    """All of them, by the name of the alert or panel."""
    found = {}
    for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]:
        found |= {rule["alert"]: rule["expr"] for rule in group["rules"]}
    for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"]:
        found |= {f"{panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    return found


def test_what_is_asked_for_is_measured(
    sqlite_template: Path, monkeypatch: pytest.MonkeyPatch, allow_values_in: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Each name and label of a query is one that a real server with two stores shows, once it has been used."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    stores = folder_variables(allow_values_in(tmp_path / "values"), "BACKUP_SECRETS_STORE") | {"SECRETS_STORE_TYPE": "sql"}
    variables = {"CONFIG_PATH": str(tmp_path / "state"), "ADMIN_USERNAME": "default", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables | stores)
    try:
        with server.connections() as pool:
            nobody = Caller(server, pool)
            assert nobody.call("POST", "/login", {"username": "default", "password": "wrong"}).status == 401
            admin = nobody.log_in("default")
            admin.create("s", {"k": CANARY})
            counted = (b"strongroom_store_behind{", b'strongroom_requests_total{operation="user.login",status="401"}')
            while not all(each in (body := admin.call("GET", "/metrics", root="").body) for each in counted):
                assert server.process.poll() is None
    finally:
        server.stop()
    measured: dict[str, set[str]] = {"up": {"job", "instance"}}
    for name, labels in re.findall(r"^(\w+)(?:{(.*?)})? ", body.decode(), re.MULTILINE):
        measured.setdefault(name, set()).update({"job", "instance", *re.findall(r'(\w+)="', labels)})
    asked = set()
    for what, query in queries().items():
        for name, labels in re.findall(r"\b(up|strongroom_\w+)\b({[^}]*})?", query):
            assert name in measured, f"{what}: {name}"
            assert set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', labels)) <= measured[name], what
            asked.add(name)
        for labels in re.findall(r"\bby \(([^)]*)\)", query):
            known = set.union(*(measured[name] for name in re.findall(r"\b(?:up|strongroom_\w+)\b", query)))
            assert {label.strip() for label in labels.split(",")} <= known | {"le"}, what
    ours = {name for name in measured if name.startswith("strongroom_") and not name.endswith(("_sum", "_count", "_created"))}
    assert asked >= ours, "a measurement that nothing shows"


def test_operations_of_queries_are_there() -> None:
    """An operation that a query names exists, so a renamed one does not silence an alert."""
    known = {row.name for row in ALL_OPERATIONS} | PAGES
    for what, query in queries().items():
        for pattern in re.findall(r'operation\s*(?:=~|!~|!=|=)\s*"([^"]*)"', query):
            for each in pattern.split("|"):
                assert any(re.fullmatch(each, name) for name in known), f"{what}: {each}"


def test_every_alert_says_what_to_do() -> None:
    """A summary, a description, how urgent it is and how long it has to last; queries are balanced."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[mh]", rule["for"])
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["description"].endswith(".")
    for what, query in queries().items():
        for pair in ("()", "{}", "[]"):
            assert query.count(pair[0]) == query.count(pair[1]), what


def test_the_dashboard_is_whole() -> None:
    """Panels do not overlap, have ids of their own, and ask the data source that the reader chose."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "job"}
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
