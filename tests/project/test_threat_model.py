"""The threat model names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "concepts" / "threat-model.md"


def test_every_threat_names_a_test_that_exists() -> None:
    """Each line of its tables ends with tests, and each of those is a function of that name in that file."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) > 30
    for row in rows:
        threat, *_, proof = row.strip("| ").split(" | ")
        named = re.findall(r"`([\w/.]+)::(\w+)`", proof)
        assert named, f"nothing proves what stands against: {threat}"
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}: {name}"
            assert name.startswith("test_")
