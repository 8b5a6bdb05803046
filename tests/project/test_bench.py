"""The comparison starts, and its targets are worked out from what was measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_comparison_explains_itself() -> None:
    """`bench/run --help` names its rows and options without installing anything."""
    done = subprocess.run([sys.executable, ROOT / "bench" / "run", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("--quick", "--json", "--only"):
        assert word in done.stdout
