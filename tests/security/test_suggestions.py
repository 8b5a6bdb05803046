"""Nobody holds up others by names that lead nowhere."""

from __future__ import annotations

import ast
from pathlib import Path

from strongroom.models import near
from tests.callers import Caller

SOURCE = Path(__file__).parents[2] / "src" / "strongroom"
OF_OPERATORS = {"config.py", "cli/command.py", "secrets_stores/opening.py", "models/near.py"}
"""Where names are compared that nobody but the operator, or the user at their own machine, can choose."""


def test_names_are_compared_in_one_place() -> None:
    """The bounded one; elsewhere `difflib` sees settings and command lines alone."""
    users = {str(file.relative_to(SOURCE)) for file in SOURCE.rglob("*.py") if "difflib" in ast.dump(ast.parse(file.read_text()))}
    assert users == OF_OPERATORS


def test_nothing_is_suggested_to_who_sends_much() -> None:
    """A long name is not compared at all."""
    assert near.near_names("a" * (near.MAX_LENGTH + 1), ["a" * near.MAX_LENGTH]) == []


def test_names_are_compared_off_the_event_loop(admin: Caller) -> None:
    """The answer suggests names all the same, for each kind of name, whoever asks."""
    name = f"suggested-{admin.workspace}"
    assert admin.call("POST", "/secrets", {"name": name, "values": {"k": "v"}}).status == 201
    assert admin.call("POST", "/runs", {"name": name, "pipeline": "p", "stack": "default"}).status == 201
    for path in (f"/secrets/by-name/{name}x", f"/runs/{name}x", f"/runs/{'x' * 1_000}"):
        answer = admin.call("GET", path)
        assert answer.status == 404, path
        assert ("did you mean" in answer.error["hint"]) is (len(path) < 1_000), path
