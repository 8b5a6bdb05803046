"""Plays schedules for as long as one likes: `make faults SECONDS=600`. `SEED=simulated:17` plays one again."""

from __future__ import annotations

import argparse
import base64
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.schedules.processes import ProcessSchedule
from tests.faults.schedules.real import Backends, RealSchedule
from tests.faults.schedules.simulation import Result
from tests.faults.schedules.totals import Playground, Totals, playground

_FAULT_SECONDS = 6
KINDS = ("simulated", "real", "processes")


def main() -> int:
    """0 if no promise was broken."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long to go on")
    parser.add_argument("--seed", default="", help="one schedule again, as in simulated:17 or real:17")
    parser.add_argument("--kind", choices=KINDS, help="only these")
    options = parser.parse_args()
    kind, _, number = options.seed.partition(":")
    if options.seed and (kind not in KINDS or not number.isdecimal()):
        parser.error("a seed is simulated:NUMBER, real:NUMBER or processes:NUMBER")
    kinds = [kind] if kind else [options.kind] if options.kind else list(KINDS)
    totals = {each: Totals() for each in kinds}
    backends = Backends(base64.b64encode(os.urandom(32)).decode()) if "real" in kinds else None
    try:
        with playground() as place:
            if number:
                _play(kind, int(number), place, backends, totals[kind])
            else:
                _go_on(options.seconds, kinds, place, backends, totals)
    finally:
        if backends is not None:
            backends.stop()
    for each, total in totals.items():
        print(f"{each}: {total}")
    return any(total.broken for total in totals.values())


def _go_on(seconds: float, kinds: list[str], place: Playground, backends: Backends | None, totals: dict[str, Totals]) -> None:
    """Each kind in turn, for about as long as the others."""
    end, spent = time.monotonic() + seconds, dict.fromkeys(kinds, 0.0)
    seeds = random.Random()
    while (began := time.monotonic()) < end:
        kind = min(kinds, key=lambda each: spent[each])
        _play(kind, seeds.randrange(10**9), place, backends, totals[kind])
        spent[kind] += time.monotonic() - began


def _play(kind: str, seed: int, place: Playground, backends: Backends | None, totals: Totals) -> None:
    result: Result | None = None
    try:
        if kind == "simulated":
            result = place.play(seed)
        elif kind == "processes":
            with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as folder:
                result = ProcessSchedule(seed, Path(folder), _FAULT_SECONDS).run()
        else:
            assert backends is not None
            with tempfile.TemporaryDirectory(prefix="strongroom-faults-") as folder:
                result = RealSchedule(seed, backends, Path(folder), _FAULT_SECONDS, patient=seed % 10 == 0).run()
    finally:
        if result is None or result.violations:
            told = f"{kind} schedule {seed} did not come to its end" if result is None else f"{kind} schedule, {result}"
            print(f"{told}\n  again: make faults SEED={kind}:{seed}", flush=True)
    totals.add(result)


if __name__ == "__main__":
    sys.exit(main())
