"""The house keeps its own rules."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

from strongroom import operations
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.operations.operation import Operation
from strongroom.operations.permission import Permission

ROOT = Path(__file__).parents[2]


def all_operations() -> list[Operation]:
    """The rows of all nouns: every `*_OPERATIONS` of a module in `strongroom.operations`."""
    found: list[Operation] = []
    for module in pkgutil.iter_modules(operations.__path__):
        if module.name == "all":
            continue
        names = vars(importlib.import_module(f"{operations.__name__}.{module.name}"))
        found += [row for name, rows in names.items() if name.endswith("_OPERATIONS") for row in rows]
        single = {row.name for row in names.values() if isinstance(row, Operation)}
        assert single <= {row.name for row in found}, f"{module.name} leaves rows out of its tuple"
    return found


def tracked(*patterns: str) -> list[Path]:
    """The files of the repository."""
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).exists()]


def test_permissions_are_alphabetised() -> None:
    """The list of permissions is in order, so that a reader finds one and a writer knows its place."""
    names = [permission.name for permission in Permission]
    assert names == sorted(names)


def test_operations_are_one_table() -> None:
    """Names, and pairs of method and path, are unique; each parameter of a path is a field of the request."""
    rows = all_operations()
    assert {row.name for row in ALL_OPERATIONS} == {row.name for row in rows}
    assert len({row.name.partition(".")[0] for row in rows}) >= 5
    assert len({row.name for row in rows}) == len(rows)
    assert len({(row.method, row.path) for row in rows}) == len(rows)
    for row in rows:
        assert set(re.findall(r"{(\w+)}", row.path)) <= set(row.request.__struct_fields__), row.name
        assert set(re.findall(r"{(\w+)}", row.creates or "")) <= set(getattr(row.response, "__struct_fields__", ())), row.name


def test_every_handler_has_an_operation() -> None:
    """The service answers exactly the operations of the table."""
    import tempfile

    from strongroom.config import read_settings
    from strongroom.service.wiring import Service

    with tempfile.TemporaryDirectory() as folder:
        service = Service(read_settings({"STRONGROOM_CONFIG_PATH": folder}))
        try:
            assert set(service.dispatcher.operations) == {row.name for row in all_operations()}
        finally:
            service.close()


def test_no_host_of_a_registry_and_no_path_of_a_machine() -> None:
    """Requirements carry hashes and name no host; no file names the place where it was written."""
    for path in tracked("requirements/*.txt", "bench/requirements/*.txt", "tests/requirements/*.txt"):
        text = path.read_text()
        assert "://" not in text, path.name
        pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)
        assert pinned
        assert len(re.findall(r"--hash=sha256:", text)) >= len(pinned)


def test_public_functions_say_what_they_promise() -> None:
    """Every public module, class and function of the package has a docstring; of overloads, the one that is called."""
    import ast

    def is_overload(node: ast.AST) -> bool:
        return any(isinstance(each, ast.Name) and each.id == "overload" for each in getattr(node, "decorator_list", ()))

    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree) or not path.read_text().strip() or "migrations" in path.parts, path
        for node in tree.body:
            if is_overload(node) or "migrations" in path.parts:
                continue
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
                for item in node.body if isinstance(node, ast.ClassDef) else ():
                    if isinstance(item, ast.FunctionDef) and not item.name.startswith("_") and "cli" not in path.parts:
                        assert ast.get_docstring(item), f"{path.name}: {node.name}.{item.name}"
