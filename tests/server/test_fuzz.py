"""Requests as the OpenAPI document describes them, and as it does not."""

from __future__ import annotations

import json
import random
import string
from typing import Any
from urllib.parse import quote, urlencode

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from strongroom.operations.all import ALL_OPERATIONS
from strongroom.server.encoding import to_json
from strongroom.server.openapi import describe_api
from tests.callers import Caller

MARK = f"mark-{random.getrandbits(48):x}"
"""Stands in for a value where it may be stored as metadata."""

DOCUMENT: Any = json.loads(to_json(describe_api(ALL_OPERATIONS)))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SPARED = {"user.login", "user.set-up", "user.change-password", "user.logout", "user.create", "user.update", "user.deactivate"}
"""They slow down or end what the other tests need."""

OPERATIONS = [(row.method, f"/api/v1{row.path}", row.name) for row in ALL_OPERATIONS if row.name not in SPARED]


@pytest.mark.parametrize(("method", "path", "name"), OPERATIONS, ids=[name for _, _, name in OPERATIONS])
def test_what_the_document_allows_is_answered(admin: Caller, method: str, path: str, name: str) -> None:
    """Any request that fits the document gets an answer that is no failure of the server, in JSON of the right shape."""

    @hypothesis.settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=SCHEMA[path][method].as_strategy())
    def ask(case: Any) -> None:
        query = [(key, value) for key, value in (case.query or {}).items() if key != "workspace"]
        filled = path.format(**{key: quote(str(value), safe="") for key, value in (case.path_parameters or {}).items()})
        given = {key: str(value) for key, value in (case.headers or {}).items()}
        given = {key: value for key, value in given.items() if value.isascii() and value.isprintable() and key != "Authorization"}
        body = case.body if isinstance(case.body, dict) else None
        target = filled + (f"?{urlencode(query, doseq=True)}" if query else "")
        answer = admin.call(method, target, body, root="", **given)
        assert answer.status < 500
        if answer.status >= 400:
            assert answer.error["message"]
        elif answer.status != 204:
            assert isinstance(answer.data, dict)

    ask()


SOUP = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20) | st.just(MARK),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_lowercase, max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "name", ["secret.create", "secret.update", "secret.replace", "secret.resolve", "component.create", "run.create"]
)
def test_what_it_does_not_allow_is_refused_and_not_repeated(admin: Caller, name: str) -> None:
    """Fields filled with anything: no failure of the server, and no error that repeats what was sent as a field's content."""
    row = next(row for row in ALL_OPERATIONS if row.name == name)
    made = admin.create("s", {"k": "v"})

    @hypothesis.settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(fields=st.fixed_dictionaries({}, optional={field: SOUP for field in row.request.__struct_fields__ if field != "id"}))
    def ask(fields: dict[str, Any]) -> None:
        answer = admin.call(row.method, row.path.format(id=made["id"]), fields)
        assert answer.status < 500
        if answer.status == 422 and MARK not in json.dumps(_names(fields)):
            assert MARK.encode() not in answer.body

    ask()


def _names(tree: Any) -> list[str]:
    """The names in nested data, and a name that was sent as such: those are repeated, so that one finds the mistake."""
    if isinstance(tree, dict):
        return [*tree, *(tree[key] for key in ("name", "pipeline", "stack") if isinstance(tree.get(key), str))] + [
            name for item in tree.values() for name in _names(item)
        ]
    return [name for item in tree for name in _names(item)] if isinstance(tree, list) else []


def test_random_paths(admin: Caller) -> None:
    """Paths of any bytes are answered."""
    choose = random.Random(7)
    pieces = ["secrets", "by-name", "..", "", "%00", "%2e%2e", "api", "v1", "users", "{id}", "%ff", "a" * 300, ";", "metadata"]
    for _ in range(200):
        path = "/".join(choose.choices(pieces, k=choose.randint(1, 6)))
        answer = admin.call(choose.choice(["GET", "POST", "PATCH", "DELETE", "PUT"]), f"/{path}")
        assert answer.status < 500
        if answer.status >= 400:
            assert answer.error["code"]
