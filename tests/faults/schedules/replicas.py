"""What real schedules do to replicas that share a database, and to what is between them and it."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial

from tests.fakes.line import FaultyLine, Line
from tests.servers import FragileServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.strongroom import FragileStrongroom

Later = Callable[[str, Callable[[], None], float], None]
_LOOKS = 30
_OUT_OF_TURN = (-3600, -90, 90, 3600)
"""By how many seconds the clock of a replica may be wrong."""


class Replica:
    """A second server, with a line of its own to the database, and perhaps a wrong clock."""

    name = "replica"

    def __init__(self, variables: Mapping[str, str], database: FragileServer, name: str, clock: int | None) -> None:
        self.line = FaultyLine(database.socket)
        program = ("-m", "tests.fakes.wrong_clock", str(clock)) if clock else ("-m", "strongroom")
        own = {"DATABASE_URL": database.url_at(self.line.port, name)}
        self.server = FragileStrongroom({**variables, **own}, "--workers", "1", program=program)

    def stop(self) -> None:
        """Ends both."""
        self.server.stop()
        self.line.stop()


def choose_clock(rng: random.Random) -> int | None:
    """By how much it is wrong, for every second replica."""
    wrong, offset = rng.random() < 0.5, rng.choice(_OUT_OF_TURN)
    return offset if wrong else None


class ReplicaFaults:
    """Injects what can happen to a replica. `later` undoes it after some seconds."""

    def __init__(self, rng: random.Random, counts: Counter[str], is_down: set[str], later: Later, hung: Collection[int]) -> None:
        """Processes that are `hung` stay so."""
        self._rng, self._counts, self._is_down, self._later, self._hung = rng, counts, is_down, later, hung

    def stop_holder(self, server: FragileStrongroom, name: str, database: FragileServer, schema: str) -> None:
        """Stops a server while it has a transaction open, for longer than others may have to wait.

        Of a replica all processes, as with a paused machine; else the workers, whom the main process may replace.
        """
        if {name, "database"} & self._is_down or server.process.poll() is not None:
            return
        for _ in range(_LOOKS):
            pids = [each for each in server.workers() if each not in self._hung] + (
                [server.process.pid] if name == Replica.name else []
            )
            server.signal(signal.SIGSTOP, pids)
            threading.Event().wait(0.03)  # what other servers have open has ended by then
            if database.open_transactions(schema):
                self._counts["stops of holders"] += 1
                self._later(name, partial(server.signal, signal.SIGCONT, pids), self._rng.uniform(3, 7))
                return
            server.signal(signal.SIGCONT, pids)
            threading.Event().wait(self._rng.uniform(0.001, 0.02))

    def kill(self, replica: Replica) -> None:
        """SIGKILL for all processes of the replica."""
        if replica.name not in self._is_down:
            replica.server.kill()
            self._later(replica.name, replica.server.begin, self._rng.uniform(0, 0.5))
            self._counts["kills"] += 1

    def cut(self, replica: Replica) -> None:
        """The line between the replica and its database fails, mostly by swallowing everything."""
        fault = self._rng.choice([Line.BLACK_HOLE, Line.BLACK_HOLE, Line.RESETS, Line.CUT, Line.SLOW])
        if "replica's line" not in self._is_down:
            replica.line.set(fault, seconds=0.2, after_bytes=self._rng.randint(0, 6000))
            self._later("replica's line", lambda: replica.line.set(Line.WELL), self._rng.uniform(1, 5))
            self._counts["black holes"] += fault is Line.BLACK_HOLE
            self._counts["faults"] += 1

    def kill_pooler(self, pooler: PgBouncer) -> None:
        """SIGKILL of PgBouncer."""
        if "pooler" not in self._is_down:
            pooler.kill()
            self._later("pooler", pooler.start, self._rng.uniform(0.1, 1))
            self._counts["kills of the pooler"] += 1
