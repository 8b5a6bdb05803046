"""Schedules with real servers: strongroom with two workers, OpenBao, perhaps PostgreSQL, and lines that fail between them.

Threads of clients meet real processes, so a seed gives the same workload and the same faults again, though not to the microsecond.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import time_machine

from strongroom.client import Client
from strongroom.client.transports.remote import RemoteTransport
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.db.engine import Database
from strongroom.errors import JobFailed, StrongroomError
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.callers import Caller
from tests.canary import holds_canary
from tests.fakes.line import FaultyLine, Line
from tests.faults.schedules import ending
from tests.faults.schedules.checker import check
from tests.faults.schedules.history import History
from tests.faults.schedules.replicas import Replica, ReplicaFaults, choose_clock
from tests.faults.schedules.simulation import KEPT, Result
from tests.faults.schedules.surfaces import ByClient, InProcess, OverTheWire, Surface, Told
from tests.faults.schedules.workload import Board, Worker, look_at_everything, use_everything
from tests.people import Person
from tests.servers import FragileServer, is_running
from tests.servers.mariadb import MariaDBServer, find_mariadbd
from tests.servers.openbao import DurableOpenBaoServer
from tests.servers.pgbouncer import PgBouncer, find_pgbouncer
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.strongroom import PASSWORD, FragileStrongroom

LAYOUTS = {"openbao, database": (True, False), "database, openbao": (False, True), "two openbaos": (True, True)}
CLIENTS = 4
_PACE_SECONDS, _PATIENCE_SECONDS = 0.01, 0.1
_QUICK = ("", "not_found", "already_exists", "stale_version", "invalid", "nothing_to_change")
"""Whoever is told something else waits longer before the next call."""

_FAMILIES = ("SECRETS_STORE", "BACKUP_SECRETS_STORE")
_PAST_ALL_DEADLINES = 100
_ORDER_SECONDS = 240
_REPLACED_SECONDS, _GONE_SECONDS = 10, 2
"""What the guide promises of a worker that hangs, and of workers whose main process was killed."""


class Backends:
    """The servers behind strongroom, which many schedules share, each at a place of its own."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.openbao = DurableOpenBaoServer()
        self.postgresql = PostgreSQLServer(durable=True)
        self.mariadb = MariaDBServer(durable=True) if find_mariadbd() else None
        self.pooler = PgBouncer(self.postgresql.folder) if find_pgbouncer() else None

    def stop(self) -> None:
        """Ends them."""
        for each in (self.pooler, self.mariadb):
            if each is not None:
                each.stop()
        self.postgresql.stop()
        self.openbao.stop()


