"""Neither exceptions nor logs hold a value, whatever breaks."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.db.engine import Database
from strongroom.errors import StrongroomError
from tests.canary import CANARY, holds_canary


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and everything that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("table", ["sql_values", "placements", "versions", "secret_counts", "secrets"])
def test_a_broken_database_gives_nothing_away(settings: Settings, table: str) -> None:
    """When a table is gone in the middle of work, each error is ours, and neither its traceback nor any part of it has a value."""
    with Client(settings) as client:
        client.create_secret("s", {"k": f"{CANARY}-before"}, labels={"a": "b"})
        database = Database(settings.database_url)
        with database.write() as connection:
            connection.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
        database.close()
        for attempt in (
            lambda: client.get_secret("s"),
            lambda: client.create_secret("t", {"k": f"{CANARY}-value"}),
            lambda: client.update_secret("s", add_or_update_values={"k": f"{CANARY}-value"}),
            lambda: client.rollback_secret("s", 1),
            lambda: client.delete_secret("s"),
            lambda: client.list_secrets(),
        ):
            try:
                attempt()
            except StrongroomError as error:
                found = error
            else:
                continue  # it did not need that table
            assert "SELECT" not in str(found)
            assert "INSERT" not in str(found)
            assert not holds_canary("".join(traceback.format_exception(found)))
            for each in chain(found):
                assert not holds_canary(repr(vars(each)))
                assert not holds_canary(repr(each.args))


def test_refused_input_gives_nothing_away(local_client: Client) -> None:
    """Tracebacks of refused input do not quote values, not even through the exceptions that led to them."""
    local_client.create_secret("s", {"k": f"{CANARY}-one"})
    for attempt in (
        lambda: local_client.create_secret("s", {"k": f"{CANARY}-two"}),
        lambda: local_client.create_secret("a.b", {"k": f"{CANARY}-two"}),
        lambda: local_client.create_secret("t", {"a b": f"{CANARY}-two"}),
        lambda: local_client.create_secret("t", {"k": f"{CANARY}-\udcff"}),
        lambda: local_client.create_secret("t", {"k": CANARY * 5000}),
        lambda: local_client.create_secret("t", {"k": [CANARY]}),
        lambda: local_client.update_secret("s", add_or_update_values={"k": f"{CANARY}-two"}, if_version=9),
        lambda: local_client.update_secret("s", add_or_update_values={"k": f"{CANARY}-two"}, remove_values=["k"]),
        lambda: local_client.update_secret("s", add_or_update_values={"k": f"{CANARY}-two"}, remove_values=["absent"]),
        lambda: local_client.update_secret("absent", add_or_update_values={"k": f"{CANARY}-two"}),
    ):
        with pytest.raises(StrongroomError) as caught:
            attempt()
        assert not holds_canary("".join(line for each in chain(caught.value) for line in traceback.format_exception_only(each)))
        assert not any(holds_canary(repr(each.args)) for each in chain(caught.value))


def test_logs_at_their_loudest_give_nothing_away(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """With all loggers at DEBUG, the database library's too, no operation logs a value."""
    names = ["sqlalchemy.engine", "sqlalchemy.pool", "sqlalchemy.dialects", "alembic"]
    with caplog.at_level(logging.DEBUG):
        for name in names:
            caplog.set_level(logging.DEBUG, logger=name)
        with Client(settings) as client:
            client.create_secret("s", {"k": f"{CANARY}-one"})
            client.update_secret("s", add_or_update_values={"l": f"{CANARY}-two"})
            assert client.get_secret("s").secret_values == {"k": f"{CANARY}-one", "l": f"{CANARY}-two"}
            client.rollback_secret("s", 1)
            client.list_secrets()
            client.delete_secret("s")
    assert "INSERT" in caplog.text
    assert not holds_canary(caplog.text)
