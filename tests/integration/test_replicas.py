"""Two replicas of a server on one PostgreSQL, behind a balancer."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from strongroom.client import Client
from strongroom.client.login_state import LoginState, write_login
from strongroom.config import PREFIX, Settings, read_settings
from strongroom.db.engine import Database
from strongroom.db.schema import HEAD
from strongroom.errors import StrongroomError
from strongroom.redaction import SecretText
from tests.callers import Caller
from tests.canary import CANARY, holds_canary
from tests.fakes.balancer import Balancer
from tests.fakes.folder_store import folder_variables, python_path
from tests.servers.strongroom import PASSWORD, StrongroomServer

PER_SECOND = 200
CLIENTS = 4
SECRETS = 20


class Replicas:
    """Replicas with the same settings, each a process of its own."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        self.servers: list[StrongroomServer] = []
        self.balancer = Balancer()

    def start(self, count: int) -> None:
        """Starts so many at the same moment; returns when all are ready."""
        with ThreadPoolExecutor(count) as pool:
            self.servers += [each.result() for each in [pool.submit(StrongroomServer, self._variables) for _ in range(count)]]
        self._balance()

    def roll(self) -> None:
        """As an orchestrator does: a new one is ready before an old one gets no more connections and is then ended."""
        for old in list(self.servers):
            self.servers.append(StrongroomServer(self._variables))
            self.servers.remove(old)
            self._balance()
            end(old)

    def callers(self) -> list[Caller]:
        """Somebody with no token, at each replica."""
        return [Caller(each, each.connections()) for each in self.servers]

    def stop(self) -> None:
        """Ends all."""
        for each in self.servers:
            end(each)
        self.balancer.stop()

    def _balance(self) -> None:
        self.balancer.ports = [each.port for each in self.servers]


def end(server: StrongroomServer) -> None:
    """As an operator would. Nothing has leaked or crashed."""
    log = server.log
    server.stop()
    assert not holds_canary(log)
    assert "Traceback" not in log, log


def variables_of(settings: Settings) -> dict[str, str]:
    """Those of a replica."""
    assert settings.encryption_key is not None
    return {
        "DATABASE_URL": settings.database_url,
        "ENCRYPTION_KEY": settings.encryption_key,
        "ADMIN_USERNAME": "default",
        "ADMIN_PASSWORD": PASSWORD,
    }


@pytest.fixture
def replicas(new_postgresql_settings: Settings) -> Iterator[Replicas]:
    """Two that were started at once, on an empty database."""
    replicas = Replicas(variables_of(new_postgresql_settings))
    try:
        replicas.start(2)
        yield replicas
    finally:
        replicas.stop()


def test_a_first_start_of_both_at_once(replicas: Replicas, new_postgresql_settings: Settings) -> None:
    """One makes the database, the other one waits for it: one deployment, one administrator, and both let them in."""
    database = Database(new_postgresql_settings.database_url)
    try:
        with database.read() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]
            assert connection.execute(text("SELECT count(*) FROM deployment")).scalar_one() == 1
            assert connection.execute(text("SELECT count(*) FROM users WHERE name = 'default'")).scalar_one() == 1
    finally:
        database.close()
    infos = [each.log_in("default").call("GET", "/info").data for each in replicas.callers()]
    assert infos[0] == infos[1]


def test_a_revoked_token_is_dead_everywhere_at_once(replicas: Replicas) -> None:
    """An API key that is deleted at one replica, and a login that ends there, are refused by the other one in the next request."""
    one, other = replicas.callers()
    admin = one.log_in("default")
    assert admin.call("POST", "/service-accounts", {"name": "ci", "role": "reader"}).status == 201

    def used(token: str) -> list[int]:
        callers = (Caller(each.server, each.pool, token) for each in (other, one))
        return [each.call("GET", "/secrets").status for each in callers]

    for number in range(10):
        made = admin.call("POST", "/service-accounts/ci/api-keys", {"name": f"k{number}"})
        assert made.status == 201, made.body
        key = made.data["key"]
        assert used(key) == [200, 200]
        assert admin.call("DELETE", f"/service-accounts/ci/api-keys/k{number}").status == 204
        assert used(key) == [401, 401]
    user = other.log_in("default")
    assert user.token is not None
    assert used(user.token) == [200, 200]
    assert user.call("POST", "/logout").status == 204
    assert used(user.token) == [401, 401]


