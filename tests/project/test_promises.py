"""The list of promises names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "internals" / "promises.md"
_HEADERS = ("| promise ", "|---")


def test_every_promise_names_a_test_that_exists() -> None:
    """Each row ends with tests, and each of those is a function of that name in that file."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("|") and not line.startswith(_HEADERS)]
    assert len(rows) > 20
    for row in rows:
        promise, proof = row.strip("| ").split(" | ")
        named = re.findall(r"`([\w/.]+)::(\w+)`", proof)
        assert named, f"nothing tries to break: {promise}"
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}: {name}"
            assert name.startswith("test_")


def test_what_is_not_promised_is_said() -> None:
    """The list has a section for it."""
    assert len(DOCUMENT.read_text().partition("## What is not promised")[2].splitlines()) > 5
