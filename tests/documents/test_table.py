"""The table of the documents' commands is true."""

from __future__ import annotations

import ast
import re

from tests.documents import blocks
from tests.documents.conftest import ROOT

PAGE = ROOT / "docs" / "reference" / "documents.md"


def test_every_named_test_exists() -> None:
    """Each test that the table names is there, and each test of the documents is named."""
    named = set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text()))
    assert named
    for path, function in named:
        names = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert not function or function in names, f"{path}::{function}"
    for path in ("tests/documents/test_guide.py", "tests/documents/test_deployment.py"):
        tests = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert {function for at, function in named if at == path} == {name for name in tests if name.startswith("test_")}


def test_every_block_is_tried() -> None:
    """No command and no block of code that was taken from the documents is left aside."""
    used = "".join((ROOT / "tests" / "documents" / name).read_text() for name in ("test_guide.py", "test_deployment.py"))
    for name in vars(blocks):
        if name.isupper() and not name.startswith("_"):
            assert f"blocks.{name}" in used, name