def test_one_reconciler_at_a_time(
    new_postgresql_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    allow_values_in: Callable[[Path], Path],
    tmp_path: Path,
) -> None:
    """One replica makes the stores follow the index, and the other one takes over when it ends."""
    monkeypatch.setenv("PYTHONPATH", python_path())
    stores = folder_variables(allow_values_in(tmp_path / "values"), "BACKUP_SECRETS_STORE")
    replicas = Replicas(variables_of(new_postgresql_settings) | {"SECRETS_STORE_TYPE": "sql"} | stores)

    def busy() -> list[StrongroomServer]:
        """Those that have measured how far the stores are behind, which is what a reconciler does."""
        callers = replicas.callers()
        return [each.server for each in callers if b"strongroom_store_behind{" in each.call("GET", "/metrics", root="").body]

    try:
        replicas.start(2)
        first = wait_for(busy)
        assert len(first) == 1
        admin = replicas.callers()[0].log_in("default")
        admin.create("s", {"k": CANARY})
        assert busy() == first
        replicas.servers.remove(first[0])
        end(first[0])
        replicas.start(1)
        second = wait_for(busy)
        assert len(second) == 1
        assert second[0] in replicas.servers
    finally:
        replicas.stop()


def wait_for(found: Callable[[], list[StrongroomServer]]) -> list[StrongroomServer]:
    """What is found as soon as there is anything."""
    deadline = time.monotonic() + 40  # less than a lease lasts: whoever ends gives it back
    while not (result := found()):
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)
    return result


class Work:
    """Clients that read, write and list at a steady pace, each through connections of its own, until told to end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ended = threading.Event()
        self._numbers = itertools.count()
        self.done = 0
        self.slowest = 0.0
        self.failures: list[str] = []
        self._lock = threading.Lock()

    def run(self, client_number: int) -> None:
        """Works as one client."""
        with Client(self._settings) as client:
            client.create_secret(f"own{client_number}", {"n": "0"})
            begun, number = time.perf_counter(), 0
            while not self._ended.wait(max(0.0, begun + number * CLIENTS / PER_SECOND - time.perf_counter())):
                number += 1
                self._call(client, client_number, number)

    def end(self) -> None:
        """No more calls."""
        self._ended.set()

    def _call(self, client: Client, client_number: int, number: int) -> None:
        asked = time.perf_counter()
        try:
            if number % 20 == 0:
                client.update_secret(f"own{client_number}", add_or_update_values={"n": str(number)})
                assert client.get_secret(f"own{client_number}").secret_values == {"n": str(number)}
            elif number % 20 == 10:
                assert client.list_secrets(size=5).total >= SECRETS
            else:
                name = number % SECRETS
                assert client.get_secret(f"s{name}").secret_values == {"k": f"{CANARY}-{name}"}
        except (StrongroomError, AssertionError) as error:
            with self._lock:
                self.failures.append(f"{type(error).__name__}: {error}")
        with self._lock:
            self.done += 1
            self.slowest = max(self.slowest, time.perf_counter() - asked)


def test_a_rolling_restart_fails_nobody(replicas: Replicas, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """All replicas are replaced while clients make about 200 requests a second: none fails, and what was written is read."""
    settings = read_settings({f"{PREFIX}CONFIG_PATH": str(tmp_path / "client")})
    token = replicas.callers()[0].log_in("default").token
    assert token is not None
    write_login(settings, LoginState(url=replicas.balancer.url, token=SecretText(token), username="default"))
    with Client(settings) as client:
        for number in range(SECRETS):
            client.create_secret(f"s{number}", {"k": f"{CANARY}-{number}"})
    work = Work(settings)
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(work.run, number) for number in range(CLIENTS)]
        begun = time.perf_counter()
        try:
            for _ in range(2):
                replicas.roll()
        finally:
            work.end()
        seconds = time.perf_counter() - begun
        for each in working:
            each.result()
    assert work.failures == []
    record_property("requests", work.done)
    record_property("requests per second", round(work.done / seconds))
    record_property("slowest in milliseconds", round(work.slowest * 1000))
    assert work.done >= PER_SECOND
