"""Weights & Biases without its service: what the tests of the tracker stand on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.canary import CANARY

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
