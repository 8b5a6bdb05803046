"""The schema and its migrations, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, inspect, text

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.db import schema
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.tables import metadata
from strongroom.errors import EncryptionKeyError, SchemaTooNew
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.children import open_store
from tests.former import make_former
from tests.processes import run_together


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    yield database
    database.close()


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def test_head_is_the_newest_migration() -> None:
    """The constant that start-up compares with is Alembic's only head, and the migrations form one line."""
    assert _scripts().get_heads() == [schema.HEAD]
    assert len(_scripts().get_bases()) == 1


def test_migrations_make_the_tables_as_they_are_described(service: Service) -> None:
    """Alembic finds no difference between what the migrations made and `tables.py`."""
    with service.deployment.database.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == set(metadata.tables) | {"alembic_version"}


def test_a_store_of_the_first_version_is_upgraded(settings: Settings) -> None:
    """A store that was made before there were stacks keeps its secrets, and gets what a new one has from the start."""
    first = {
        *("encryption_keys", "deployment", "users", "workspaces", "secrets", "secret_labels", "secret_counts", "versions"),
        *("stores", "placements", "intents", "deletions", "sql_values"),
    }
    newer = [table.name for table in reversed(metadata.sorted_tables) if table.name not in first]
    with Client(settings) as client:
        client.create_secret("s", {"k": f"{CANARY}-kept"})
    make_former(settings)
    with opened(settings) as database, database.write() as connection:
        for table in newer:
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        for index in metadata.tables["secret_labels"].indexes:
            index.drop(connection)
        key = "`key`" if database.dialect in ("mysql", "mariadb") else '"key"'
        connection.execute(text(f"CREATE INDEX ix_secret_labels_key ON secret_labels ({key}, secret_id)"))
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with Client(settings) as client:
        assert client.get_secret("s").secret_values["k"] == f"{CANARY}-kept"
        assert [component.type for component in client.get_stack("default").components] == ["artifact_store", "orchestrator"]
        assert client.get_stack().active
    with opened(settings) as database:
        assert schema.is_current(database)


def test_logins_outlive_the_upgrade_to_run_tokens(new_settings: Settings) -> None:
    """Tokens that were there before runs had any are kept, with their rules: also where the table had to be made anew."""
    user, row = {"id": "u" * 36, "name": "ada", "admin": False, "created": 1}, {"digest": bytes(32), "kind": "api_key", "name": "k"}
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with opened(new_settings) as database:
        with database.write() as connection:
            config.attributes["connection"] = connection
            assert schema.revision(connection) is None  # from here on Alembic sees a transaction, and leaves it open
            command.upgrade(config, "0005")
            connection.execute(insert(metadata.tables["users"]).values(user))
            columns = "id, digest, kind, user_id, name, created"
            values = {**row, "id": "t" * 36, "user": user["id"]}
            connection.execute(text(f"INSERT INTO tokens ({columns}) VALUES (:id, :digest, :kind, :user, :name, 1)"), values)
        Service(new_settings).close()
        with database.read() as connection:
            kept = connection.execute(text("SELECT id, kind, user_id, name, issuer_id FROM tokens")).all()
        assert [tuple(each) for each in kept] == [("t" * 36, "api_key", user["id"], "k", None)]
        with pytest.raises(ConstraintViolated), database.write() as connection:
            connection.execute(insert(metadata.tables["tokens"]).values(**row, id="x" * 36, user_id=user["id"], created=1))


