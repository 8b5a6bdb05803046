"""`make demo` tells its story to the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_demo(tmp_path: Path) -> None:
    """The demo runs, cleans up behind itself, and shows none of the values it works with."""
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "Done in" in done.stdout
    assert list(tmp_path.iterdir()) == []
    for value in ("BEGIN PRIVATE KEY", "abc $123", "r0bot-token"):
        assert value not in done.stdout + done.stderr
    assert "********" in done.stdout
