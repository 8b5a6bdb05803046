"""Servers and databases that are killed under load: nothing that was acknowledged is lost, and clients go on by themselves."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait as wait_for_any
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.client.login import log_in
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.redaction import SecretText
from tests import children
from tests.canary import CANARY
from tests.processes import Child
from tests.servers import FragileServer
from tests.servers.strongroom import PASSWORD, StrongroomServer


class Load:
    """Client processes at work on a server, and everything that they were told."""

    def __init__(self, settings: Settings, clients: int = 3) -> None:
        self._clients = [Child(children.work_through_outages, settings, number, CANARY) for number in range(clients)]
        self.acknowledged: dict[str, str] = {}
        self.perhaps: dict[str, set[str]] = {}  # texts of writes that were not acknowledged
        self.errors: list[str] = []
        self.reads: Counter[str] = Counter()
        self._calls = 0

    def go_on(self, calls: int) -> None:
        """Lets each client on average make so many further calls that succeed."""
        wanted = self._calls + calls * len(self._clients)
        self.until(lambda: self._calls >= wanted)

    def until(self, condition: Callable[[], bool]) -> None:
        """Takes what the clients tell until something holds."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the clients do not go on"
            for connection in wait_for_any([client.connection for client in self._clients], 0.05):
                self._take(connection.recv())  # type: ignore[union-attr]

    def end(self) -> None:
        """Stops the clients when each has finished its call."""
        for client in self._clients:
            client.connection.send("end")
        for client in self._clients:
            for message in client.receive_all():
                self._take(message)
            client.end()

    def _take(self, message: tuple[str, str, str]) -> None:
        word, name, text = message
        if word == "begin":
            self.perhaps.setdefault(name, set()).add(text)
        elif word == "done":
            self.acknowledged[name], self.perhaps[name] = text, set()
            self._calls += 1
        elif word == "read":
            assert text == self.acknowledged[name], f"{name} went back in time"
            self.reads[name] += 1
            self._calls += 1
        else:
            self.errors.append(word)

    def check(self, settings: Settings) -> None:
        """Every secret holds what was acknowledged last, or what was sent after that without an answer."""
        with Client(settings) as client:
            found = {secret.name: client.get_secret(secret.id).secret_values["k"] for secret in client.list_secrets(size=1000)}
        for name, text in self.acknowledged.items():
            assert found[name] in {text, *self.perhaps[name]}


@pytest.fixture
def outage_settings(tmp_path: Path) -> Settings:
    """The settings of the clients."""
    return read_settings({f"{PREFIX}CONFIG_PATH": str(tmp_path / "client")})


@contextlib.contextmanager
def serving(database: FragileServer | None, key: str, folder: Path, client: Settings, **variables: str) -> Iterator[StrongroomServer]:
    """A server of two workers on a database of its own (None: its SQLite file), to which the client is logged in."""
    if database is not None:
        database.create("strongroom")
        variables = {"DATABASE_URL": database.url("strongroom"), **variables}
    variables = {
        "CONFIG_PATH": str(folder / "server"),
        "ENCRYPTION_KEY": key,
        "ADMIN_USERNAME": "root",
        "ADMIN_PASSWORD": PASSWORD,
        **variables,
    }
    server = StrongroomServer(variables, "--workers", "2")
    try:
        log_in(client, server.url, "root", SecretText(PASSWORD))
        yield server
    finally:
        unexpected = [line for line in server.log.splitlines() if "Traceback" in line or '"failed"' in line]
        server.stop()
        assert unexpected == []


@pytest.fixture
def fragile(request: pytest.FixtureRequest) -> Iterator[FragileServer]:
    """A database server of this test's own, which keeps what it has acknowledged when it is killed."""
    server: Any
    if getattr(request, "param", "postgresql") == "mariadb":
        from tests.servers.mariadb import MariaDBServer, find_mariadbd

        if find_mariadbd() is None:
            pytest.skip("mariadbd is not installed; with Debian: apt-get install mariadb-server")
        server = MariaDBServer(durable=True)
    else:
        from tests.servers.postgresql import PostgreSQLServer

        server = PostgreSQLServer(durable=True)
    try:
        yield server
    finally:
        server.stop()


def test_a_killed_worker_is_replaced(fragile: FragileServer, key: str, tmp_path: Path, outage_settings: Settings) -> None:
    """Under load a worker is killed: another takes its place, reads never fail, nothing acknowledged is lost."""
    with serving(fragile, key, tmp_path, outage_settings) as server:
        load = Load(outage_settings)
        load.go_on(10)
        before = server.workers()
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        load.until(lambda: len(server.workers()) == 2 and before[0] not in server.workers())
        load.go_on(20)
        load.end()
        assert server.process.poll() is None
        assert set(load.errors) <= {"unavailable", "under_way"}
        load.check(outage_settings)


def test_a_server_that_replaces_a_worker_can_be_ended(key: str, tmp_path: Path, outage_settings: Settings) -> None:
    """The new worker has hardly begun and has no handlers of its own: the server ends all the same, and does not wait for it."""
    with serving(None, key, tmp_path, outage_settings) as server:
        before = server.workers()
        os.kill(before[0], signal.SIGKILL)
        while len(server.workers()) < 2 or before[0] in server.workers():
            assert server.process.poll() is None


