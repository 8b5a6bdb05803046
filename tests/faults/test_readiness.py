"""`/readyz` tells what reads and writes would get: with a full disk, a database that takes no changes, is gone, or is locked."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from strongroom.config import Settings
from strongroom.db.engine import Database
from strongroom.errors import Unavailable
from tests.callers import Caller
from tests.canary import CANARY
from tests.conftest import settings_in
from tests.processes import until
from tests.servers import FragileServer
from tests.servers.strongroom import PASSWORD, StrongroomServer
from tests.unit.db.test_server_connections import end

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs limits of other processes")

BOUND_SECONDS = 3.0
"""Two, and what a busy machine adds."""


@dataclass
class Site:
    """A server with a secret, and the folder of its own."""

    server: StrongroomServer
    root: Caller
    path: str
    folder: Path

    def ready(self) -> tuple[int, dict[str, object]]:
        """What `/readyz` says, in bounded time."""
        began = time.monotonic()
        answer = self.root.call("GET", "/readyz", root="")
        assert time.monotonic() - began < BOUND_SECONDS
        return answer.status, {name: answer.data[name] for name in ("index", "reads", "writes")}

    def until_ready(self, status: int) -> dict[str, object]:
        """Waits until `/readyz` says so; gives what it says then."""
        answers: list[dict[str, object]] = []

        def is_so() -> bool:
            given, answer = self.ready()
            answers.append(answer)
            return given == status

        until(is_so, 30)
        return answers[-1]

    def read(self) -> int:
        """What a read gets."""
        return self.root.call("GET", self.path).status

    def write(self) -> int:
        """What a write gets."""
        return self.root.call("PATCH", self.path, {"description": str(time.monotonic())}).status

    def check_well(self) -> None:
        """After a fault, all is well again."""
        assert self.until_ready(200) == {"index": True, "reads": True, "writes": True}
        assert (self.read(), self.write()) == (200, 200)


@contextlib.contextmanager
def serving(folder: Path, settings: Settings | None = None, **more: str) -> Iterator[Site]:
    variables = {"CONFIG_PATH": str(folder / "server"), "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD, **more}
    if settings is not None:
        assert settings.encryption_key is not None
        variables |= {"DATABASE_URL": settings.database_url, "ENCRYPTION_KEY": settings.encryption_key}
    server = StrongroomServer(variables)
    try:
        with server.connections() as pool:
            root = Caller(server, pool).log_in("root")
            yield Site(server, root, f"/secrets/{root.create('s', {'k': CANARY})['id']}", folder / "server")
    finally:
        server.stop()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server on SQLite."""
    with serving(tmp_path) as site:
        yield site


