"""Runs many schedules, and adds up what they came to."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from strongroom.config import PREFIX, Settings, read_settings
from strongroom.service.wiring import Service
from tests.faults.schedules.simulation import Breakage, Result, Simulation

_SHOWN = (
    "operations",
    "acknowledged writes",
    "reads",
    "refused",
    "unknown",
    "jobs",
    "faults",
    "kills",
    "stops",
    "crash loops",
    "hung workers",
    "killed main processes",
    "lost values",
    "refused jobs",
    "stops of holders",
    "black holes",
    "kills of the pooler",
    "undecided",
)

_LOST = ("no order of its writes explains", "cannot be read", "lacks ", ": missing in ")
"""What violations say of values that are gone."""


@dataclass
class Totals:
    """Of one kind of schedules."""

    schedules: int = 0
    broken: list[Result] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    silence: float = 0.0
    """The longest time in which a server answered nobody, in seconds."""
    unready: float = 0.0
    """The longest time in which no server was ready, though its database and a secrets store were there."""
    kinds: dict[str, Totals] = field(default_factory=dict)
    """The totals of each make of schedules."""

    def add(self, result: Result) -> None:
        """Counts one more schedule, in all and of its make."""
        self._count(result)
        self.kinds.setdefault(result.kind, Totals())._count(result)

    def _count(self, result: Result) -> None:
        self.schedules += 1
        self.counts += result.counts
        self.silence = max(self.silence, result.silence)
        self.unready = max(self.unready, result.unready)
        if result.violations:
            self.broken.append(result)

    @property
    def unrecorded(self) -> int:
        """How often changes had no event in the audit trail."""
        return sum("have no event" in line for each in self.broken for line in each.violations)

    @property
    def lost(self) -> int:
        """In how many schedules values were gone."""
        return sum(any(sign in line for sign in _LOST for line in each.violations) for each in self.broken)

    def row(self, name: str) -> str:
        """A row of the table in `docs/internals/faults.md`."""
        operations, acknowledged = self.counts["operations"], self.counts["acknowledged writes"]
        longest = f"{max(self.silence, self.unready):.1f} s" if self.silence or self.unready else ""
        return f"| {name} | {self.schedules} | {operations:,} | {acknowledged:,} | {self.lost} | {self.unrecorded} | {longest} |"

    def __str__(self) -> str:
        told = ", ".join(f"{name} {self.counts[name]}" for name in _SHOWN)
        told += f", longest time without an answer {self.silence:.1f} s" if self.silence else ""
        told += f", longest time without service {self.unready:.1f} s" if self.unready else ""
        violations = sum(len(each.violations) for each in self.broken)
        rows = "".join(f"\n{total.row(kind)}" for kind, total in sorted(self.kinds.items()))
        return f"{self.schedules} schedules, {told}, lost {self.lost}, unrecorded {self.unrecorded}, violations {violations}{rows}"


class Playground:
    """Where schedules in one process get their databases: each a copy of one that is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._template = folder, folder / "template"
        Service(self._settings(self._template)).close()

    def play(self, seed: int, breakage: Breakage = lambda _: None, *, stops: float = 0.5) -> Result:
        """The schedule of this seed; see `Simulation`."""
        place = self._folder / f"seed{seed}"
        shutil.copytree(self._template, place)
        try:
            return Simulation(seed, self._settings(place), breakage, stops=stops).run()
        finally:
            shutil.rmtree(place)

    @staticmethod
    def _settings(folder: Path) -> Settings:
        return read_settings({f"{PREFIX}CONFIG_PATH": str(folder)})


@contextmanager
def playground() -> Iterator[Playground]:
    """One in a folder that is gone afterwards; in memory, where there is such a place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="strongroom-faults-", dir=memory if memory.is_dir() else None) as folder:
        yield Playground(Path(folder))
