"""A process of a `processes` schedule: opens one embedded store with changing settings, by changing paths; forks, and is interrupted.

It notes each change in a file of its own, before it is begun and when it is acknowledged.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from strongroom.client import Client
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.errors import StrongroomError

VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {"ACTIVE_STACK": "default"},
    {"SECRET_VALIDATION_LEVEL": "NONE"},
    {"DATABASE_TIMEOUT": "20"},
    {"AUDIT": "all"},
)


class Worker:
    """One process, or one that it has forked."""

    def __init__(self, folder: Path, seed: int, end: float, depth: int = 0) -> None:
        self._folder, self._rng, self._end, self._depth = folder, random.Random(f"{seed}-{depth}"), end, depth
        self._name = f"w{os.getpid()}-{time.monotonic_ns()}"
        self._log = os.open(folder / "logs" / self._name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._clients: list[Client] = []
        self._known: dict[str, int | None] = {}
        """Each secret of this process with its number, None if nobody can know it."""
        self._number = self._children = 0

    def note(self, event: str, name: str, number: int) -> None:
        """A line of the log."""
        os.write(self._log, f"{event} {name} {number}\n".encode())

    def run(self) -> None:
        """Acts at random until the schedule's end."""
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        while time.monotonic() < self._end:
            action = self._rng.choices(
                (self._change, self._read, self._open, self._close, self._fork, self._interrupt), (40, 15, 8, 8, 3, 4)
            )
            try:
                action[0]()
            except KeyboardInterrupt:
                self.note("interrupted", "-", 0)
            except StrongroomError as error:
                self.note("refused", error.code, 0)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        while self._children:
            os.wait()
            self._children -= 1

    def _settings(self) -> Settings:
        place = self._folder / self._rng.choice(("state", "link", "state/../state"))
        return read_settings(
            {f"{PREFIX}{name}": text for name, text in (self._rng.choice(VARIANTS) | {"CONFIG_PATH": str(place)}).items()}
        )

    def _client(self) -> Client:
        if not self._clients:
            self._open()
        return self._rng.choice(self._clients)

    def _open(self) -> None:
        self._clients.append(Client(self._settings()))

    def _close(self) -> None:
        if self._clients:
            self._clients.pop(self._rng.randrange(len(self._clients))).close()

    def _change(self) -> None:
        client, name = self._client(), f"{self._name}-{self._rng.randrange(10)}"
        self._number = number = self._number + 1
        before = self._known.get(name, 0)
        self._known[name] = None
        self.note("begin", name, number)
        if before == 0:
            client.create_secret(name, {"n": str(number)})
        elif before is None:
            client.update_secret(self._find_or_make(client, name), add_or_update_values={"n": str(number)})
        else:
            client.update_secret(name, add_or_update_values={"n": str(number)})
        self.note("done", name, number)
        self._known[name] = number

    @staticmethod
    def _find_or_make(client: Client, name: str) -> str:
        if not client.list_secrets(name=name).items:
            client.create_secret(name, {"n": "0"})
        return name

    def _read(self) -> None:
        known = [(name, number) for name, number in self._known.items() if number]
        if known:
            name, number = self._rng.choice(known)
            found = self._client().get_secret(name).secret_values["n"]
            if found != str(number):
                self.note("stale", name, number)

    def _fork(self) -> None:
        if self._depth >= 2 or self._children >= 2:
            return
        seconds, seed = self._rng.uniform(0.1, 1.5), self._rng.randrange(10**9)
        ends, busy = threading.Event(), self._rng.random() < 0.5
        thread = threading.Thread(target=self._keep_busy, args=(ends,), daemon=True)
        if busy:
            thread.start()
        child = os.fork()
        if child == 0:
            try:
                worker = Worker(self._folder, seed, min(self._end, time.monotonic() + seconds), self._depth + 1)
                worker._clients = list(self._clients)  # a child uses what it has inherited, too
                worker.run()
            finally:
                os._exit(0)
        self._children += 1
        ends.set()
        if busy:
            thread.join()

    def _keep_busy(self, ends: threading.Event) -> None:
        client = Client(self._settings())
        while not ends.is_set():
            client.list_secrets()
        client.close()

    def _interrupt(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._rng.uniform(0.0005, 0.02))
        for _ in range(20):
            self._change()


if __name__ == "__main__":
    Worker(Path(sys.argv[1]), int(sys.argv[2]), time.monotonic() + float(sys.argv[3])).run()
