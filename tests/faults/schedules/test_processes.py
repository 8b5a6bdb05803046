"""Processes on one embedded store: whatever settings, forks, signals and kills do, nothing acknowledged is lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.schedules.processes import ProcessSchedule
from tests.faults.schedules.totals import Totals


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("seed", range(2))
def test_processes_on_one_store(tmp_path: Path, seed: int) -> None:
    """Three processes at a time, with changing settings and paths: each finds what was acknowledged, and none hangs."""
    totals = Totals()
    totals.add(ProcessSchedule(seed, tmp_path, 4).run())
    print(totals)
    assert totals.broken == []
    assert totals.counts["acknowledged writes"] > 20
