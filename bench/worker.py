"""A contestant's own process, in its own environment, that does what the harness orders and reports the seconds."""

import json
import statistics
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.measure import MeasurementError

PROGRAMS = Path(__file__).resolve().parent / "workers"
END_TIMEOUT = 30.0


class Worker:
    """One process of `workers/<program>`; a context manager that ends it.

    An order is answered before the next one is given, so contestants never run at the same time.
    """

    def __init__(self, python: Path, program: str, environment: Mapping[str, str], log: Path) -> None:
        """Start the process; it imports its library only when told to `open`. What it prints goes to `log`."""
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, PROGRAMS / program],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def order(self, order: str, **arguments: object) -> object:
        """Have an order carried out; raises MeasurementError with the contestant's own words when it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"order": order, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            last = " ".join(self._log.read_text(errors="replace").strip().splitlines()[-1:])
            raise MeasurementError(f"the process ended during {order}: {last}")
        answer = json.loads(line)
        if "error" in answer:
            raise MeasurementError(f"{order}: {answer['error']}")
        return answer["answer"]

    def turn(self, order: str, **arguments: object) -> Callable[[], float]:
        """A turn for `measure.interleave`: the median of the seconds that the order reports."""

        def turn() -> float:
            taken = self.order(order, **arguments)
            assert isinstance(taken, list)
            return float(statistics.median(taken))

        return turn
