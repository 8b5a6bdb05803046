"""The command line of the comparison."""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bench import contestants, environments
from bench.contestants import CONTESTANT_ERRORS, Contestant
from bench.environments import EnvironmentFailedError
from bench.load import ROWS as SERVER_ROWS
from bench.machine import commit, machine
from bench.measure import Measurement
from bench.progress import Progress
from bench.report import Report
from bench.rows import FEW, FULL, QUICK, Arena
from bench.rows import ROWS as CLIENT_ROWS
from bench.targets import targets

ROWS = (*CLIENT_ROWS, *SERVER_ROWS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table; 0 when every cell was measured, 1 when something failed, 2 on wrong usage.

    A target that is not met does not change the exit code: on a machine of another kind that may be the truth.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)
    progress = Progress()
    try:
        with environments.exclusive(), tempfile.TemporaryDirectory(prefix="strongroom-bench-") as state:
            report = _run(options, Path(state), progress)
    except EnvironmentFailedError as error:
        progress.done()
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.done()
        print("stopped", file=sys.stderr)
        return 130
    progress.done()
    print(report.text())
    if options.json:
        options.json.write_text(json.dumps(report.data(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if report.failures else 0


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {row.name:<15}{row.about}" for row in ROWS)
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Compare strongroom with other tools and with bare baselines, side by side in one run.",
        epilog=f"rows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only",
        metavar="ROW",
        action="append",
        choices=[row.name for row in ROWS],
        help="only this row; may be given again",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few rounds and a smaller store: shows that it works, the numbers are rough",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write everything that was measured, as JSON")
    return parser


def _run(options: argparse.Namespace, state: Path, progress: Progress) -> Report:
    with ExitStack() as stack:
        arena = Arena({}, state, QUICK if options.quick else FULL, progress)
        found = {"bare": contestants.bare(progress.say)}
        others: dict[str, Callable[[], Contestant]] = {
            "strongroom": lambda: contestants.strongroom(progress.say),
            "zenml": lambda: contestants.zenml(progress.say),
            "openbao": lambda: stack.enter_context(contestants.openbao(state, progress.say)),
        }
        for name, make in others.items():
            try:
                found[name] = make()
            except CONTESTANT_ERRORS as error:
                arena.failed("all rows", name, error)
        # The order of the turns: what is compared most closely stands side by side.
        arena.contestants = {name: found[name] for name in ("strongroom", "openbao", "bare", "zenml") if name in found}
        os.sync()  # what an installation left to be written must not compete with durable writes
        before = machine(state)
        measurements: list[Measurement] = []
        for row in ROWS:
            if not options.only or row.name in options.only:
                measurements += row.measure(arena)
        return Report(
            machine=before,
            load_after=os.getloadavg()[0],
            commit=commit(),
            labels={name: contestant.label for name, contestant in found.items() if name != "bare"},
            packages={name: environments.packages(contestant.folder) for name, contestant in found.items()},
            measurements=measurements,
            targets=targets(measurements),
            failures=arena.failures,
            notes=_notes(arena, bool(options.quick)),
        )


def _notes(arena: Arena, quick: bool) -> list[str]:
    notes = [f"few secrets: {FEW}; many secrets: {arena.scale.many:,}, 20 on a page (zenml's copied inside its database)"]
    if quick:
        notes.append("QUICK: few rounds and a smaller store; rough numbers")
    return notes


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does, so that servers are ended and folders removed."""
    raise KeyboardInterrupt