@pytest.fixture(params=["postgresql", "mariadb"])
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of an empty store on each kind of server."""
    yield from settings_in(request, "template")


@contextlib.contextmanager
def full_disk(pid: int, size: int) -> Iterator[None]:
    """Meanwhile no file that the process writes may be longer than that."""
    former = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, former)


def test_a_full_disk(site: Site) -> None:
    """When nothing can be put on record, the server is not ready; when there is room again, it is."""
    (worker,) = site.server.workers()
    with full_disk(worker, 1):
        assert site.until_ready(503) == {"index": True, "reads": False, "writes": False}
        assert (site.read(), site.write()) == (503, 503)
    site.check_well()


def test_a_worker_that_starts_on_a_full_disk(site: Site) -> None:
    """It begins without a journal, and has one soon after there is room again."""
    (worker,) = site.server.workers()
    journals = site.folder / "strongroom.db-audit"
    with full_disk(site.server.process.pid, 1_000_000):
        os.kill(worker, signal.SIGKILL)
        until(lambda: site.server.workers() not in ([worker], []) and "there is no journal" in site.server.log)
        (worker,) = site.server.workers()
        assert not list(journals.glob("*.journal"))
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: len(list(journals.glob("*.journal"))) == 1)
    until(lambda: "there is a journal again" in site.server.log)
    site.check_well()


def test_an_audit_trail_that_cannot_be_written(site: Site) -> None:
    """An event that cannot be added makes writes impossible; reads go on while the journal takes their events."""
    with contextlib.closing(sqlite3.connect(site.folder / "strongroom.db", timeout=30)) as database:
        database.execute("ALTER TABLE audit_events RENAME TO away")
        database.commit()
        assert site.until_ready(503) == {"index": True, "reads": True, "writes": False}
        assert (site.read(), site.write()) == (200, 503)
        database.execute("ALTER TABLE away RENAME TO audit_events")
        database.commit()
    site.check_well()


def test_an_audit_trail_on_a_server_that_cannot_be_written(settings: Settings, tmp_path: Path) -> None:
    """There is no journal there: reads are refused, too."""
    operator = Database(settings.database_url)
    with serving(tmp_path, settings) as site:
        with operator.read() as connection:
            connection.execute(text("ALTER TABLE audit_outbox RENAME TO away"))
        assert site.until_ready(503) == {"index": True, "reads": False, "writes": False}
        assert (site.read(), site.write()) == (503, 503)
        with operator.read() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO audit_outbox"))
        site.check_well()
    operator.close()


def test_a_lock_of_another_on_sqlite(site: Site) -> None:
    """While another program holds the write lock, reads go on and writes wait: the server is not ready, and says so in time."""
    with contextlib.closing(sqlite3.connect(site.folder / "strongroom.db", timeout=30, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        assert site.until_ready(503) == {"index": True, "reads": True, "writes": False}
        assert site.read() == 200
        database.execute("ROLLBACK")
    site.check_well()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_gone(site: Site, replaced: bool) -> None:
    """A connection goes on with the file that it had: what is written there is lost, so the server is not ready."""
    file = site.folder / "strongroom.db"
    moved = file.rename(site.folder / "moved.db")
    if replaced:
        file.write_bytes(moved.read_bytes())
    assert site.until_ready(503)["index"] is False


def test_a_lock_of_another_on_a_server(settings: Settings, tmp_path: Path) -> None:
    """While another session holds the table of events, nothing can be put on record; afterwards all goes on."""
    operator = Database(settings.database_url)
    with serving(tmp_path, settings) as site:
        # The server may end this session, which holds a lock and does nothing.
        with contextlib.suppress(Unavailable), operator.write() as connection:
            lock = "TABLE audit_outbox IN EXCLUSIVE MODE" if operator.dialect == "postgresql" else "TABLES audit_outbox WRITE"
            connection.execute(text(f"LOCK {lock}"))
            assert site.until_ready(503) == {"index": True, "reads": False, "writes": False}
        site.check_well()
    operator.close()


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_postgresql_that_takes_no_changes(settings: Settings, tmp_path: Path) -> None:
    """Nothing can be put on record, so no read is answered either."""
    operator = Database(settings.database_url)

    def make_read_only(value: str) -> None:
        with operator.read() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            connection.execute(text(f"ALTER DATABASE {operator.url.database} SET default_transaction_read_only = {value}"))

    with serving(tmp_path, settings) as site:
        make_read_only("on")
        end(operator)
        assert site.until_ready(503) == {"index": True, "reads": False, "writes": False}
        assert (site.read(), site.write()) == (503, 503)
        make_read_only("off")
        site.check_well()
    operator.close()


def test_mariadb_that_takes_no_changes(key: str, tmp_path: Path) -> None:
    """The same on MariaDB, for a user who is none of its administrators."""
    from tests.servers.mariadb import MariaDBServer, find_mariadbd

    if find_mariadbd() is None:
        pytest.skip("mariadbd is not installed; with Debian: apt-get install mariadb-server")
    server = MariaDBServer(durable=True)
    try:
        server.create("strongroom")
        operator = Database(server.url("strongroom"))
        with operator.read() as connection:
            connection.execute(text("CREATE USER plain@localhost"))
            connection.execute(text("GRANT ALL ON strongroom.* TO plain@localhost"))
        url = server.url("strongroom").replace("root@", "plain@")
        with serving(tmp_path, DATABASE_URL=url, ENCRYPTION_KEY=key) as site:
            with operator.read() as connection:
                connection.execute(text("SET GLOBAL read_only = 1"))
            assert site.until_ready(503) == {"index": True, "reads": False, "writes": False}
            assert (site.read(), site.write()) == (503, 503)
            with operator.read() as connection:
                connection.execute(text("SET GLOBAL read_only = 0"))
            site.check_well()
        operator.close()
    finally:
        server.stop()


def test_a_database_that_is_down_or_hangs(key: str, tmp_path: Path) -> None:
    """PostgreSQL is stopped, then killed: not ready, in bounded time; ready again when it is back."""
    from tests.servers.postgresql import PostgreSQLServer

    server: FragileServer = PostgreSQLServer(durable=True)
    try:
        server.create("strongroom")
        with serving(tmp_path, DATABASE_URL=server.url("strongroom"), ENCRYPTION_KEY=key) as site:
            with server.paused():
                assert site.until_ready(503) == {"index": False, "reads": False, "writes": False}
            site.check_well()
            server.kill()
            assert site.until_ready(503) == {"index": False, "reads": False, "writes": False}
            server.start()
            site.check_well()
    finally:
        server.stop()


def test_many_who_ask_cost_little(site: Site) -> None:
    """However many ask at once, a round of trials is shared: the database sees a commit every few seconds."""

    def changes() -> int:
        return int(database.execute("PRAGMA data_version").fetchone()[0])

    site.check_well()
    with contextlib.closing(sqlite3.connect(site.folder / "strongroom.db", timeout=30)) as database:
        before, began = changes(), time.monotonic()
        seen = [before]
        with ThreadPoolExecutor(8) as pool:
            ask: Callable[[int], int] = lambda _: site.root.call("GET", "/readyz", root="").status  # noqa: E731
            for _ in range(20):
                assert set(pool.map(ask, range(50))) == {200}
                seen.append(changes())
        assert len(set(seen)) - 1 <= (time.monotonic() - began) / 3 + 2
