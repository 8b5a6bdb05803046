"""The table of limits names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "concepts" / "limits.md"


def test_every_limit_names_a_test_that_exists() -> None:
    """Each line of its tables ends with tests, and each of those is a function of that name in that file."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ") and not line.startswith("| what")]
    assert len(rows) > 15
    for row in rows:
        limit, *_, proof = row.strip("| ").split(" | ")
        named = re.findall(r"`([\w/.]+)::(\w+)`", proof)
        assert named, f"nothing proves the limit of: {limit}"
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}: {name}"
