"""Statements of the hot path: written once in SQLAlchemy, run by the driver itself.

SQLAlchemy's execution costs two to three times what SQLite takes to answer (see `bench/`): it looks the compiled statement up,
converts parameters and builds a result with named columns. None of that is needed for a fixed statement whose rows become a record
at once. Columns come as the driver gives them: numbers, text and bytes are the same on all of them, booleans are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ClauseElement


class Prepared:
    """A fixed statement with parameters, compiled once for each kind of database. Thread-safe.

    Errors are SQLAlchemy's, with the driver's in them; a connection that broke is given up.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        """`columns` are those that an INSERT fills."""
        self._statement, self._columns = statement, columns
        self._compiled: dict[str, tuple[str, Sequence[str] | None, Mapping[str, Any]]] = {}

    def all(self, connection: Connection, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query."""
        text, order, constants = self._of(connection.dialect)
        given = {**constants, **parameters}
        with _cursor(connection, text) as cursor:
            cursor.execute(text, given if order is None else [given[name] for name in order])
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
        return rows

    def run(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Runs it once for each of the parameters."""
        text, order, constants = self._of(connection.dialect)
        given = [{**constants, **each} for each in parameters]
        with _cursor(connection, text) as cursor:
            cursor.executemany(text, given if order is None else [[each[name] for name in order] for each in given])

    def _of(self, dialect: Dialect) -> tuple[str, Sequence[str] | None, Mapping[str, Any]]:
        made = self._compiled.get(dialect.name)
        if made is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            made = self._compiled[dialect.name] = (str(compiled), getattr(compiled, "positiontup", None), compiled.params)
        return made


def prepared_insert(table: Table) -> Prepared:
    """An INSERT of all columns of a table."""
    return Prepared(insert(table), [column.name for column in table.c])


def run_text(connection: Connection, text: str) -> None:
    """Runs a statement without parameters, such as one that begins a transaction; see `Prepared` for its errors."""
    with _cursor(connection, text) as cursor:
        cursor.execute(text)


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    dialect, raw = connection.dialect, connection.connection.dbapi_connection
    assert raw is not None
    try:
        cursor = raw.cursor()
        try:
            yield cursor
        finally:
            cursor.close()
    except dialect.loaded_dbapi.Error as error:
        broken = dialect.is_disconnect(error, raw, None)
        if broken:
            connection.invalidate(error)
        raise DBAPIError.instance(
            text, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, connection_invalidated=broken
        ) from error
