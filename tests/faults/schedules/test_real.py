"""Schedules with real servers keep all promises."""

from __future__ import annotations

from pathlib import Path

from tests.faults.schedules.real import Backends, RealSchedule
from tests.faults.schedules.totals import Totals

SEEDS = (19, 39, 16)
"""On SQLite; on PostgreSQL behind PgBouncer with two replicas, and on MariaDB with two. `make faults` plays others."""


def test_schedules_with_real_servers(tmp_path: Path, key: str) -> None:
    """Kills, stops, restarts and lines that fail: nothing acknowledged is lost, no read is stale, in the end all is in order."""
    backends, totals = Backends(key), Totals()
    try:
        for seed in SEEDS:
            folder = tmp_path / f"schedule{seed}"
            folder.mkdir()
            totals.add(RealSchedule(seed, backends, folder, seconds=3).run())
    finally:
        backends.stop()
    print(totals)
    assert totals.broken == []
    assert totals.counts["acknowledged writes"] > 0
