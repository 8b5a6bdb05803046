"""The pages that prove what they say by tests name tests that there are."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES, THREATS = "docs/internals/promises.md", "docs/concepts/threat-model.md"
ATTACKS = "tests/security/README.md"
_HEADERS = ("| what", "| threat ", "| promise ", "|---")


def rows_of(page: str) -> list[list[str]]:
    """The cells of each row of the page's tables; of the list of attacks, those of what was tried."""
    lines = (ROOT / page).read_text().partition("## What was tried")[2 if page == ATTACKS else 0].splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|") and not line.startswith(_HEADERS)]


def named_in(proof: str) -> list[tuple[str, str]]:
    """The tests that a cell names: file and function."""
    return re.findall(r"`([\w/.]+)::(\w+)`", proof)


@pytest.mark.parametrize(("page", "least"), [("docs/concepts/limits.md", 16), (PROMISES, 21), (THREATS, 31), (ATTACKS, 20)])
def test_every_row_names_tests_that_exist(page: str, least: int) -> None:
    """Each row of the page's tables ends with tests, and each of those is a function of that name in that file."""
    rows = rows_of(page)
    assert len(rows) >= least
    for said, *_, proof in rows:
        named = named_in(proof)
        assert named, f"nothing proves: {said}"
        for file, name in named:
            tree = ast.parse((ROOT / file).read_text())
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}: {name}"
            assert name.startswith("test_")


def test_as_many_cases_as_the_pages_say() -> None:
    """The threat model says per row how many cases its tests have, the list of attacks how many its files have: never too many."""
    files = sorted({file for page in (THREATS, ATTACKS) for *_, proof in rows_of(page) for file, _ in named_in(proof)})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "PYTEST_ADDOPTS": ""}
    collected = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    cases = Counter(line.partition("[")[0] for line in collected.splitlines() if "::" in line)
    wrong = []
    for said, _, tried, proof in rows_of(THREATS):
        number = re.match(r"(\d+) cases?\b", tried)
        if number is None or int(number[1]) > sum(cases[f"{file}::{name}"] for file, name in named_in(proof)):
            wrong.append((said, tried))
    for said, tried, proof in rows_of(ATTACKS):
        places = {f"{file}::" for file, _ in named_in(proof)}
        if int(tried) > sum(count for name, count in cases.items() if name.startswith(tuple(places))):
            wrong.append((said, tried))
    assert wrong == []


def test_each_file_of_attacks_is_listed() -> None:
    """The list of attacks names each file of its folder that has tests, but the one of the server that is attacked."""
    listed = {file for *_, proof in rows_of(ATTACKS) for file, _ in named_in(proof)}
    files = {f"tests/security/{path.name}" for path in (ROOT / "tests/security").glob("test_*.py")}
    assert files - listed == {"tests/security/test_throwaway.py"}


def test_what_is_not_promised_is_said() -> None:
    """The list of promises has a section for it."""
    assert len((ROOT / PROMISES).read_text().partition("## What is not promised")[2].splitlines()) > 5
