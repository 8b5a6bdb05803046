"""A database that ends its connections, or takes no changes for a while: clients notice once at most, and not afterwards."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from strongroom.config import Settings
from strongroom.db.engine import Database
from tests.callers import Caller
from tests.canary import CANARY
from tests.conftest import settings_in
from tests.processes import until
from tests.servers.strongroom import PASSWORD, StrongroomServer
from tests.unit.db.test_server_connections import end

CLIENTS = 6


@pytest.fixture(params=["postgresql", "mariadb"])
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of an empty store on each kind of server."""
    yield from settings_in(request, "template")


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[StrongroomServer]:
    """A server of two workers."""
    assert settings.encryption_key is not None
    variables = {
        "CONFIG_PATH": str(tmp_path / "server"),
        "DATABASE_URL": settings.database_url,
        "ENCRYPTION_KEY": settings.encryption_key,
        "ADMIN_USERNAME": "root",
        "ADMIN_PASSWORD": PASSWORD,
    }
    server = StrongroomServer(variables, "--workers", "2")
    yield server
    server.stop()


@pytest.fixture
def operator(settings: Settings) -> Iterator[Database]:
    """Whoever looks after the database."""
    database = Database(settings.database_url)
    yield database
    database.close()


class Clients:
    """Some of them, each with connections of its own, that do the same things again and again."""

    def __init__(self, server: StrongroomServer) -> None:
        with server.connections() as pool:
            admin = Caller(server, pool).log_in("root")
            self._ids = [admin.create(f"s{number}", {"k": CANARY})["id"] for number in range(CLIENTS)]
        self._server, self._token = server, admin.token
        self.statuses: list[list[int]] = [[] for _ in range(CLIENTS)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, calls: int) -> list[list[int]]:
        """What each client is told from now on, when all have made so many calls."""
        begun = [len(each) for each in self.statuses]
        until(lambda: all(len(each) >= count + calls for each, count in zip(self.statuses, begun, strict=True)))
        return [each[count:] for each, count in zip(self.statuses, begun, strict=True)]

    def _work(self, number: int) -> None:
        path, times = f"/secrets/{self._ids[number]}", 0
        with self._server.connections() as pool:
            caller = Caller(self._server, pool, self._token)
            while not self._stop.is_set():
                times += 1
                for method, at, fields in (
                    ("GET", path, None),
                    ("GET", "/secrets?size=10", None),
                    ("PATCH", path, {"description": str(times)}),
                    ("GET", "/audit?size=5", None),
                ):
                    self.statuses[number].append(caller.call(method, at, fields).status)


def test_ended_connections_cost_nobody_two_answers(server: StrongroomServer, operator: Database) -> None:
    """Under load the server ends all connections, again and again: no client is refused twice in a row, none when it is over."""
    with Clients(server) as clients:
        clients.go_on(4)
        for _ in range(8):
            end(operator)
            clients.go_on(5)
        assert {status for each in clients.go_on(8) for status in each} == {200}
    for each in clients.statuses:
        assert set(each) <= {200, 503}
        assert (503, 503) not in set(itertools.pairwise(each))


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_read_only_phase_leaves_nothing_behind(server: StrongroomServer, operator: Database) -> None:
    """While a database takes no changes nothing can be put on record; once it does again, no client is refused any more."""
    name = operator.url.database
    with Clients(server) as clients:
        clients.go_on(4)
        with operator.read() as connection:
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        end(operator)
        clients.go_on(2)
        assert {status for each in clients.go_on(8) for status in each} == {503}
        with operator.read() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = off"))
        clients.go_on(1)  # what was under way
        assert {status for each in clients.go_on(8) for status in each} == {200}
