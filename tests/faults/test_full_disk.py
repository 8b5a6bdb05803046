"""A disk that is full."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import read_settings

WRITER = """
import resource, signal, sys
from strongroom.client import Client
from strongroom.errors import StrongroomError

client = Client()
client.create_secret("first", {"k": "v"})
print("first", flush=True)
# From here on no file may grow beyond what it has and a little.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
try:
    for number in range(1000):
        client.create_secret(f"s{number}", {"k": "x" * 20_000})
        print(f"s{number}", flush=True)
except StrongroomError as error:
    assert error.code == "unavailable", error
    sys.exit(3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits on file sizes")
def test_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    """When the disk is full a write fails with one clear error; all before it is there, and writing goes on when there is room."""
    state = {"STRONGROOM_CONFIG_PATH": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", WRITER], env={**os.environ, **state}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3, done.stderr
    acknowledged = done.stdout.split()
    assert len(acknowledged) > 1
    with Client(read_settings(state)) as client:
        assert [secret.name for secret in client.list_secrets(size=1000)] == acknowledged
        for name in acknowledged:
            assert client.get_secret(name).secret_values
        client.create_secret("afterwards", {"k": "v"})
        client.delete_secret("first")