def test_what_killed_workers_did_is_on_record(key: str, tmp_path: Path, outage_settings: Settings) -> None:
    """Workers on SQLite are killed again and again: nothing acknowledged is lost; a change is there with its event or not at all.

    A value that a client got is on record.
    """
    with serving(None, key, tmp_path, outage_settings) as server:
        load = Load(outage_settings)
        for _ in range(6):
            load.go_on(5)
            killed = server.workers()[0]
            os.kill(killed, signal.SIGKILL)
            load.until(lambda: len(set(server.workers()) - {killed}) == 2)  # noqa: B023 - it is called here
        load.go_on(10)
        load.end()
        assert set(load.errors) <= {"unavailable", "under_way", "unread: unavailable"}
        load.check(outage_settings)
        assert load.reads.total() > 0
        with Client(outage_settings) as client:
            assert client.verify_audit().valid
            for secret in client.list_secrets(size=1000):
                events = client.list_audit_events(target_id=secret.id, outcome="ok", size=1000)
                changes = {event.version for event in events if event.operation in ("secret.create", "secret.update")}
                assert changes == set(range(1, secret.version + 1))
                reads = [event for event in events if event.operation in ("secret.get", "secret.get-by-name")]
                assert len(reads) >= load.reads[secret.name]


@pytest.mark.parametrize("fragile", ["postgresql", "mariadb"], indirect=True)
def test_a_killed_database_is_survived(fragile: FragileServer, key: str, tmp_path: Path, outage_settings: Settings) -> None:
    """Under load the database is killed and started again: both workers go on, clients too, nothing acknowledged is lost."""
    with serving(fragile, key, tmp_path, outage_settings) as server:
        load = Load(outage_settings)
        load.go_on(10)
        before = server.workers()
        fragile.kill()
        load.until(lambda: len(load.errors) >= 2)
        fragile.start()
        load.go_on(20)
        told = load.errors.count("unavailable")
        load.go_on(20)
        load.end()
        assert load.errors.count("unavailable") == told, "a worker is left with broken connections"
        assert sorted(server.workers()) == sorted(before)
        assert set(load.errors) <= {"unavailable", "under_way", "unread: unavailable"}
        load.check(outage_settings)


@pytest.mark.parametrize("fragile", ["postgresql", "mariadb"], indirect=True)
def test_a_database_that_hangs_stops_nobody_else(fragile: FragileServer, key: str, tmp_path: Path, outage_settings: Settings) -> None:
    """While the database hangs both workers say that they are alive, and refuse the rest in bounded time; then they go on."""
    with serving(fragile, key, tmp_path, outage_settings, DATABASE_TIMEOUT="3") as server:
        load = Load(outage_settings)
        load.go_on(10)
        before = server.workers()
        with fragile.paused():
            load.until(lambda: len(load.errors) >= 2)
            for path, status in [("/healthz", 200), ("/readyz", 503), ("/api/v1/me", 503)] * 6:
                began = time.monotonic()
                assert ask(server.port, path) == status
                assert time.monotonic() - began < 5  # the first one of a worker finds out; nobody waits for the statement's own limit
            assert fastest(lambda: ask(server.port, "/api/v1/me")) < 0.5
        load.go_on(20)
        told = load.errors.count("unavailable")
        load.go_on(20)
        load.end()
        assert load.errors.count("unavailable") == told
        assert sorted(server.workers()) == sorted(before)
        assert set(load.errors) <= {"unavailable", "under_way", "unread: unavailable"}
        load.check(outage_settings)


def test_a_worker_that_starts_without_a_database_waits_for_it(
    fragile: FragileServer, key: str, tmp_path: Path, outage_settings: Settings
) -> None:
    """A worker that is killed while the database is down is replaced by one that works once it is back; the server never ends."""
    with serving(fragile, key, tmp_path, outage_settings) as server:
        with Client(outage_settings) as client:
            client.create_secret("s", {"k": CANARY})
            fragile.kill()
            before = server.workers()
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            _until(lambda: len(set(server.workers()) - set(before)) == 2)
            _until(lambda: server.log.count('"waiting"') >= 2)
            fragile.start()
            _until(lambda: ask(server.port, "/readyz") == 200)
            assert client.get_secret("s").secret_values == {"k": CANARY}
        assert server.process.poll() is None


def test_workers_end_with_the_main_process(tmp_path: Path) -> None:
    """When the main process is killed its workers end too: nobody is left behind at the port, and the server can start again."""
    variables = {"CONFIG_PATH": str(tmp_path / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD}
    server = StrongroomServer(variables, "--workers", "2")
    try:
        workers = server.workers()
        assert len(workers) == 2
        server.process.kill()
        server.process.wait(30)
        _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=30)
    finally:
        server.stop()


def ask(port: int, path: str) -> int:
    """The status of an answer on a connection of its own, which may be any worker's; 0 without one."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer srs_x\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(request.encode())
            return int(connection.recv(100)[9:12] or b"0")
    except ConnectionError:
        return 0


def fastest(call: Callable[[], object]) -> float:
    """How long the fastest of some calls takes."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        call()
        times.append(time.monotonic() - began)
    return min(times)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        select.select([], [], [], 0.02)
