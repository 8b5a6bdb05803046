"""One transaction for all that a call changes, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, insert, select

from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.db.tables import users
from strongroom.service.wiring import Service


@pytest.fixture
def database(service: Service) -> Database:
    return service.deployment.database


def add(database: Database, name: str, *, apart: bool = False) -> None:
    with database.write(apart=apart) as connection:
        connection.execute(insert(users).values(id=new_id(), name=name, admin=False, created=now()))


def names(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.execute(select(users.c.name)).scalars()) - {"default"}


def elsewhere(database: Database) -> set[str]:
    """What others see: another thread has a connection of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(names, database).result()


def test_all_changes_of_a_unit_are_one_transaction(database: Database) -> None:
    """Others see none of them before the end; the unit itself does, also in a snapshot."""
    with database.unit() as unit:
        assert unit.connection is None
        add(database, "a")
        add(database, "b")
        with database.snapshot() as connection:
            assert {"a", "b"} <= set(connection.execute(select(users.c.name)).scalars())
        assert names(database) == {"a", "b"}
        assert elsewhere(database) == set()
    assert elsewhere(database) == {"a", "b"}


def test_a_unit_that_raises_changes_nothing(database: Database) -> None:
    """All of its changes are undone, and what was to follow the commit is not done."""
    called: list[str] = []

    def fail() -> None:
        with database.unit():
            add(database, "a")
            database.after_commit(lambda: called.append("a"))
            add(database, "b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (names(database), called) == (set(), [])
    add(database, "c")
    assert elsewhere(database) == {"c"}


def test_a_part_that_fails_is_undone_alone(database: Database) -> None:
    """The first part or a later one: what the unit did else is committed."""
    with database.unit():
        for name, wanted in (("default", set()), ("a", {"a"}), ("a", {"a"}), ("b", {"a", "b"})):
            try:
                add(database, name)
            except ConstraintViolated:
                assert name in {"default", "a"}
            assert names(database) == wanted
    assert elsewhere(database) == {"a", "b"}


def test_what_is_written_apart_stays(database: Database) -> None:
    """A write that is apart, before the unit has changed anything, is durable by itself."""

    def fail() -> None:
        with database.unit():
            add(database, "announced", apart=True)
            assert elsewhere(database) == {"announced"}
            add(database, "a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert elsewhere(database) == {"announced"}


def test_what_follows_a_commit_follows_it(database: Database) -> None:
    """It is called once, when others see the change; outside of a unit, at once."""
    called: list[set[str]] = []
    with database.unit():
        add(database, "a")
        database.after_commit(lambda: called.append(elsewhere(database)))
        assert called == []
    assert called == [{"a"}]
    database.after_commit(lambda: called.append(set()))
    assert called == [{"a"}, set()]


def test_a_unit_without_changes_opens_no_transaction(database: Database) -> None:
    """A unit that only reads holds no lock: others can write."""
    with database.unit() as unit:
        names(database)
        assert unit.connection is None
        other = Database(database.url)
        add(other, "other")
        other.close()
        assert names(database) == {"other"}
    with database.write() as connection:
        connection.execute(delete(users).where(users.c.name == "other"))


def test_a_write_within_a_write_is_a_part_of_it(database: Database) -> None:
    """Also within the first one of a unit: it is committed and undone with it, and waits for no lock of its own transaction."""
    with database.unit(), database.write():
        add(database, "a")
        add(database, "b", apart=True)
        assert names(database) == {"a", "b"}
    assert elsewhere(database) == {"a", "b"}

    def fail() -> None:
        with database.unit(), database.write():
            add(database, "c")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert elsewhere(database) == {"a", "b"}
