"""Which schema the database has, and how it gets the newest one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from strongroom.db.engine import Database
from strongroom.errors import SchemaTooNew

HEAD = "0015"
"""The newest migration. A constant, because loading Alembic takes longer than most commands."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_REVISION = text("SELECT version_num FROM alembic_version")
_NO_LIMITS = text("SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true)")
"""For one transaction, whatever the role's limits are."""

_LOCK = 0x5354524F4E47  # "STRONG"


def revision(connection: Connection) -> str | None:
    """The schema's revision, or None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(_REVISION).scalar()


def is_current(database: Database) -> bool:
    """Whether the schema is `HEAD`, in one cheap query. False too when that cannot be told; `upgrade` then says why."""
    with database.read() as connection:
        try:
            return connection.execute(_REVISION).scalar() == HEAD
        except DBAPIError:  # no such table: each driver words it differently
            return False


def upgrade(database: Database, then: Callable[[Connection], None]) -> None:
    """Brings the schema to `HEAD` and calls `then`, all under one lock that several starting processes share.

    Atomic on SQLite and PostgreSQL. On MySQL a migration that was cut off may leave tables behind, which the next run meets.
    Raises `SchemaTooNew` when the database is ahead of this program.
    """
    # Large tables take their time, and so may another process that does it already.
    patient = database if database.dialect == "sqlite" else Database(database.url, None)
    try:
        _upgrade(patient, then)
    finally:
        if patient is not database:
            patient.close()


def _upgrade(database: Database, then: Callable[[Connection], None]) -> None:
    with _locked(database), database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(_NO_LIMITS)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        migrates = revision(connection) != HEAD
        if migrates:
            _migrate(connection)
        then(connection)
    if migrates:
        # Alembic leaves cycles with callbacks behind. A Ctrl-C that comes while they are collected, somewhere later, is lost.
        gc.collect(1)


@contextmanager
def _locked(database: Database) -> Iterator[None]:
    """Holds MySQL's advisory lock on a connection of its own, beyond the commit. PostgreSQL's ends with the transaction that takes
    it, and SQLite's write transaction is a lock by itself.
    """
    if database.dialect not in ("mysql", "mariadb"):
        yield
        return
    with database.read() as connection:
        connection.execute(text("SELECT GET_LOCK('strongroom', 600)"))
        try:
            yield
        finally:
            connection.execute(text("SELECT RELEASE_LOCK('strongroom')"))


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))  # a % begins a variable there
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    present = revision(connection)
    if present is not None and present not in known:
        raise SchemaTooNew(
            "the database was upgraded by a newer strongroom", hint="upgrade this one: pip install --upgrade strongroom"
        )
    command.upgrade(config, "head")
