"""The loop that every worker runs, in its contestant's interpreter: orders on stdin, times on stdout, as JSON lines.

Standard library only, for the file is read by the Python of every environment. The clock runs around the one call
that is measured; making arguments and checking answers happens outside of it.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

PAGE_SIZE = 20

STRIDE = 7919
"""A prime, so that going round in these steps visits every secret, neighbours in the store long after each other."""


class Contestant(Protocol):
    """What a contestant can do in its own process; one instance per process, used by one thread."""

    def open(self) -> None:
        """Import the library and open the store that the environment variables point to."""

    def create(self, name: str, values: dict[str, str]) -> None:
        """Store a new secret, durably."""

    def get(self, name: str) -> Any:
        """Read the newest values; what it returns is only looked at by `values_of`, outside of the clock."""

    def values_of(self, answer: Any) -> dict[str, str]:
        """The values in an answer of `get`."""

    def update(self, name: str, values: dict[str, str]) -> None:
        """Change these keys of an existing secret, durably."""

    def page(self, number: int) -> Any:
        """Page `number`, from 1, of all secrets, PAGE_SIZE on a page, with the total; no values."""

    def size_of(self, answer: Any) -> tuple[int, int]:
        """How many secrets are on a page that `page` returned, and how many there are in all."""

    def fill(self, first: int, last: int) -> None:
        """Store the secrets with numbers from `first` up to, not including, `last`, in any way that is fast."""


def name_of(number: int) -> str:
    """The name of a secret by its number."""
    return f"secret-{number:06d}"


def values_of(number: int) -> dict[str, str]:
    """The values that a secret is created with."""
    return {"username": "admin", "password": f"password-{number:06d}"}


class Drill:
    """The orders that the harness may give; each returns something JSON can hold."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._changed: dict[int, str] = {}
        self._created = 0
        self._calls = 0

    def open(self) -> None:
        """Import and open."""
        self._contestant.open()

    def fill(self, first: int, last: int) -> None:
        """Store many secrets and read one of them back."""
        self._contestant.fill(first, last)
        self._created = max(self._created, last)
        self.get(1, last)

    def get(self, calls: int, known: int) -> list[float]:
        """Seconds of each of `calls` reads by name, going round through the first `known` secrets in long steps."""
        taken = []
        for number in self._round_trip(calls, known):
            name = name_of(number)
            start = time.perf_counter()
            answer = self._contestant.get(name)
            taken.append(time.perf_counter() - start)
            expected = values_of(number) | {"password": self._changed.get(number, values_of(number)["password"])}
            if self._contestant.values_of(answer) != expected:
                raise ValueError(f"{name} was read with other values than it has")
        return taken

    def create(self, calls: int) -> list[float]:
        """Seconds of each of `calls` creations of new secrets."""
        taken = []
        for number in range(self._created, self._created + calls):
            name, values = name_of(number), values_of(number)
            start = time.perf_counter()
            self._contestant.create(name, values)
            taken.append(time.perf_counter() - start)
        self._created += calls
        self.get(1, self._created)
        return taken

    def update(self, calls: int, known: int) -> list[float]:
        """Seconds of each of `calls` updates of one of two keys, each time with a value that is new."""
        taken = []
        for number in self._round_trip(calls, known):
            name, value = name_of(number), f"changed-{self._calls}-{number}"
            start = time.perf_counter()
            self._contestant.update(name, {"password": value})
            taken.append(time.perf_counter() - start)
            self._changed[number] = value
        return taken

    def page(self, calls: int, number: int, expected_total: int) -> list[float]:
        """Seconds of each of `calls` looks at one full page."""
        taken = []
        for _ in range(calls):
            start = time.perf_counter()
            answer = self._contestant.page(number)
            taken.append(time.perf_counter() - start)
            if self._contestant.size_of(answer) != (PAGE_SIZE, expected_total):
                raise ValueError(f"page {number} holds {self._contestant.size_of(answer)}")
        return taken

    def peak_bytes(self) -> int:
        """The most memory that this process ever had resident."""
        try:
            status = Path("/proc/self/status").read_text()
        except OSError:
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return most if sys.platform == "darwin" else most * 1024
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def _round_trip(self, calls: int, known: int) -> list[int]:
        numbers = [(self._calls + offset) * STRIDE % known for offset in range(calls)]
        self._calls += calls
        return numbers


def serve(contestant: Contestant) -> None:
    """Carry out orders until stdin ends. Whatever the contestant prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    drill = Drill(contestant)
    for line in sys.stdin:
        order = json.loads(line)
        carry_out: Callable[..., object] = getattr(drill, order["order"])
        try:
            answer = {"answer": carry_out(**order["arguments"])}
        except Exception as error:  # noqa: BLE001 - the harness prints it beside the empty cell
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
