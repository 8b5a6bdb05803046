"""Weights & Biases without its service: how its library behaves, and the tracker that uses it.

Each run is in a process of its own: the library leaves a variable in the environment, and a process that serves it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.client import Client
from tests.canary import CANARY, holds_canary
from tests.integration.stack import add_to_stack

SCRIPT = """
import os, sys
import wandb
settings = wandb.Settings(api_key=sys.stdin.read(), silent=True)
with wandb.init(mode="offline", project="tests", dir=sys.argv[1], settings=settings) as run:
    run.log({"loss": 0.5})
wandb.teardown()
try:
    while True:
        os.waitpid(-1, 0)  # the process that wandb starts
except ChildProcessError:
    pass
"""


def test_an_offline_run_needs_no_service_and_keeps_no_key(tmp_path: Path) -> None:
    """A run is on disk, and its process ends with it; a key that is given in the settings gets into no file and no output."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        input=f"{CANARY}{'0' * 40}",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


STEP = """
import os, sys
from strongroom.client import Client
from strongroom.pipelines import pipeline
from strongroom.steps import step

@step(experiment_tracker="wandb")
def train() -> None:
    import wandb
    wandb.log({"loss": 0.5})
    wandb.summary["best"] = 0.5
    print("key in environment:", bool(os.environ.get("WANDB_API_KEY")))
    if sys.argv[1] == "fail":
        raise ValueError("diverged")

@pipeline
def training():
    train()

try:
    training()
finally:
    import wandb
    wandb.teardown()
    try:
        while True:
            os.waitpid(-1, 0)  # the process that wandb starts
    except ChildProcessError:
        pass
"""


def run(client: Client, folder: Path, key: str, argument: str = "", **configuration: str) -> subprocess.CompletedProcess[str]:
    """Runs a pipeline in a process of its own, whose stack has a tracker with this key in a secret; it shows no value."""
    client.create_secret("wandb", {"key": key})
    add_to_stack(client, "experiment_tracker", "wandb", {"api_key": "{{wandb.key}}", "folder": str(folder), **configuration})
    script = folder / "script.py"
    script.write_text(STEP)
    done = subprocess.run(
        [sys.executable, str(script), argument], capture_output=True, text=True, check=False, timeout=120, cwd=folder
    )
    assert not holds_canary(done.stdout + done.stderr), "a value was shown"
    return done


def test_an_offline_run_of_a_step(client: Client, tmp_path: Path) -> None:
    """A step's metrics are on disk in a run that is named after it; its key is not in the environment, nor in any file."""
    done = run(client, tmp_path, f"{CANARY}{'0' * 40}", mode="offline")
    assert done.returncode == 0, done.stderr
    assert "key in environment: False" in done.stdout
    [path] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    record = client.get_run(client.list_runs().items[0].id)
    data = path.read_bytes()
    assert f"{record.name}.train".encode() in data
    assert b"training" in data
    assert b"loss" in data
    assert [(read.secret, read.key, read.step) for read in record.reads] == [("wandb", "key", "train")]


def test_a_failing_step_ends_the_run(client: Client, tmp_path: Path) -> None:
    """A step that raises ends its run as well, and what is raised is its error."""
    done = run(client, tmp_path, f"{CANARY}{'0' * 40}", "fail", mode="offline")
    assert done.returncode == 1
    assert "StepFailed: step 'train' failed: ValueError: diverged" in done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


def test_a_key_that_is_none(client: Client, tmp_path: Path) -> None:
    """A key that Weights & Biases does not take is told from a network that is down, and not shown."""
    done = run(client, tmp_path, f"{CANARY}-short")
    assert done.returncode == 1
    assert "experiment tracker 'wandb': Weights & Biases refused the API key" in done.stderr


def test_a_server_that_is_down(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that nobody reaches is `Unavailable`, within a bounded time."""
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run(client, tmp_path, f"{CANARY}{'0' * 40}", base_url=f"http://127.0.0.1:{port}")
    assert done.returncode == 1
    assert "experiment tracker 'wandb': Weights & Biases does not answer" in done.stderr


def test_a_mode_that_is_none(client: Client, tmp_path: Path) -> None:
    """A mode that there is not names those that there are."""
    done = run(client, tmp_path, f"{CANARY}{'0' * 40}", mode="of-line")
    assert done.returncode == 1
    assert "the mode of experiment tracker 'wandb' is online, offline or disabled" in done.stderr
