"""The pages that prove what they say by tests name tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES = "docs/internals/promises.md"
_HEADERS = ("| what", "| threat ", "| promise ", "|---")


@pytest.mark.parametrize(("page", "least"), [("docs/concepts/limits.md", 16), (PROMISES, 21), ("docs/concepts/threat-model.md", 31)])
def test_every_row_names_tests_that_exist(page: str, least: int) -> None:
    """Each row of the page's tables ends with tests, and each of those is a function of that name in that file."""
    rows = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("|") and not line.startswith(_HEADERS)]
    assert len(rows) >= least
    for row in rows:
        said, *_, proof = row.strip("| ").split(" | ")
        named = re.findall(r"`([\w/.]+)::(\w+)`", proof)
        assert named, f"nothing proves: {said}"
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}: {name}"
            assert name.startswith("test_")


def test_what_is_not_promised_is_said() -> None:
    """The list of promises has a section for it."""
    assert len((ROOT / PROMISES).read_text().partition("## What is not promised")[2].splitlines()) > 5
