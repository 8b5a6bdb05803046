"""The database connection."""

from __future__ import annotations

import os
import sqlite3
import stat
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, update

from strongroom.config import Settings, read_settings
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database, OthersWrite
from strongroom.db.identifiers import new_id
from strongroom.db.sqlite import MOST_REMEMBERED
from strongroom.db.tables import users
from strongroom.errors import ConfigurationError, MissingExtra, Unavailable
from strongroom.service.wiring import Service
from tests import children
from tests.canary import CANARY, holds_canary
from tests.processes import run_together


def _user(name: str) -> dict[str, object]:
    return {"id": new_id(), "name": name, "admin": False, "created": now()}


def test_sqlite_is_durable_and_strict(local_service: Service) -> None:
    """Every connection has WAL, full syncs, foreign keys, secure deletion and a long patience."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 30_000}
    database = local_service.deployment.database
    with database.read() as one, database.snapshot() as two:
        for connection in (one, two):
            assert {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted} == wanted


def test_a_new_database_is_private(tmp_path: Path) -> None:
    """The folder is made with mode 0700, the file and its side files with 0600, whatever the umask."""
    former = os.umask(0)
    try:
        database = Database(f"sqlite:///{tmp_path / 'a' / 'b' / 'file.db'}")
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x)")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a" / "b").iterdir()}
        database.close()
    finally:
        os.umask(former)
    assert modes == {"file.db": 0o600, "file.db-wal": 0o600, "file.db-shm": 0o600, "file.db-turn": 0o600}
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["what?x=1", "50%41", "a#b", "ü ö", "a&b=c"])
def test_any_folder_name_works(tmp_path: Path, name: str) -> None:
    """The database lies in the named folder, also where the name means something in URLs."""
    folder = tmp_path / name
    settings = read_settings({"STRONGROOM_CONFIG_PATH": str(folder)})
    Service(settings).close()
    names = {path.name for path in folder.iterdir() if path.suffix != ".anchor"}  # which is the audit trail's
    assert names == {"encryption.key", "strongroom.db", "strongroom.db-turn"}
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_a_write_that_fails_changes_nothing(service: Service) -> None:
    """A transaction whose block raises is undone as a whole."""
    database = service.deployment.database

    def fail() -> None:
        with database.write() as connection:
            connection.execute(insert(users).values(_user("gone")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.read() as connection:
        assert "gone" not in connection.execute(select(users.c.name)).scalars().all()


def test_a_broken_rule_is_a_conflict(service: Service) -> None:
    """A violated constraint leaves as `ConstraintViolated`, and undoes its transaction, without SQL or parameters."""
    database = service.deployment.database

    def add_twins() -> None:
        with database.write() as connection:
            connection.execute(insert(users).values(_user("twin")))
            connection.execute(insert(users).values(_user("twin")))

    with pytest.raises(ConstraintViolated) as caught:
        add_twins()
    assert "INSERT" not in str(caught.value)
    assert "twin" not in str(caught.value)
    with database.read() as connection:
        assert "twin" not in connection.execute(select(users.c.name)).scalars().all()


def test_a_snapshot_stands_still(service: Service) -> None:
    """Reads in a snapshot agree with each other while others write; a plain read sees the newest state."""
    database = service.deployment.database
    names = select(users.c.name).order_by(users.c.name)
    with database.snapshot() as snapshot:
        before = snapshot.execute(names).scalars().all()
        with database.write() as connection:
            connection.execute(insert(users).values(_user("zoe")))
        with database.read() as connection:
            assert connection.execute(names).scalars().all() == [*before, "zoe"]
        assert snapshot.execute(names).scalars().all() == before


def test_a_plain_read_sees_each_commit(service: Service) -> None:
    """Statements of one plain read each see the latest state: no transaction is left open."""
    database = service.deployment.database
    with database.read() as reader:
        assert reader.execute(select(users.c.admin)).scalars().all() == [True]
        with database.write() as connection:
            connection.execute(update(users).values(admin=False))
        assert reader.execute(select(users.c.admin)).scalars().all() == [False]


def test_a_database_that_stays_locked_is_unavailable(local_service: Service) -> None:
    """A writer that never gets its turn says that the database is locked."""
    database = local_service.deployment.database
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(str(database.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="database is locked"), database.write():
        pass
    other.execute("ROLLBACK")
    other.close()
    with database.write():
        pass


def test_a_database_behind_a_dead_address_is_unavailable(tmp_path: Path) -> None:
    """A server that does not answer is `Unavailable`; the password in its URL shows nowhere."""
    database = Database(f"postgresql://user:{CANARY}@/db?host={tmp_path}")
    with pytest.raises(Unavailable) as caught, database.read():
        pass
    assert not holds_canary("".join(traceback.format_exception(caught.value)))
    assert not holds_canary(repr(database.url))


@pytest.mark.parametrize(
    ("url", "kind", "text"),
    [
        ("", ConfigurationError, "cannot be read"),
        ("nonsense", ConfigurationError, "cannot be read"),
        (f"postgresql://user:{CANARY}:{CANARY}@host:x{CANARY}/db", ConfigurationError, "cannot be read"),
        ("postgresql://host:port/db", ConfigurationError, "cannot be read"),
        ("oracle://host/db", ConfigurationError, "'oracle' is not supported"),
        ("://", ConfigurationError, "cannot be read"),
        ("postgresql+nonsense://host/db", ConfigurationError, "'postgresql\\+nonsense' is not known"),
        ("postgresql+asyncpg://host/db", MissingExtra, "driver for postgresql"),
        ("mysql+mysqldb://host/db", MissingExtra, "driver for mysql"),
        ("sqlite://", ConfigurationError, "has to be a file"),
        ("sqlite:///:memory:", ConfigurationError, "has to be a file"),
        ("sqlite:///file:x?mode=memory&uri=true", ConfigurationError, "has to be a file"),
        ("sqlite:////dev/null/x.db", ConfigurationError, "cannot open the database /dev/null/x.db: "),
    ],
    ids=range(13),
)
def test_bad_urls_are_refused_in_words(url: str, kind: type[Exception], text: str) -> None:
    """A URL that cannot work is a clear error, which does not show the URL: it may hold a password."""
    with pytest.raises(kind, match=text) as caught:
        Database(url)
    assert not holds_canary("".join(traceback.format_exception(caught.value)))


def test_something_else_in_place_of_the_database_is_an_error(tmp_path: Path) -> None:
    """A file that is no database is not overwritten."""
    path = tmp_path / "file.db"
    path.write_bytes(b"this is not a database, but a text" * 100)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match="file is not a database"), database.read():
        pass
    assert path.read_bytes() == b"this is not a database, but a text" * 100


def test_a_forked_child_opens_connections_of_its_own(settings: Settings) -> None:
    """An open store goes on working on both sides of a fork."""
    assert [outcome.error for outcome in run_together(children.use_on_both_sides_of_a_fork, [(settings,)])] == [None]


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Database]:
    """A database with one table of notes."""
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (note TEXT UNIQUE)")
    yield database
    database.close()


def add(database: Database, note: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO notes VALUES (?)", (note,))


def add_together(database: Database, notes: str) -> None:
    with database.together():
        for note in notes:
            add(database, note)


def break_off(database: Database, statement: str, error: Exception | None = None) -> None:
    """Adds a note, then runs the statement or raises the error."""
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO notes VALUES ('lost')")
        connection.exec_driver_sql(statement)
        if error is not None:
            raise error


def found(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.exec_driver_sql("SELECT note FROM notes ORDER BY note").scalars())


def test_writes_that_go_together(notes: Database) -> None:
    """They are one transaction, which others see as a whole; the thread itself sees all of it, also in snapshots."""
    with ThreadPoolExecutor(1) as other:
        with notes.together():
            for note in "ab":
                add(notes, note)
            assert found(notes) == ["a", "b"]
            with notes.snapshot() as connection:
                assert connection.exec_driver_sql("SELECT COUNT(*) FROM notes").scalar_one() == 2
            assert other.submit(found, notes).result() == []
        assert other.submit(found, notes).result() == ["a", "b"]
        with pytest.raises(ConstraintViolated):
            add_together(notes, "ca")
    assert found(notes) == ["a", "b"]
    add(notes, "d")
    assert found(notes) == ["a", "b", "d"]


def test_one_of_those_that_go_together_fails(notes: Database) -> None:
    """It is undone alone, whether the database refused it or its own code did; those before and after it are made."""
    with notes.together():
        add(notes, "a")
        with pytest.raises(ConstraintViolated):
            break_off(notes, "INSERT INTO notes VALUES ('a')")
        with pytest.raises(ValueError, match="undone"):
            break_off(notes, "SELECT 1", ValueError("undone"))
        add(notes, "b")
    assert found(notes) == ["a", "b"]


def test_a_transaction_that_the_database_undoes_as_a_whole(notes: Database) -> None:
    """What comes after that is not made on its own, and nobody takes what came before for done."""

    def lose_all() -> None:
        add(notes, "a")
        with pytest.raises(Unavailable):
            break_off(notes, "ROLLBACK", Unavailable("SQLite does that by itself when the disk is full"))
        with pytest.raises(Unavailable, match="undid what it was doing"):
            add(notes, "b")

    with pytest.raises(Unavailable, match="undid what it was doing"), notes.together():
        lose_all()
    assert found(notes) == []
    add(notes, "d")
    assert found(notes) == ["d"]


def test_who_is_not_patient_does_not_wait_for_others(notes: Database, tmp_path: Path) -> None:
    """Neither for a thread of strongroom nor for a program that knows nothing of it; and who is patient then is so again."""
    stranger = sqlite3.connect(tmp_path / "file.db", isolation_level=None)

    def impatient() -> None:
        with notes.together(patient=False):
            add(notes, "a")

    with ThreadPoolExecutor(1) as other:
        with notes.write(), pytest.raises(OthersWrite):
            other.submit(impatient).result()
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(OthersWrite):
            other.submit(impatient).result()
        stranger.execute("ROLLBACK")
        other.submit(impatient).result()
        stranger.execute("BEGIN IMMEDIATE")
        waiting = other.submit(add, notes, "b")
        with pytest.raises(TimeoutError):
            waiting.result(0.05)
        stranger.execute("ROLLBACK")
        waiting.result()
    stranger.close()
    assert found(notes) == ["a", "b"]


def _names(database: Database) -> list[str]:
    """The names of all users, looked up unless nothing has changed."""
    return database.recall("names", lambda connection: sorted(connection.execute(select(users.c.name)).scalars()))


def test_what_is_recalled_is_what_is_there(settings: Settings) -> None:
    """Whoever changes the database, this thread, another one or another process: the next look sees it."""
    database, other = Database(settings.database_url), Database(settings.database_url)
    before = _names(database)
    assert _names(database) == before

    def add(where: Database, name: str) -> None:
        with where.write() as connection:
            connection.execute(insert(users).values(_user(name)))

    add(database, "by-this-thread")
    assert "by-this-thread" in _names(database)
    add(other, "by-others")
    assert "by-others" in _names(database)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(add, database, "by-another-thread").result()
        assert "by-another-thread" in _names(database)
        assert "by-another-thread" in thread.submit(_names, database).result()
    if database.has_one_writer:
        with database.together():
            add(database, "together")
            assert "together" in _names(database)
        assert "together" in _names(database)
    for each in (database, other):
        each.close()


def test_what_is_undone_is_not_recalled(settings: Settings) -> None:
    """Within a transaction its own changes are seen; when it is undone, so is the memory of them."""
    database = Database(settings.database_url)

    class UndoneError(Exception):
        """The transaction ends."""

    before = _names(database)
    with suppress(UndoneError), database.write() as connection:
        connection.execute(insert(users).values(_user("undone")))
        _names(database)
        raise UndoneError
    assert _names(database) == before
    if database.has_one_writer:
        with suppress(UndoneError), database.together():
            with database.write() as connection:
                connection.execute(insert(users).values(_user("undone")))
            assert "undone" in _names(database)
            raise UndoneError
        assert _names(database) == before
    database.close()


def test_a_look_is_saved_while_nothing_changes(local_settings: Settings) -> None:
    """On SQLite, the same thing is looked up once; each key for itself, None too, and memory is bounded."""
    database = Database(local_settings.database_url)
    looked: list[int] = []

    def look(number: int) -> None:
        database.recall(number, lambda _connection: looked.append(number))

    for number in [1, 2, 1, 2]:
        look(number)
    assert looked == [1, 2]
    for number in range(MOST_REMEMBERED + 2):
        look(number)
    looked.clear()
    look(1)
    look(MOST_REMEMBERED)
    assert looked == [1]
    database.close()


def test_one_look_is_for_one_block(settings: Settings) -> None:
    """In it, what others change meanwhile may not be seen yet, what the thread changes is; behind it, and in the next one, all is."""
    database, elsewhere = Database(settings.database_url), ThreadPoolExecutor(1)

    def add(name: str) -> None:
        with database.write() as connection:
            connection.execute(insert(users).values(_user(name)))

    with database.one_look():
        before = _names(database)
        elsewhere.submit(add, "by-others").result()
        assert _names(database) == (before if database.has_one_writer else sorted([*before, "by-others"]))
    assert "by-others" in _names(database)
    for _ in range(2):
        elsewhere.submit(add, "again").result()
        with database.one_look():
            assert "again" in _names(database)
        with database.write() as connection:
            connection.execute(delete(users).where(users.c.name == "again"))
    with suppress(ZeroDivisionError), database.one_look():
        _names(database)
        add("by-this-thread")
        assert "by-this-thread" in _names(database)
        raise ZeroDivisionError
    elsewhere.submit(add, "after").result()
    assert "after" in _names(database)
    elsewhere.shutdown()
    database.close()


def test_what_is_read_consistently_is_of_one_moment_at_the_end(settings: Settings) -> None:
    """Whatever others change before, while it reads, or between its look-ups: what it returns or raises is not older."""
    database, elsewhere = Database(settings.database_url), ThreadPoolExecutor(1)

    def add(name: str) -> None:
        with database.write() as connection:
            connection.execute(insert(users).values(_user(name)))

    for _ in range(2):  # without and with something that is remembered
        _names(database)
    elsewhere.submit(add, "before").result()
    assert "before" in database.consistently(lambda: _names(database))
    turns: list[int] = []

    def read(fails: bool) -> list[str]:
        turns.append(len(turns))
        found = _names(database)
        if len(turns) == 1:
            elsewhere.submit(add, "meanwhile").result()
            if fails:
                raise ZeroDivisionError
        return found

    if database.has_one_writer:
        assert "meanwhile" in database.consistently(lambda: read(False))
        assert len(turns) == 2
        turns.clear()
        with database.write() as connection:
            connection.execute(delete(users).where(users.c.name == "meanwhile"))
        _names(database)
        assert "meanwhile" in database.consistently(lambda: read(True))
        turns.extend([7, 7])
        with pytest.raises(ZeroDivisionError):
            database.consistently(lambda: 1 // 0)
    elsewhere.submit(add, "after").result()
    assert "after" in _names(database)
    elsewhere.shutdown()
    database.close()


def test_a_database_that_fails_recalls_nothing(tmp_path: Path) -> None:
    """Errors are those of every look-up."""
    database = Database(f"sqlite:///{tmp_path / 'file.db'}")
    with pytest.raises(Unavailable, match="failed"):
        _names(database)
    database.recall("x", lambda _connection: None)
    database.close()
    (tmp_path / "file.db").write_bytes(b"no database" * 1000)
    other = Database(f"sqlite:///{tmp_path / 'file.db'}")
    with pytest.raises(Unavailable, match="not a database"):
        other.recall("x", lambda _connection: None)
    for each in (database, other):
        each.close()
