"""Connections to a database server that went bad: none is used again, and what was surely not done can be run again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from strongroom.config import Settings
from strongroom.db.engine import Database, Unanswered
from strongroom.db.failures import Interrupted
from strongroom.errors import Unavailable
from tests.conftest import settings_in

INSERT = text("INSERT INTO leases (name, holder, until) VALUES (:name, 'me', 1)")
KINDS: tuple[Callable[[Database], contextlib.AbstractContextManager[Connection]], ...] = (
    Database.read,
    Database.snapshot,
    Database.write,
)


@pytest.fixture(params=["postgresql", "mariadb"])
def server_settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """The settings of an empty store on each kind of server."""
    yield from settings_in(request, "template")


@pytest.fixture
def database(server_settings: Settings) -> Iterator[Database]:
    """A database whose pools are warm."""
    database = Database(server_settings.database_url)
    warm(database)
    yield database
    database.close()


@pytest.fixture
def operator(server_settings: Settings) -> Iterator[Database]:
    """Another one, which ends connections of the first."""
    database = Database(server_settings.database_url)
    yield database
    database.close()


def warm(database: Database) -> None:
    """Has several connections of each kind in the pools."""
    for kind in KINDS:
        with contextlib.ExitStack() as held:
            for connection in [held.enter_context(kind(database)) for _ in range(2)]:
                connection.execute(text("SELECT 1"))


def use(database: Database) -> None:
    """Uses several connections of each kind at once; fails if any of them is bad."""
    for kind in KINDS:
        with contextlib.ExitStack() as held:
            for connection in [held.enter_context(kind(database)) for _ in range(3)]:
                assert connection.execute(text("SELECT count(*) FROM audit_events")).scalar() == 0


def own_id(connection: Connection) -> int:
    """What the server calls this connection."""
    function = "pg_backend_pid()" if connection.dialect.name == "postgresql" else "connection_id()"
    return int(connection.execute(text(f"SELECT {function}")).scalar_one())


def end(operator: Database, *ids: int) -> None:
    """Has the server end connections; without ids all of the database but the operator's own."""
    with operator.read() as connection:
        if operator.dialect == "postgresql":
            chosen = f"pid IN ({','.join(map(str, ids))})" if ids else "datname = current_database()"
            connection.execute(
                text(f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {chosen}")
            )
            return
        if not ids:
            chosen = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
            ids = tuple(connection.execute(text(chosen)).scalars().all())
    for number in ids:
        with contextlib.suppress(Unavailable), operator.read() as connection:  # it may have ended meanwhile
            connection.execute(text(f"KILL {number}"))


def test_ended_connections_are_not_used(database: Database, operator: Database) -> None:
    """After the server has ended all connections that idled, no read, snapshot or write notices, however often."""
    for _ in range(3):
        end(operator)
        use(database)


def test_a_transaction_that_was_surely_not_done_says_so(database: Database, operator: Database) -> None:
    """A connection that is lost before the commit gives `Interrupted`; the next attempt is carried out."""

    def lose() -> None:
        with database.write() as connection:
            connection.execute(INSERT, {"name": "before"})
            end(operator, own_id(connection))
            connection.execute(INSERT, {"name": "after"})

    with pytest.raises(Interrupted):
        lose()
    with database.write() as connection:
        connection.execute(INSERT, {"name": "again"})
    with database.read() as connection:
        assert connection.execute(text("SELECT name FROM leases")).scalars().all() == ["again"]


def test_a_commit_without_an_answer_may_have_been_done(database: Database, operator: Database) -> None:
    """A connection that is lost at the commit gives `Unanswered`: to run it again might do it twice."""

    def lose() -> None:
        with database.write() as connection:
            connection.execute(INSERT, {"name": "perhaps"})
            end(operator, own_id(connection))

    with pytest.raises(Unanswered):
        lose()
    use(database)


def test_a_read_without_an_answer_says_so(database: Database, operator: Database) -> None:
    """A connection that is lost during a read gives `Unanswered`: whoever can makes the read again, and it succeeds."""

    def lose() -> None:
        with database.read() as connection:
            end(operator, own_id(connection))
            connection.execute(text("SELECT 1"))

    with pytest.raises(Unanswered):
        lose()
    use(database)


def test_a_bad_connection_condemns_those_that_are_older(database: Database, operator: Database) -> None:
    """When one connection is lost in use, none that was opened before is used again, of no kind."""
    before = set()
    for kind in KINDS:
        with kind(database) as connection:
            before.add(own_id(connection))

    def lose() -> None:
        with database.read() as connection:
            end(operator, own_id(connection))
            connection.execute(text("SELECT 1"))

    with pytest.raises(Unanswered):
        lose()
    for kind in KINDS:
        with kind(database) as connection:
            assert own_id(connection) not in before


@pytest.mark.parametrize("server_settings", ["postgresql"], indirect=True)
def test_a_session_that_may_only_read_is_not_kept(database: Database, operator: Database) -> None:
    """PostgreSQL decides when a session begins whether it may write: those of a read-only phase end with it, without an error."""
    name = operator.url.database
    with operator.read() as connection:
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    end(operator)
    for _ in range(3):
        use(database)
        with pytest.raises(Unavailable, match="read-only") as caught, database.write() as connection:
            connection.execute(INSERT, {"name": "refused"})
        assert not isinstance(caught.value, Interrupted), "a new connection would not help"
    with operator.read() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = off"))
    for number in range(5):
        with database.write() as connection:
            connection.execute(INSERT, {"name": f"done{number}"})


@pytest.mark.parametrize("server_settings", ["postgresql"], indirect=True)
def test_a_session_that_stopped_writing_is_given_up(database: Database) -> None:
    """Where the server does not tell beforehand, the first refusal condemns the connection: running it again does it."""
    with contextlib.suppress(Unavailable), database.write() as connection:
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))

    def lose() -> None:
        with database.write() as connection:
            connection.execute(text("SET TRANSACTION READ ONLY"))
            connection.execute(INSERT, {"name": "refused"})

    with pytest.raises(Interrupted):
        lose()
    with database.write() as connection:
        connection.execute(INSERT, {"name": "done"})


@pytest.mark.parametrize("server_settings", ["mariadb"], indirect=True)
def test_mariadb_that_takes_no_changes_says_so(database: Database) -> None:
    """A transaction that may only read is refused in plain words, and its connection is given up."""

    def lose() -> None:
        with database.write() as connection:
            connection.execute(text("ROLLBACK"))
            connection.execute(text("START TRANSACTION READ ONLY"))
            connection.execute(INSERT, {"name": "refused"})

    with pytest.raises(Interrupted):
        lose()
    with database.write() as connection:
        connection.execute(INSERT, {"name": "done"})


@pytest.mark.parametrize("server_settings", ["postgresql"], indirect=True)
def test_the_kernel_watches_connections(database: Database) -> None:
    """A peer that vanished is noticed by probes while a connection idles, and by what it does not acknowledge."""
    with database.read() as connection:
        raw = connection.connection.dbapi_connection
        assert raw is not None
        options = raw.info.get_parameters()
    assert (options["keepalives_idle"], options["keepalives_interval"], options["keepalives_count"]) == ("10", "5", "3")
    assert options["tcp_user_timeout"] == "10000"