def test_authors_of_revisions_are_found_in_an_upgrade(new_settings: Settings) -> None:
    """A component that was never changed has its owner as its author, another one the user whom the trail names, or nobody."""
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    ada, bob, place = "a" * 36, "b" * 36, "w" * 36
    with opened(new_settings) as database:
        with database.write() as connection:
            config.attributes["connection"] = connection
            assert schema.revision(connection) is None
            command.upgrade(config, "0013")
            for user_id, name in ((ada, "ada"), (bob, "bob")):
                row = {"id": user_id, "name": name, "admin": False, "created": 1}
                connection.execute(insert(metadata.tables["users"]).values(row))
            connection.execute(insert(metadata.tables["workspaces"]).values(id=place, name="w", created=1))
            columns = "id, workspace_id, type, name, flavor, configuration, owner_id, created, updated"
            for name, updated in (("unchanged", 1), ("changed", 3), ("unknown", 3)):
                statement = (
                    f"INSERT INTO components ({columns}) VALUES (:id, :place, 'alerter', :id, 'slack', '{{}}', :ada, 1, :updated)"
                )
                connection.execute(text(statement), {"id": name, "place": place, "ada": ada, "updated": updated})
            event = "INSERT INTO audit_events (number, actor, operation, target, target_id, outcome, facts, mark)"
            for number, (actor, outcome) in enumerate((("ada", "ok"), ("bob", "ok"), ("ada", "forbidden")), 1):
                values = f"VALUES ({number}, '{actor}', 'component.update', 't', 'changed', '{outcome}', :facts, :facts)"
                connection.execute(text(f"{event} {values}"), {"facts": b"{}"})
            connection.execute(
                text("INSERT INTO flavors (workspace_id, type, name, description, created) VALUES (:w, 'a', 'f', 'd', 1)"),
                {"w": place},
            )
            command.upgrade(config, "head")
        with database.read() as connection:
            found = dict(tuple(row) for row in connection.execute(text("SELECT name, author_id FROM components")).all())
            assert found == {"unchanged": ada, "changed": bob, "unknown": None}
            assert connection.execute(text("SELECT author_id, revision FROM flavors")).one() == (None, 1)


def test_a_new_database_is_brought_to_head(new_settings: Settings) -> None:
    """An empty database has no revision; after the upgrade it is current, and doing it again changes nothing."""
    calls = []
    with opened(new_settings) as database:
        with database.read() as connection:
            assert schema.revision(connection) is None
        assert not schema.is_current(database)
        for _ in range(2):
            schema.upgrade(database, lambda connection: calls.append(schema.revision(connection)))
            assert schema.is_current(database)
    assert calls == [schema.HEAD, schema.HEAD]


def test_a_first_start_with_a_bad_key_can_be_repeated(new_settings: Settings) -> None:
    """A start that is refused for its key makes no tables, so the next one, with a good key, works."""
    with pytest.raises(EncryptionKeyError):
        Service(replace(new_settings, encryption_key="nonsense"))
    with pytest.raises(EncryptionKeyError):
        Service(replace(new_settings, encryption_key=None, encryption_key_file=Path("/nonexistent")))
    with opened(new_settings) as database, database.read() as connection:
        assert inspect(connection).get_table_names() == []
    Service(new_settings).close()


@pytest.mark.parametrize("new_settings", ["postgresql", "mariadb"], indirect=True)
def test_a_shared_database_needs_a_given_key(new_settings: Settings) -> None:
    """A server's database is not started with a key that strongroom made itself, and nothing is left of the attempt."""
    with pytest.raises(EncryptionKeyError, match="needs a key of yours"):
        Service(replace(new_settings, encryption_key=None))
    assert not new_settings.folder.exists()
    with opened(new_settings) as database, database.read() as connection:
        assert inspect(connection).get_table_names() == []


@pytest.mark.parametrize("new_settings", ["sqlite", "postgresql"], indirect=True)
def test_a_first_start_that_fails_leaves_nothing(new_settings: Settings) -> None:
    """Where the database can undo the making of tables, a failed start leaves it empty, and the next one succeeds."""

    def fail(connection: Connection) -> None:
        connection.execute(text("INSERT INTO stores (id, type, created) VALUES ('x', 'x', 1)"))
        raise ZeroDivisionError

    with opened(new_settings) as database:
        with pytest.raises(ZeroDivisionError):
            schema.upgrade(database, fail)
        with database.read() as connection:
            assert inspect(connection).get_table_names() == []
    Service(new_settings).close()


def test_a_newer_schema_is_refused(settings: Settings) -> None:
    """A database that a newer strongroom has upgraded is not touched, and the error says what to do."""
    with opened(settings) as database:
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SchemaTooNew) as caught:
            Service(settings)
        assert "upgrade this one" in (caught.value.hint or "")
        with database.read() as connection:
            assert schema.revision(connection) == "9999"


def test_eight_processes_may_start_at_once(new_settings: Settings) -> None:
    """Of eight processes that meet an empty database, one sets it up; all of them use the same deployment and key."""
    outcomes = run_together(open_store, [(new_settings,)] * 8)
    assert [outcome.error for outcome in outcomes] == [None] * 8
    assert len({outcome.value for outcome in outcomes}) == 1
    with opened(new_settings) as database, database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 1
