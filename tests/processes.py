"""Child processes that start fast: forked from a server that has strongroom loaded and does nothing else."""

from __future__ import annotations

import contextlib
import multiprocessing
import select
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from tests.servers import DidNotStartError

_DEADLINE_SECONDS = 180


@dataclass(frozen=True)
class Outcome:
    """What a function gave back, or the code of the `StrongroomError` that it raised (`crash` for any other exception)."""

    value: Any = None
    error: str | None = None
    message: str = ""


class Child:
    """A function at work in a process of its own."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Starts `function(connection, *arguments)`."""
        context = multiprocessing.get_context("forkserver")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=function, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def receive(self) -> Any:
        """The next thing that the child sends; fails when it takes too long; EOFError when the child is gone."""
        if not self.connection.poll(_DEADLINE_SECONDS):
            pytest.fail("a child process does not answer")
        try:
            return self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None

    def receive_all(self) -> Iterator[Any]:
        """Everything that the child sends until it ends."""
        with contextlib.suppress(EOFError):
            while True:
                yield self.receive()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def end(self) -> None:
        """Waits until the child has ended, with force if it is overdue."""
        self.process.join(_DEADLINE_SECONDS)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        self.connection.close()
        self.process.close()


def until(condition: Callable[[], bool], seconds: float = _DEADLINE_SECONDS) -> None:
    """Returns when the condition holds; fails when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        select.select([], [], [], 0.02)


def run_together(function: Callable[..., Any], arguments: Sequence[Sequence[Any]]) -> list[Outcome]:
    """Runs `function(*each)` in a process for each of the arguments; all begin when the last one is ready."""
    children = [Child(_wait_and_run, function, each) for each in arguments]
    try:
        for child in children:
            child.receive()
        for child in children:
            child.connection.send("go")
        return [child.receive() for child in children]
    finally:
        for child in children:
            child.end()


def _wait_and_run(connection: Connection, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    connection.send("ready")
    connection.recv()
    try:
        outcome = Outcome(value=function(*arguments))
    except StrongroomError as error:
        outcome = Outcome(error=error.code, message=str(error))
    except Exception as error:  # noqa: BLE001 - the parent is told
        traceback.print_exc()
        outcome = Outcome(error="crash", message=type(error).__name__)
    connection.send(outcome)


@pytest.fixture(scope="session", autouse=True)
def _preload() -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["__main__", "tests.children"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A server that does not start fails one test of this process, not all that ask for it."""
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, DidNotStartError):
        if call.excinfo.value.reported:
            path, line, _ = item.location
            report.outcome, report.longrepr = "skipped", (path, line, "Skipped: its server did not start, see the test that failed")
        call.excinfo.value.reported = True
    return report
