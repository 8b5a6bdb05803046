"""The markers that this and other databases have put into secrets stores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, text

from strongroom.db.tables import store_markers


class MarkerRow(NamedTuple):
    """A marker: the store, where it lies in there, and the identity of the database that put it."""

    store_id: str
    locator: str
    database: str


def database_identity(connection: Connection, deployment_id: str) -> str:
    """Tells this database from a copy of it: 32 characters that stay the same while the database stays where it is.

    A copied SQLite file is another file, or lies in another file system; a restored dump is another database of PostgreSQL, and its
    tables were created at another time in MySQL. Physical copies that the database itself cannot tell apart have one identity: a
    snapshot of a volume, and what `pg_basebackup` or a standby made.
    """
    dialect = connection.dialect.name
    if dialect == "sqlite":
        path = connection.execute(text("PRAGMA database_list")).all()[0][2]
        where = f"{Path(path).stat().st_ino} {os.statvfs(path).f_fsid if hasattr(os, 'statvfs') else ''}" if path else ""
    elif dialect == "postgresql":
        where = str(connection.execute(text("SELECT oid FROM pg_database WHERE datname = current_database()")).scalar())
        if connection.execute(text("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')")).scalar():
            cluster = connection.execute(text("SELECT system_identifier FROM pg_control_system()")).scalar()
            where = f"{where} {cluster}"
    else:
        created = "SELECT UNIX_TIMESTAMP(create_time) FROM information_schema.tables"
        created += " WHERE table_schema = database() AND table_name = 'store_markers'"
        where = " ".join(str(connection.execute(text(each)).scalar()) for each in ("SELECT database()", created))
    return hashlib.sha256(f"{deployment_id}\0{dialect}\0{where}".encode()).hexdigest()[:32]


def list_markers(connection: Connection) -> Sequence[MarkerRow]:
    """All markers that the index knows, the oldest first."""
    return [MarkerRow(*row) for row in connection.execute(_ALL)]


def insert_marker(connection: Connection, marker: MarkerRow, now: int) -> None:
    """Adds a marker that was put."""
    connection.execute(insert(store_markers).values(**marker._asdict(), created=now))


def forget_marker(connection: Connection, store_id: str, locator: str) -> None:
    """Forgets a marker; one that is not there is no error."""
    connection.execute(_FORGET, {"of": store_id, "at": locator})


_ALL = select(store_markers.c.store_id, store_markers.c.locator, store_markers.c.database).order_by(
    store_markers.c.created, store_markers.c.locator
)
_FORGET = delete(store_markers).where(store_markers.c.store_id == bindparam("of"), store_markers.c.locator == bindparam("at"))
