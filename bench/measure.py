"""Timing that is fair to everyone: contestants take turns (A B A B), and a round counts by its median."""

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Key = TypeVar("Key")

COMMAND_TIMEOUT = 120.0
"""Seconds after which a command that is being measured counts as hanging."""

SHORT = 0.3
"""Seconds that a contestant's turn may be filled with repetitions; a command slower than that runs once a turn."""

MOST_REPETITIONS = 5


class MeasurementError(Exception):
    """A contestant did not do what it was asked: its cell stays empty, and the reason is printed."""


@dataclass(frozen=True)
class Measurement:
    """What one contestant needed for one case.

    `rounds` holds one number per round, in `unit` ("s" or "B"): the median of what was taken in that contestant's turn.
    """

    row: str
    case: str
    contestant: str
    unit: str
    rounds: tuple[float, ...]
    subject: str

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def low(self) -> float:
        return min(self.rounds)

    @property
    def high(self) -> float:
        return max(self.rounds)


def interleave(
    turns: Mapping[Key, Callable[[], float]],
    rounds: int,
    progress: Callable[[int, int], None],
    failed: Callable[[Key, MeasurementError], None],
) -> dict[Key, tuple[float, ...]]:
    """Let every turn run once per round, in the same order, after one round that is not counted.

    A turn that raises MeasurementError is reported to `failed`, takes no further turns and has no result.
    """
    results: dict[Key, list[float]] = {key: [] for key in turns}
    for number in range(rounds + 1):
        progress(number, rounds)
        for key, turn in turns.items():
            if key not in results:
                continue
            try:
                value = turn()
            except MeasurementError as error:
                del results[key]
                failed(key, error)
            else:
                if number > 0:
                    results[key].append(value)
    return {key: tuple(values) for key, values in results.items()}


def run_checked(command: Sequence[str | Path], environment: Mapping[str, str], expect: str = "") -> None:
    """Run a command once, untimed, and make sure that it works: exit code 0 and `expect` in what it printed."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"{shown(command)}: {error}") from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-1:]
        raise MeasurementError(f"{shown(command)}: exit code {done.returncode}: {' '.join(last)}")
    if expect not in done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"):
        raise MeasurementError(f"{shown(command)}: did not print {expect!r}")


def shown(command: Sequence[str | Path]) -> str:
    """A command as a person would type it: the program by its name, without its folder."""
    return " ".join([Path(command[0]).name, *map(str, command[1:])])


def command_turn(command: Sequence[str | Path], environment: Mapping[str, str], terminal: bool = False) -> Callable[[], float]:
    """A turn that runs `command` and gives the median of its wall-clock seconds, from before its start to its end.

    Output goes to the null device or, with `terminal`, to a pseudo-terminal that is read to the end. After the
    first call a turn repeats a command that is short, as often as the last turn says would fit.
    """
    run_once = _seconds_on_terminal if terminal else _seconds_discarding_output
    repetitions = 1

    def turn() -> float:
        nonlocal repetitions
        taken = statistics.median(run_once(command, environment) for _ in range(repetitions))
        repetitions = max(1, min(MOST_REPETITIONS, int(SHORT / taken)))
        return taken

    return turn


def _seconds_discarding_output(command: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    with _watched(command) as watch:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        watch(process)
        process.wait()
        return time.perf_counter() - start


def _seconds_on_terminal(command: Sequence[str | Path], environment: Mapping[str, str]) -> float:
    ours, theirs = os.openpty()
    try:
        with _watched(command) as watch:
            start = time.perf_counter()
            try:
                process = subprocess.Popen(
                    command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
                )
            finally:
                os.close(theirs)
            watch(process)
            while _read_terminal(ours):
                pass
            process.wait()
            return time.perf_counter() - start
    finally:
        os.close(ours)


def _read_terminal(ours: int) -> bytes:
    """What the other side wrote; empty once it is gone (Linux then says EIO)."""
    try:
        return os.read(ours, 65536)
    except OSError:
        return b""


@contextmanager
def _watched(command: Sequence[str | Path]) -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Kill a process that hangs, and raise MeasurementError when it did not end well.

    The measured code waits without a timeout of its own: `Popen.wait(timeout)` polls ever more rarely, and would round
    a run of 70 ms up to 115 ms.
    """
    watched: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        for process in watched:
            process.kill()

    timer = threading.Timer(COMMAND_TIMEOUT, kill)
    timer.daemon = True
    timer.start()
    try:
        yield watched.append
    finally:
        timer.cancel()
        for process in watched:
            if process.poll() is None:
                process.kill()
                process.wait()
    [process] = watched
    if process.returncode != 0:
        raise MeasurementError(f"{shown(command)}: ended with {process.returncode} (a timeout is {-signal.SIGKILL})")
