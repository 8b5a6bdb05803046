"""The OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import Any

from strongroom.operations.all import ALL_OPERATIONS
from strongroom.server.encoding import to_json
from strongroom.server.openapi import describe_api, page

DOCUMENT: Any = json.loads(to_json(describe_api(ALL_OPERATIONS)))


def test_every_operation_is_there() -> None:
    """Each row of the table is one operation of the document, by its own name."""
    described = {
        (method.upper(), path.removeprefix("/api/v1")): operation["operationId"]
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    }
    assert described == {(row.method, row.path): row.name for row in ALL_OPERATIONS}


def test_all_references_lead_somewhere() -> None:
    """Nothing refers to a schema that is not there, and no schema is there in vain."""
    used = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(DOCUMENT)))
    assert used == set(DOCUMENT["components"]["schemas"])


def test_parameters_and_bodies() -> None:
    """Fields are in the path, the query or the body; secrets are passwords to whoever reads the document."""
    update = DOCUMENT["paths"]["/api/v1/secrets/{id}"]["patch"]
    assert {(each["name"], each["in"]) for each in update["parameters"]} == {
        *(("id", "path"), ("workspace", "query"), ("If-Match", "header"), ("Idempotency-Key", "header"))
    }
    body = update["requestBody"]["content"]["application/json"]["schema"]
    assert "id" not in body["properties"]
    assert body["additionalProperties"] is False
    login = DOCUMENT["paths"]["/api/v1/login"]["post"]
    assert login["security"] == []
    form = login["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    assert form["properties"]["password"]["format"] == "password"
    create = DOCUMENT["paths"]["/api/v1/secrets"]["post"]
    assert set(create["responses"]) == {"201", "default"}
    assert set(DOCUMENT["paths"]["/api/v1/secrets/{id}"]["delete"]["responses"]) == {"204", "default"}


def test_the_page_loads_nothing() -> None:
    """It lists every operation and refers to nothing elsewhere."""
    html = page(ALL_OPERATIONS)
    assert all(row.path in html for row in ALL_OPERATIONS)
    assert not re.search(r"<script|<img|<link|https?://", html)
