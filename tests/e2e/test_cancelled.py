"""What a command that is cancelled says about its changes."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest

import strongroom.service.wiring  # noqa: F401 - loaded before the children are forked
from strongroom import changes
from strongroom.cli.main import execute
from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from tests.canary import CANARY

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs setitimer"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
]

TRIALS = int(os.environ.get("TESTS_SIGNAL_POINTS", "60")) or 1000


def run(arguments: list[str], seconds: float) -> tuple[int, str]:
    """The exit status and the standard error of a command that gets a SIGINT after so long."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(writing, 2)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            signal.setitimer(signal.ITIMER_REAL, seconds)
            code = execute(arguments)
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as output:
        said = output.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_what_is_said_is_true(
    local_settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], verb: str
) -> None:
    """`nothing was changed` only where nothing was changed, and `was made` only where it was."""
    monkeypatch.setenv(f"{PREFIX}CONFIG_PATH", str(local_settings.folder))
    with Client(local_settings) as client:
        names = [f"s{number}" for number in range(TRIALS + 1)]
        if verb != "create":
            for name in names:
                client.create_secret(name, {"k": CANARY})
    extra = {"create": [f"--k={CANARY}2"], "update": [f"--k={CANARY}2"], "delete": ["--yes"]}[verb]
    begun = time.monotonic()
    assert run(["secret", verb, names.pop(), *extra], 60)[0] == 0
    seconds = time.monotonic() - begun
    said = {name: run(["secret", verb, name, *extra], random.uniform(0.1, 1) * seconds) for name in names}
    with Client(local_settings) as client:
        found = {each.name: each.version for number in range(1, 3) for each in client.list_secrets(size=1000, page=number)}
    for name, (_, text) in said.items():
        changed = {"create": name in found, "update": found.get(name) == 2, "delete": name not in found}[verb]
        assert not ("nothing was changed" in text and changed), text
        assert not ("change was made" in text and not changed), text
    capfd.readouterr()


def test_what_is_known() -> None:
    """What was not begun changed nothing, what ended was made, and what was interrupted may have been, once it was decided."""
    changes.begin()
    assert changes.outcome() == (changes.Outcome.NOTHING, 0)
    with pytest.raises(KeyboardInterrupt), changes.changing(decides=True):
        raise KeyboardInterrupt
    assert changes.outcome() == (changes.Outcome.NOTHING, 0)
    with pytest.raises(ValueError, match="refused"), changes.changing():
        raise ValueError("refused")
    assert changes.outcome() == (changes.Outcome.NOTHING, 0)
    with changes.changing():
        assert changes.outcome() == (changes.Outcome.UNKNOWN, 0)
    assert changes.outcome() == (changes.Outcome.DONE, 1)
    with suppress(KeyboardInterrupt), changes.changing(decides=True):
        changes.deciding()
        raise KeyboardInterrupt
    assert changes.outcome() == (changes.Outcome.UNKNOWN, 1)
    changes.begin()
