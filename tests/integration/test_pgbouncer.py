"""A server whose PostgreSQL is behind PgBouncer in transaction mode, where sessions keep neither settings nor prepared statements."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg
import pytest

from strongroom.auth.actor import Actor
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.db.engine import Database
from strongroom.db.schema import is_current, upgrade
from strongroom.server.database_watch import DatabaseWatch
from strongroom.server.log import open_log
from strongroom.service.wiring import Service
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.people import Person, add_person
from tests.processes import Child, until
from tests.servers.pgbouncer import PgBouncer, find_pgbouncer
from tests.servers.postgresql import PostgreSQLServer
from tests.servers.strongroom import PASSWORD, StrongroomServer

CLIENTS, ROUNDS = 8, 12
BOUND_SECONDS = 8
"""What others may wait for a stalled transaction on a busy machine; the watch looks once a second for what stalled for two."""


@pytest.fixture
def pooler(postgresql: PostgreSQLServer) -> Iterator[PgBouncer]:
    """A pooler in front of PostgreSQL."""
    if find_pgbouncer() is None:
        pytest.skip("pgbouncer is not installed; with Debian: apt-get install pgbouncer")
    pooler = PgBouncer(postgresql.folder)
    yield pooler
    pooler.stop()


@pytest.fixture
def database(postgresql: PostgreSQLServer) -> Iterator[str]:
    """The name of an empty database."""
    name = f"pooled_{os.getpid()}_{time.monotonic_ns()}"
    postgresql.create(name)
    yield name
    postgresql.drop(name)


@pytest.fixture
def settings(pooler: PgBouncer, database: str, key: str, tmp_path: Path) -> Settings:
    """The settings of a deployment behind the pooler."""
    variables = {"CONFIG_PATH": str(tmp_path / "server"), "DATABASE_URL": pooler.url(database), "ENCRYPTION_KEY": key}
    return read_settings({f"{PREFIX}{name}": text for name, text in variables.items()})


@pytest.fixture
def server(settings: Settings) -> Iterator[StrongroomServer]:
    """A server of two workers behind it."""
    assert settings.encryption_key is not None
    server = StrongroomServer(
        {
            "CONFIG_PATH": str(settings.folder),
            "DATABASE_URL": settings.database_url,
            "ENCRYPTION_KEY": settings.encryption_key,
            "ADMIN_USERNAME": "root",
            "ADMIN_PASSWORD": PASSWORD,
        },
        "--workers",
        "2",
    )
    yield server
    log = server.log
    server.stop()
    assert not holds_canary(log)
    assert "Traceback" not in log, log


def _log_in(server: StrongroomServer) -> Caller:
    return Caller(server, server.connections()).log_in("root")


def _work(server: StrongroomServer, token: str | None, number: int) -> None:
    """Each kind of call, several times; all succeed and agree."""
    with server.connections() as pool:
        caller = Caller(server, pool, token)
        secret = caller.create(f"s{number}", {"k": f"{CANARY}-0"})["id"]
        for count in range(1, ROUNDS):
            value = f"{CANARY}-{count}"
            assert caller.call("PATCH", f"/secrets/{secret}", {"values": {"k": value}}).status == 200
            answer = caller.call("GET", f"/secrets/{secret}")
            assert answer.status == 200
            assert answer.data["values"] == {"k": value}
            assert caller.call("GET", "/secrets?size=5").status == 200
            assert caller.call("GET", "/audit?size=5").status == 200


def test_many_calls_at_once(server: StrongroomServer) -> None:
    """More clients than the pooler has sessions: each call succeeds, and the audit trail verifies."""
    token = _log_in(server).token
    with ThreadPoolExecutor(CLIENTS) as pool:
        for each in [pool.submit(_work, server, token, number) for number in range(CLIENTS)]:
            each.result()
    report = _log_in(server).call("POST", "/audit/verify", {})
    assert (report.status, report.data["valid"], report.data.get("problems")) == (200, True, [])
    assert report.data["events"] > CLIENTS * ROUNDS


def test_a_pooler_that_restarts(server: StrongroomServer, pooler: PgBouncer) -> None:
    """While it is away calls get 503; as soon as it is back, each succeeds, and what was acknowledged is there."""
    caller = _log_in(server)
    secret = caller.create("s", {"k": f"{CANARY}-1"})["id"]
    for _ in range(2):
        pooler.kill()
        assert caller.call("GET", f"/secrets/{secret}").status == 503
        pooler.start()
        until(lambda: caller.call("GET", "/readyz", root="").status == 200)
        for count in range(10):
            assert caller.call("GET", f"/secrets/{secret}").status == 200
            assert caller.call("PATCH", f"/secrets/{secret}", {"values": {"k": f"{CANARY}-{count}"}}).status in (200, 400)
    assert caller.call("POST", "/audit/verify", {}).data["valid"]


def test_upgrades_through_a_pooler(settings: Settings, database: str, postgresql: PostgreSQLServer) -> None:
    """Processes that start together upgrade an empty database, whatever limits the role has, and prepare nothing that stays."""
    with psycopg.connect(f"host={postgresql.folder} user=postgres dbname=postgres", autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {database} SET statement_timeout = '1s'")
        admin.execute(f"ALTER DATABASE {database} SET idle_in_transaction_session_timeout = '1s'")
    starting = [Child(_upgrades, settings.database_url) for _ in range(4)]
    try:
        assert [each.receive() for each in starting] == [True] * 4
    finally:
        for each in starting:
            each.end()
    pooled = Database(settings.database_url)
    with pooled.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one() == 0
    pooled.close()


def _upgrades(report: Connection, url: str) -> None:
    database = Database(url, 10)
    upgrade(database, lambda connection: threading.Event().wait(1.5))  # longer than the role may idle
    report.send(is_current(database))
    database.close()


def _stops(report: Connection, settings: Settings, actor: Actor, secret_id: str) -> None:
    """Updates a secret, and stops itself before the commit."""
    service = Service(settings)

    def change(connection: object, _: object) -> None:
        report.send("stopped")
        os.kill(os.getpid(), signal.SIGSTOP)

    service.dispatcher._trail.add = change  # type: ignore[method-assign, assignment]
    Person(service, actor).update(secret_id, {"k": f"{CANARY}-lost"})


def test_a_stalled_transaction_is_ended(settings: Settings) -> None:
    """A process that stops before its commit holds a secret: others wait for some seconds at most, and its change is undone."""
    service = Service(settings)
    watch = DatabaseWatch(service.deployment.database, open_log())
    try:
        person = add_person(service, "alice")
        secret = person.create("s", {"k": f"{CANARY}-1"})
        child = Child(_stops, settings, person.actor, secret.id)
        try:
            assert child.receive() == "stopped"
            begun = time.monotonic()
            person.update(secret.id, {"k": f"{CANARY}-2"})
            assert time.monotonic() - begun < BOUND_SECONDS
            assert person.get(secret.id).version == 2
        finally:
            child.kill()
            child.end()
    finally:
        watch.close()
        service.close()