class RealSchedule:
    """One schedule. Used once."""

    def __init__(self, seed: int, backends: Backends, folder: Path, seconds: float, *, patient: bool = False) -> None:
        """`folder` is this schedule's own; the faults go on for so many seconds.

        A `patient` schedule waits afterwards until the running server has brought the stores in order, which may take minutes: a
        killed process has its lease for one. Others leave it to a server of a later time.
        """
        self._patient = patient
        self._rng, self._backends, self._seconds = random.Random(seed), backends, seconds
        layout = self._rng.choice(list(LAYOUTS))
        self._choose_database(backends)
        clock = choose_clock(self._rng)
        self._clock = clock if self._has_replica else None
        kind = f"index in {self._kind}"
        kind += ", behind PgBouncer" if self._pooler else ""
        kind += ", two replicas" if self._has_replica else ""
        kind += ", one with a wrong clock" if self._clock else ""
        self._stores = LAYOUTS[layout]
        self.result = Result(seed, kind)
        self._counts = self.result.counts
        self.history, self._board = History(), Board()
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._lines = {
            role: FaultyLine(backends.openbao.port) for role, there in zip(_FAMILIES, LAYOUTS[layout], strict=True) if there
        }
        self._variables = self._make_variables(seed, folder)
        self._client_settings = read_settings({f"{PREFIX}CONFIG_PATH": str(folder / "client")})
        self._pending: list[tuple[float, Callable[[], None]]] = []
        self._is_down: set[str] = set()
        self._hung: dict[int, float] = {}

    def _choose_database(self, backends: Backends) -> None:
        """The index's database, perhaps behind a pooler, and perhaps shared with a second server."""
        self._kind = self._rng.choice(["SQLite", "PostgreSQL", "PostgreSQL", "MariaDB"])
        if self._kind == "MariaDB" and backends.mariadb is None:
            self._kind = "PostgreSQL"
        self._database_server: FragileServer | None = {"PostgreSQL": backends.postgresql, "MariaDB": backends.mariadb}.get(self._kind)
        pooled, replica = self._rng.random() < 0.4, self._rng.random() < 0.6
        self._pooler = backends.pooler if pooled and self._kind == "PostgreSQL" else None
        self._has_replica = replica and self._database_server is not None
        self._replica: Replica | None = None

    @property
    def settings(self) -> Settings:
        """Those of the server."""
        return read_settings({f"{PREFIX}{name}": text for name, text in self._variables.items()})

    def run(self) -> Result:
        """Plays it."""
        variables = {**self._variables, "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
        if self._pooler is not None:
            variables["DATABASE_URL"] = self._pooler.url(self._database)
        self._server = FragileStrongroom(variables, "--workers", "2")
        log = ""
        try:
            if self._has_replica:
                assert self._database_server is not None
                self._replica = Replica(self._variables, self._database_server, self._database, self._clock)
            self._play()
            self._end()
        finally:
            self._stop.set()
            log = self._server.log
            self._server.stop()
            if self._replica is not None:
                log += self._replica.server.log
                self._replica.stop()
            for line in self._lines.values():
                line.stop()
        wrong = self.result.violations
        wrong += ["the canary is in the server's log"] if holds_canary(log) else []
        wrong += [f"the server's log has a traceback: {line}" for line in _ends_of_tracebacks(log)[:3]]
        return self.result

    def _make_variables(self, seed: int, folder: Path) -> dict[str, str]:
        openbao = self._backends.openbao
        variables = {
            "CONFIG_PATH": str(folder / "server"),
            "ENCRYPTION_KEY": self._backends.key,
            "DATABASE_TIMEOUT": "2",
            "KEEP_VERSIONS": str(KEPT),
        }
        for family in _FAMILIES:
            line = self._lines.get(family)
            variables[f"{family}_TYPE"] = "sql" if line is None else "vault"
            if line is not None:
                options = {
                    "TIMEOUT": "1",
                    "VAULT_ADDR": f"https://127.0.0.1:{line.port}",
                    "VAULT_TOKEN": openbao.admin.token,
                    "CA_CERT": str(openbao.ca_cert),
                    "PREFIX": f"{folder.name}-{family[0].lower()}",
                    "NAME": f"vault-{family.lower()}",
                }
                variables |= {f"{family}_{name}": text for name, text in options.items()}
        if self._database_server is not None:
            self._database = f"schedule_{seed}_{os.getpid()}"
            self._database_server.create(self._database)
            variables["DATABASE_URL"] = self._database_server.url(self._database)
            if self._pooler is not None:
                self._backends.postgresql.limit_idle_transactions(self._database)
        return variables

    def _play(self) -> None:
        with self._server.connections() as pool:
            token = Caller(self._server, pool).log_in("root").token
        assert token is not None
        self._token = token
        self._watched = Database(self.settings.database_url, 10)
        self._moves = ending.Moves(self._watched)
        threads = [
            threading.Thread(target=self._work, args=(number, token, random.Random(self._rng.random())), name=f"client{number}")
            for number in range(1, CLIENTS + 1)
        ]
        threads.append(threading.Thread(target=self._move, args=(token, random.Random(self._rng.random())), name="mover"))
        self._answered = dict.fromkeys(("/healthz", "/readyz"), time.monotonic())
        threads += [
            threading.Thread(target=self._listen, args=(server, path), name=f"listener{number}{path}")
            for number, server in enumerate(self._servers)
            for path in self._answered
        ]
        self._crashes: list[BaseException] = []
        for thread in threads:
            thread.start()
        try:
            self._disturb()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(120)
        self._watched.close()
        assert not any(thread.is_alive() for thread in threads), "a client does not come to an end"
        if self._crashes:
            raise self._crashes[0]

    def _work(self, number: int, token: str, rng: random.Random) -> None:
        worker = Worker(number, self.history, self._board, rng, self._counts)
        with self._surface(number, token) as surface, self._told():
            pace = _PACE_SECONDS
            while not self._stop.wait(rng.uniform(0, 2 * pace)):
                event = worker.act(surface)
                pace = _PACE_SECONDS if event.error in _QUICK else _PATIENCE_SECONDS

    @contextlib.contextmanager
    def _surface(self, number: int, token: str) -> Iterator[Surface]:
        server = self._servers[number // 2 % len(self._servers)]
        if number % 2:
            with self._client(token, server) as client:
                yield ByClient(client)
        else:
            with server.connections() as pool:
                yield OverTheWire(Caller(server, pool, token), index_may_be_silent=self._database_server is not None)

    @property
    def _servers(self) -> list[FragileStrongroom]:
        return [self._server] + ([] if self._replica is None else [self._replica.server])

    def _client(self, token: str, server: FragileStrongroom | None = None) -> Client:
        transport = RemoteTransport((server or self._server).url, lambda: SecretText(token), read_seconds=10)
        return Client.over(transport, self._client_settings)

    def _listen(self, server: FragileStrongroom, path: str) -> None:
        """Asks, again and again, whether the server is alive, or ready; notes the longest time in which no server said so."""
        while not self._stop.wait(0.05):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=3)
            answers = False
            with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", path)
                answers = connection.getresponse().status == 200
            with self._lock:
                silence = time.monotonic() - self._answered[path]
                excused = path == "/readyz" and self._is_nothing_to_serve
                if answers or excused:
                    self._answered[path] = time.monotonic()
                if answers and path == "/healthz":
                    self.result.silence = max(self.result.silence, silence)
                elif answers:
                    self.result.unready = max(self.result.unready, silence)

    @property
    def _is_nothing_to_serve(self) -> bool:
        """Whether the database or all stores are away."""
        away = all("openbao" in self._is_down or family in self._is_down for family in self._lines)
        return bool(self._is_down & {"database", "pooler"}) or (away and len(self._lines) == len(self._stores))

    def _move(self, token: str, rng: random.Random) -> None:
        stores = [f"vault-{family.lower()}" if family in self._lines else "sql" for family in _FAMILIES]
        with self._client(token) as client, self._told():
            while not self._stop.wait(rng.uniform(0.1, 1.5)):
                back, delete = rng.random() < 0.5, rng.random() < 0.6
                source, target = reversed(stores) if back else stores
                job = client.restore_secrets if back else client.backup_secrets
                with contextlib.suppress(StrongroomError):
                    self._moves.begin(target)
                    try:
                        report = job(delete_secrets=delete, ignore_errors=True)
                    except JobFailed:
                        continue
                    self._counts["jobs"] += 1
                    if delete:
                        self._moves.done(source, report.failures)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001 - the schedule fails by it
            self._crashes.append(error)

    def _disturb(self) -> None:
        end = time.monotonic() + self._seconds
        while (moment := time.monotonic()) < end:
            for due in [each for each in self._pending if each[0] <= moment]:
                self._pending.remove(due)
                due[1]()
            self._inject()
            if self._server.process.poll() is not None and "strongroom" not in self._is_down:
                self._server.begin()  # it refused to start, since nobody behind it answered
            if self._replica is not None and self._replica.server.process.poll() is not None and "replica" not in self._is_down:
                self._replica.server.begin()
            self._stop.wait(self._rng.uniform(0.05, 0.5))
        self._heal()

    def _later(self, what: str, undo: Callable[[], None], seconds: float) -> None:
        def end() -> None:
            self._is_down.discard(what)
            undo()

        self._is_down.add(what)
        self._pending.append((time.monotonic() + seconds, end))

    def _heal(self) -> None:
        for _, undo in self._pending:
            undo()
        self._pending.clear()
        for line in self._lines.values():
            line.set(Line.WELL)
        for pid, since in self._hung.items():
            if not self._ends(pid, since + _REPLACED_SECONDS):
                self.result.violations.append(f"a worker that hangs was not replaced within {_REPLACED_SECONDS} s")
        for server in self._servers:
            server.go_on()

    def _inject(self) -> None:
        """One fault, if what it is about is well at the moment. Each is over after some seconds at most."""
        rng = self._rng
        faults = [self._line_fault] * 5 + [self._all_lines] + [self._pause_openbao, self._kill_openbao]
        faults += [self._kill_worker, self._stop_worker, rng.choice([self._kill_server, self._kill_worker])]
        faults += [rng.choice([self._crash_loop, self._hang_worker, self._kill_main])]
        faults += [self._kill_database, self._pause_database] if self._database_server is not None else []
        faults += self._faults_of_replicas()
        if rng.random() < 0.7:
            rng.choice(faults)()

    def _faults_of_replicas(self) -> list[Callable[[], None]]:
        faults = ReplicaFaults(self._rng, self._counts, self._is_down, self._later, self._hung)
        chosen: list[Callable[[], None]] = []
        if (database := self._database_server) is not None:
            chosen.append(lambda: faults.stop_holder(self._server, "strongroom", database, self._database))
            if (replica := self._replica) is not None:
                stop = lambda: faults.stop_holder(replica.server, replica.name, database, self._database)  # noqa: E731
                chosen += [stop, stop, lambda: faults.kill(replica), lambda: faults.cut(replica), lambda: faults.cut(replica)]
        if (pooler := self._pooler) is not None:
            chosen.append(lambda: faults.kill_pooler(pooler))
        return chosen

    def _line_fault(self) -> None:
        self._fail(self._rng.choice(list(self._lines)))

    def _all_lines(self) -> None:
        for family in self._lines:
            self._fail(family)

    def _fail(self, family: str) -> None:
        fault = self._rng.choice([each for each in Line if each is not Line.WELL])
        seconds, after = self._rng.choice([0.02, 0.2, 1.5]), self._rng.randint(0, 6000)
        length = self._rng.uniform(0.2, 2.5)
        if family not in self._is_down:
            line = self._lines[family]
            line.set(fault, seconds=seconds, after_bytes=after)
            self._later(family, lambda: line.set(Line.WELL), length)
            self._counts["faults"] += 1
            self._counts[f"line {fault.name.lower()}"] += 1

    def _pause_openbao(self) -> None:
        if "openbao" not in self._is_down:
            held = contextlib.ExitStack()
            held.enter_context(self._backends.openbao.paused())
            self._later("openbao", held.close, self._rng.uniform(0.2, 2))
            self._counts["faults"] += 1
            self._counts["stops"] += 1

    def _kill_openbao(self) -> None:
        if "openbao" not in self._is_down:
            self._backends.openbao.kill()
            self._later("openbao", self._backends.openbao.start, self._rng.uniform(0.2, 1))
            self._counts["faults"] += 1
            self._counts["kills of openbao"] += 1

    def _kill_server(self) -> None:
        if "strongroom" not in self._is_down:
            self._server.kill()
            self._later("strongroom", self._server.begin, self._rng.uniform(0, 0.5))
            self._counts["kills"] += 1

    def _kill_worker(self) -> None:
        workers = self._server.workers() if "strongroom" not in self._is_down else []
        if workers:
            self._server.signal(signal.SIGKILL, [self._rng.choice(workers)])
            self._counts["kills"] += 1

    def _crash_loop(self) -> None:
        """One worker is killed, and so is each that takes its place, for a while."""
        workers = self._server.workers() if "strongroom" not in self._is_down else []
        if len(workers) > 1:
            staying = set(workers) - {self._rng.choice(workers)}

            def kill() -> None:
                if "strongroom" not in self._is_down:
                    self._server.signal(signal.SIGKILL, [pid for pid in self._server.workers() if pid not in staying])

            kill()
            begun = time.monotonic()
            self._pending += [(begun + after, kill) for after in (0.3, 0.7, 1.2, 2.0)]
            self._counts["crash loops"] += 1

    def _hang_worker(self) -> None:
        """One worker is stopped for good: the server has to notice."""
        workers = self._server.workers() if "strongroom" not in self._is_down else []
        if workers and not self._hung:
            chosen = self._rng.choice(workers)
            self._server.signal(signal.SIGSTOP, [chosen])
            self._hung[chosen] = time.monotonic()
            self._counts["hung workers"] += 1

    def _kill_main(self) -> None:
        """The main process alone is killed: its workers have to end by themselves, also one that is stopped."""
        if "strongroom" not in self._is_down:
            workers = self._server.workers()
            self._server.process.kill()
            self._server.process.wait(30)
            deadline = time.monotonic() + _GONE_SECONDS
            if not all(self._ends(pid, deadline) for pid in workers):
                self.result.violations.append(f"a worker outlived its main process for more than {_GONE_SECONDS} s")
            self._later("strongroom", self._server.begin, self._rng.uniform(0, 0.5))
            self._counts["killed main processes"] += 1

    @staticmethod
    def _ends(pid: int, deadline: float) -> bool:
        """Whether a process has ended by then."""
        while is_running(pid):
            if time.monotonic() > deadline:
                return False
            threading.Event().wait(0.02)
        return True

    def _stop_worker(self) -> None:
        workers = [each for each in self._server.workers() if each not in self._hung] if "strongroom" not in self._is_down else []
        if workers:
            chosen = self._rng.sample(workers, self._rng.randint(1, len(workers)))
            self._server.signal(signal.SIGSTOP, chosen)
            self._later("strongroom", lambda: self._server.signal(signal.SIGCONT, chosen), self._rng.uniform(0.2, 2))
            self._counts["stops"] += 1

    def _kill_database(self) -> None:
        if self._database_server is not None and "database" not in self._is_down:
            self._database_server.kill()
            self._later("database", self._database_server.start, self._rng.uniform(0.1, 0.5))
            self._counts["faults"] += 1
            self._counts["kills of the database"] += 1

    def _pause_database(self) -> None:
        if self._database_server is not None and "database" not in self._is_down:
            held = contextlib.ExitStack()
            held.enter_context(self._database_server.paused())
            self._later("database", held.close, self._rng.uniform(0.1, 1.5))
            self._counts["faults"] += 1

    def _wait_for_order(self) -> None:
        """Until `/info` tells that no store is behind, and that nothing is left to be deleted."""
        deadline = time.monotonic() + _ORDER_SECONDS
        with self._client(self._token) as client:
            while any(store.behind or store.to_delete for store in client.info().stores):
                assert time.monotonic() < deadline, "the server does not bring the stores in order"
                threading.Event().wait(0.5)
        self._counts["waited for order"] += 1

    def _end(self) -> None:
        """The server ends as an operator would end it; then the deployment is opened here, at a time when all deadlines are over."""
        if self._patient:
            self._wait_for_order()
        for server in self._servers:
            server.process.send_signal(signal.SIGTERM)
        for server in self._servers:
            server.process.wait(60)
        wrong = self.result.violations
        with time_machine.travel(time.time() + _PAST_ALL_DEADLINES, tick=True) as traveller:
            service = Service(self.settings)
            try:
                self._moves.use(service.deployment.database)
                self._moves.note()
                surface = InProcess(Person(service, service.local_actor))
                later = lambda: traveller.shift(_PAST_ALL_DEADLINES)  # noqa: E731
                wrong += ending.converge(service, later) + ending.compare(service) + self._moves.came_back()
                try:
                    look_at_everything(surface, self.history, self._counts)
                    wrong += ending.move_away(service, later)
                    shown = look_at_everything(surface, self.history, self._counts)
                    wrong += use_everything(surface, shown, self.history)
                except Told as told:
                    wrong.append(f"a secret that is listed cannot be read: {told.code}")
                wrong += ending.converge(service, later) + ending.compare(service) + ending.audit_is_whole(service)
                wrong += ending.unrecorded(service, self.history)
            finally:
                service.close()
        findings = check(self.history)
        self._counts["undecided"] += findings.undecided
        wrong += findings.violations


def _ends_of_tracebacks(log: str) -> list[str]:
    """The line that names the exception, of each traceback."""
    ends = [rest.partition("\n")[2].splitlines() for rest in log.split("Traceback (most recent call last)")[1:]]
    return [next((line for line in lines if not line.startswith(" ")), "")[:200] for lines in ends]
