"""Nothing but SQLite opens a database file that a process has open. A pytest plugin, which looks into all processes of the tests."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_TRACED = Path(__file__).parent / "traced"


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Has this process and all those that it starts report to a file of its own."""
    _, name = tempfile.mkstemp(prefix="opens-")
    os.environ["TESTS_OPENS"] = name
    former = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(_TRACED)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(_TRACED), *former])
    spec = importlib.util.spec_from_file_location("tests.traced", _TRACED / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def pytest_unconfigure() -> None:
    Path(os.environ["TESTS_OPENS"]).unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _opens() -> Iterator[None]:
    """Fails a test in which a database file was opened."""
    report = Path(os.environ["TESTS_OPENS"])
    os.truncate(report, 0)
    yield
    if report.stat().st_size:
        pytest.fail(f"Something else than SQLite opened a database: {report.read_text()[:3000]}", pytrace=False)


@pytest.fixture
def expect_opens() -> Iterator[Path]:
    """Where such processes report, for a test of this plugin."""
    report = Path(os.environ["TESTS_OPENS"])
    yield report
    os.truncate(report, 0)
