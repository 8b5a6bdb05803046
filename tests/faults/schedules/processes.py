"""Schedules of processes on one embedded store: changing settings and paths, forks, Ctrl-C, and SIGKILL at any moment.

Each secret has one writer, so a model of what was acknowledged is a number for each name. See `worker.py` for what they do.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from strongroom.client import Client
from strongroom.config import PREFIX, read_settings
from strongroom.service.wiring import Service
from tests.faults.schedules import ending
from tests.faults.schedules.simulation import Result

PROCESSES = 3
_HANGS_SECONDS = 60


class ProcessSchedule:
    """One schedule. Its seed gives the same choices again, and not the same microseconds."""

    def __init__(self, seed: int, folder: Path, seconds: float) -> None:
        self._seed, self._rng, self._folder, self._seconds = seed, random.Random(seed), folder, seconds
        self._result = Result(seed, f"{PROCESSES} processes on SQLite")
        self._acknowledged: Counter[str] = Counter()
        (folder / "logs").mkdir()
        (folder / "link").symlink_to(folder / "state")

    def run(self) -> Result:
        """What it came to."""
        settings = read_settings({f"{PREFIX}CONFIG_PATH": str(self._folder / "state")})
        with Client(settings) as client:
            client.create_secret("first", {"n": "0"})
        end = time.monotonic() + self._seconds
        running = [self._start(self._seconds) for _ in range(PROCESSES)]
        try:
            while (left := end - time.monotonic()) > 0:
                victim = self._rng.randrange(PROCESSES)
                with suppress(subprocess.TimeoutExpired):
                    running[victim].wait(min(left, self._rng.uniform(0.3, 1.5)))
                if self._rng.random() < 0.5:
                    self._kill(running[victim])
                    self._result.counts["kills"] += 1
                if running[victim].poll() is not None and end - time.monotonic() > 0.5:
                    running[victim] = self._start(end - time.monotonic())
            for each in running:
                try:
                    each.wait(_HANGS_SECONDS)
                except subprocess.TimeoutExpired:
                    self._result.violations.append("a process hangs")
        finally:
            for each in running:
                self._kill(each)
        with Client(settings) as client:
            self._check(client)
        service = Service(settings)
        try:
            self._result.violations += ending.audit_is_whole(service) + self._unrecorded(service)
        finally:
            service.close()
        return self._result

    def _unrecorded(self, service: Service) -> list[str]:
        """Names of which fewer changes are in the audit trail than were acknowledged."""
        recorded = Counter(each.target for each in ending.recorded(service) if each.operation in ("secret.create", "secret.update"))
        return [
            f"{count - recorded[name]} of {count} changes have no event: {name}"
            for name, count in self._acknowledged.items()
            if recorded[name] < count
        ]

    def _start(self, seconds: float) -> subprocess.Popen[bytes]:
        arguments = [str(self._folder), str(self._rng.randrange(10**9)), str(seconds)]
        module = [sys.executable, "-m", "tests.faults.schedules.worker", *arguments]
        with (self._folder / "errors").open("ab") as errors:
            return subprocess.Popen(module, start_new_session=True, stderr=errors)

    @staticmethod
    def _kill(process: subprocess.Popen[bytes]) -> None:
        """With all that it has forked."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _check(self, client: Client) -> None:
        counts: Counter[str] = self._result.counts
        written: dict[str, tuple[int, int]] = {}  # by name: the number that was acknowledged last, the one that was begun last
        for log in (self._folder / "logs").iterdir():
            for line in log.read_text().splitlines():
                event, name, number = line.split()
                counts["operations"] += 1
                done, begun = written.get(name, (0, 0))
                if event == "begin":
                    written[name] = done, int(number)
                elif event == "done":
                    written[name] = int(number), begun
                    counts["acknowledged writes"] += 1
                    self._acknowledged[name] += 1
                elif event == "interrupted":
                    counts["faults"] += 1
                elif event == "refused":
                    counts["refused"] += 1
                    if name not in ("unavailable",):
                        self._result.violations.append(f"{log.name} was refused: {name}")
                else:
                    self._result.violations.append(f"{log.name}: {line}")
        numbers: dict[str, int] = {}
        for page in range(1, client.list_secrets(size=1000).total_pages + 1):
            for each in client.list_secrets(page=page, size=1000):
                numbers[each.name] = int(client.get_secret(each.id).secret_values["n"])
        for name, (done, begun) in written.items():
            found = numbers.get(name)
            if done and (found is None or not done <= found <= begun):
                counts["lost"] += 1
                self._result.violations.append(f"{name}: {done} was acknowledged, {begun} was begun, {found} is there")
        errors = (self._folder / "errors").read_text(errors="replace")
        if "Traceback" in errors and "KeyboardInterrupt" not in errors:
            self._result.violations.append(f"a process failed: {errors[-800:]}")
