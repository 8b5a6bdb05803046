"""The command line, as a user meets it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.main import execute
from strongroom.client.login_state import LoginState, write_login
from strongroom.config import read_settings
from strongroom.redaction import SecretText
from tests.callers import Caller
from tests.canary import CANARY

BIN = Path(sys.executable).parent
VALUE = "hunter22"
"""Stands for a value in the parameters of tests, whose ids are shown. Commands get the canary in its place."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended. Its output may hold values, so it shows neither in assertion messages."""

    code: int
    out_bytes: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output."""
        return self.out_bytes.decode()

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out_bytes)

    def __repr__(self) -> str:
        return f"Outcome(code={self.code}, {len(self.out_bytes)} bytes out, {self.err.count(chr(10))} lines of errors)"


CommandLine = Callable[..., Outcome]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs tests on each of the transports that the closest `transports` mark names."""
    mark = metafunc.definition.get_closest_marker("transports")
    if mark is not None:
        metafunc.parametrize("transport", mark.args)


@pytest.fixture
def transport() -> str:
    """What the command line works on: `embedded` is the store in the state folder, `server` is a server that it is logged in to."""
    return "embedded"


@pytest.fixture
def workspace(transport: str, request: pytest.FixtureRequest) -> str:
    """The name of the workspace that the command line works in; at a server a fresh one."""
    if transport == "embedded":
        return "default"
    admin: Caller = request.getfixturevalue("admin")
    return admin.workspace


@pytest.fixture(autouse=True)
def store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str, workspace: str, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A state folder that nobody has used, but perhaps to log in to a server; and a working folder of the test's own."""
    for name in list(os.environ):
        if name.startswith("STRONGROOM_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "store"
    monkeypatch.setenv("STRONGROOM_CONFIG_PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    if transport == "embedded":
        yield folder
        return
    admin: Caller = request.getfixturevalue("admin")
    assert admin.token is not None
    login = LoginState(url=admin.server.url, token=SecretText(admin.token), username="default", workspace=workspace)
    write_login(read_settings({"STRONGROOM_CONFIG_PATH": str(folder)}), login)
    yield folder
    assert [path.name for path in folder.iterdir()] == ["login.json"], "something was kept here instead of at the server"


@pytest.fixture
def strongroom(monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Runs a command line in this process: `strongroom("secret", "list", stdin=b"")`."""

    def run(*arguments: str, stdin: bytes = b"") -> Outcome:
        arguments = tuple(word.replace(VALUE, CANARY) for word in arguments)
        stdin = stdin.replace(VALUE.encode(), CANARY.encode())
        streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for name in ("stdout", "stderr")}
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            code = execute(arguments)
        out, err = (stream.buffer.getvalue() for stream in streams.values())  # type: ignore[attr-defined]
        assert CANARY not in err.decode(), "a value was repeated on standard error"
        return Outcome(code, out, err.decode())

    return run


@pytest.fixture
def process(store: Path) -> CommandLine:
    """Runs a command line in a process of its own."""

    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> Outcome:
        done = subprocess.run(
            [BIN / "strongroom", *(word.replace(VALUE, CANARY) for word in arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, **environment},
        )
        assert CANARY not in done.stderr.decode(), "a value was repeated on standard error"
        return Outcome(done.returncode, done.stdout, done.stderr.decode())

    return run
