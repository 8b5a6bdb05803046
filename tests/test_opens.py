"""The plugin that looks for `open` of database files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.client import Client
from strongroom.config import PREFIX, Settings
from tests.canary import CANARY


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["path", "symlink", "hard link"])
def test_an_open_is_found(local_client: Client, local_settings: Settings, expect_opens: Path, suffix: str, kind: str) -> None:
    """By whatever name, in this process."""
    local_client.create_secret("s", {"k": CANARY})
    path = link = local_settings.folder / f"strongroom.db{suffix}"
    if kind != "path":
        link = local_settings.folder / "link"
        link.symlink_to(path) if kind == "symlink" else link.hardlink_to(path)
    assert not expect_opens.read_text()
    link.read_bytes()
    if kind == "hard link":
        link.unlink()
    assert f"process {os.getpid()} opened" in expect_opens.read_text()


def test_an_open_of_a_child_is_found(local_settings: Settings, expect_opens: Path) -> None:
    """In the processes that a test starts, too."""
    code = "from strongroom.client import Client; c = Client(); c.list_secrets(); open(c.settings.folder / 'strongroom.db').close()"
    environment = {**os.environ, f"{PREFIX}CONFIG_PATH": str(local_settings.folder)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert "opened" in expect_opens.read_text()
