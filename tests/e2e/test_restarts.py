"""Commands while the only server restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.client.login import log_in
from strongroom.config import PREFIX, read_settings
from strongroom.redaction import SecretText
from tests.canary import CANARY
from tests.processes import until
from tests.servers.strongroom import PASSWORD, FragileStrongroom


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FragileStrongroom]:
    """A server that is down; the user is logged in to it and has the secret 's'."""
    server = FragileStrongroom({"CONFIG_PATH": str(tmp_path / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD})
    settings = read_settings({f"{PREFIX}CONFIG_PATH": str(tmp_path / "client")})
    log_in(settings, server.url, "root", SecretText(PASSWORD))
    with Client(settings) as client:
        client.create_secret("s", {"k": CANARY})
    server.kill()
    yield server
    server.stop()


class Command:
    """A command at work."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self._errors = folder / f"{arguments[1]}.stderr"
        environment = os.environ | {f"{PREFIX}CONFIG_PATH": str(folder / "client")}
        with self._errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "strongroom", *arguments],
                env=environment | {f"{PREFIX}{name}": text for name, text in variables.items()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    @property
    def errors(self) -> str:
        """What it has written to standard error so far."""
        return self._errors.read_text()


def test_commands_wait_for_their_server(server: FragileStrongroom, tmp_path: Path) -> None:
    """A read, a creation, a change and a deletion say in one line that they wait, and are carried out when the server is back."""
    commands = [
        Command(tmp_path, "secret", "get", "s", SERVER_WAIT="60"),
        Command(tmp_path, "secret", "create", "new", "--k=v", SERVER_WAIT="60"),
        Command(tmp_path, "secret", "list", SERVER_WAIT="60"),
    ]
    until(lambda: all("waiting for" in command.errors for command in commands))
    server.go_on()
    for command in commands:
        assert command.process.wait(60) == 0, command.errors
        assert command.errors.count(f"waiting for {server.url}; Ctrl-C to stop\n") == command.errors.count("waiting") == 1
    for arguments in (("secret", "update", "new", "--k=w"), ("secret", "delete", "new", "-y")):
        server.kill()
        command = Command(tmp_path, *arguments, SERVER_WAIT="60")
        until(lambda: "waiting for" in command.errors)  # noqa: B023 - it is called here
        server.go_on()
        assert command.process.wait(60) == 0, command.errors


def test_ctrl_c_ends_the_waiting(server: FragileStrongroom, tmp_path: Path) -> None:
    """At once, as it ends any command."""
    command = Command(tmp_path, "secret", "list", SERVER_WAIT="600")
    until(lambda: "waiting for" in command.errors)
    command.process.send_signal(signal.SIGINT)
    assert command.process.wait(10) in (1, 130)
    assert "Traceback" not in command.errors


@pytest.mark.parametrize("seconds", [0, 3])
def test_waiting_ends(server: FragileStrongroom, tmp_path: Path, seconds: int) -> None:
    """After the seconds of the setting the error stands; with 0 a call is made once, and nothing is said of waiting."""
    began = time.monotonic()
    command = Command(tmp_path, "secret", "list", SERVER_WAIT=str(seconds))
    assert command.process.wait(60) == 1
    assert seconds <= time.monotonic() - began < seconds + 10
    assert "nothing answers at" in command.errors
    assert ("waiting for" in command.errors) is (seconds > 0)
