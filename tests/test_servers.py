"""Servers of the tests that do not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import servers
from tests.servers import DidNotStartError, begin, wait_for

_TESTS = """
import pytest
from tests.servers import begin, wait_for
import pathlib, subprocess, sys

@pytest.fixture(scope="session")
def server():
    def start():
        wait_for(subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]), "It", lambda: False)
    pathlib.Path("log").write_text("no room")
    begin(start, pathlib.Path("log"))

@pytest.mark.parametrize("number", range(5))
def test_it(server, number):
    pass
"""


def test_it_is_tried_again(tmp_path: Path) -> None:
    """The third attempt that succeeds is as good as the first."""
    codes = iter(["exit(1)", "exit(1)", "input()"])

    def start() -> None:
        code = next(codes)
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            wait_for(process, "it", lambda: code == "input()")
        finally:
            process.communicate()

    begin(start, tmp_path / "log")
    assert not list(codes)


def test_it_is_killed_when_it_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is left behind."""
    monkeypatch.setattr("tests.servers.PATIENCE_SECONDS", 0.1)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(DidNotStartError, match="does not answer"):
        wait_for(process, "it", lambda: False)
    assert process.poll() == -9
    process.communicate()


def test_one_test_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the server's log; the others that ask for it are skipped."""
    pytester.makepyfile(_TESTS)
    monkeypatch.setenv("PYTHONPATH", str(Path(servers.__file__).parents[2]))
    done = pytester.runpytest_subprocess("-p", "tests.processes", "-p", "no:randomly", "-rs", "-q")
    done.assert_outcomes(errors=1, skipped=4)
    assert "It has ended with 3; its log ends with:" in done.stdout.str()
    assert "no room" in done.stdout.str()
