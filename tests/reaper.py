"""What a test starts ends with its test process, however that ends. A pytest plugin for each process in which tests run.

A child of the test process, the reaper, is told of every process that `subprocess` starts. Its standard input ends when the test
process does, also by SIGKILL; then it kills those of them that are still there, with all that they started, and every process that
has `TESTS_REAPER` of this test process in its environment (what `multiprocessing` starts).

Children get default signal dispositions, also when the tests were started in the background of a script, where the shell has SIGINT
and SIGQUIT ignored: an ignored signal stays ignored over `exec`, a handled one does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from tests import reap
from tests.reap import VARIABLE, started_at

_started = subprocess.Popen.__init__
_pipe: subprocess.Popen[bytes] | None = None
_lock = threading.Lock()


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Starts the reaper of this process; signals that were ignored are ignored here alone."""
    global _pipe
    _handle_ignored_signals()
    os.environ[VARIABLE] = mark = f"{os.getpid()}-{started_at(os.getpid())}"
    _pipe = subprocess.Popen(
        [sys.executable, "-I", "-S", reap.__file__, mark],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )
    subprocess.Popen.__init__ = _start  # type: ignore[method-assign]


def pytest_unconfigure() -> None:
    """What is left now ends now."""
    subprocess.Popen.__init__ = _started  # type: ignore[method-assign]
    assert _pipe is not None
    _pipe.communicate()


def _start(self: subprocess.Popen[Any], *arguments: Any, **options: Any) -> None:
    _started(self, *arguments, **options)
    if _pipe is not None and _pipe.stdin is not None and (began := started_at(self.pid)):
        with _lock:
            os.write(_pipe.stdin.fileno(), f"{self.pid} {began}\n".encode())


def _handle_ignored_signals() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
