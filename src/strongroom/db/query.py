"""Statements of the hot path: written once in SQLAlchemy, run by the driver itself.

SQLAlchemy's execution costs two to three times what SQLite takes to answer (see `bench/`): it looks the compiled statement up,
converts parameters and builds a result with named columns. None of that is needed for a fixed statement whose rows become a record
at once. Columns come as the driver gives them: numbers, text and bytes are the same on all of them, booleans are not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table, insert
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import ClauseElement


class Prepared:
    """A fixed statement with parameters, compiled once for each kind of database. Thread-safe.

    Errors are SQLAlchemy's, with the driver's in them; a connection that broke is given up, with its pool.
    """

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        """`columns` are those that an INSERT fills."""
        self._statement, self._columns = statement, columns
        self._compiled: dict[str, tuple[str, Sequence[str] | None, Mapping[str, Any]]] = {}

    def all(self, connection: Connection, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        """All rows of a query."""
        text, order, constants = self._of(connection.dialect)
        given = {**constants, **parameters}
        try:
            cursor = _open(connection, text)
            try:
                cursor.execute(text, given if order is None else [given[name] for name in order])
                rows: Sequence[Sequence[Any]] = cursor.fetchall()
            finally:
                cursor.close()
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, text, error) from error
        return rows

    def run(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Runs it once for each of the parameters."""
        text, order, constants = self._of(connection.dialect)
        given = [{**constants, **each} for each in parameters]
        try:
            cursor = _open(connection, text)
            try:
                for each in given:
                    cursor.execute(text, each if order is None else [each[name] for name in order])
            finally:
                cursor.close()
        except connection.dialect.loaded_dbapi.Error as error:
            raise _wrapped(connection, text, error) from error

    def _of(self, dialect: Dialect) -> tuple[str, Sequence[str] | None, Mapping[str, Any]]:
        made = self._compiled.get(dialect.name)
        if made is None:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            made = self._compiled[dialect.name] = (str(compiled), getattr(compiled, "positiontup", None), compiled.params)
        return made


class PreparedInsert(Prepared):
    """An INSERT of all columns of a table."""

    def __init__(self, table: Table) -> None:
        self._names = [column.name for column in table.c]
        super().__init__(insert(table), self._names)
        self._of_size: dict[tuple[str, int], str] = {}

    def run(self, connection: Connection, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Adds a row for each of the parameters; see `run_rows`."""
        self.run_rows(connection, [[each[name] for name in self._names] for each in parameters])

    def run_rows(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, given as values in the order of the table's columns, in few statements of many rows each.

        Each statement costs a round trip on a database server, and on SQLite its driver lets go of the interpreter's lock, and may
        have to wait to get it back while others wait for the database.
        """
        dialect = connection.dialect
        first = 0
        while first < len(rows):
            size = next(each for each in _SIZES if each <= len(rows) - first)
            statement = self._of_size.get((dialect.name, size)) or self._write_out(dialect, size)
            run_text(connection, statement, list(chain.from_iterable(rows[first : first + size])))
            first += size

    def _write_out(self, dialect: Dialect, size: int) -> str:
        head, _, _ = self._of(dialect)[0].partition(" VALUES ")
        place = "?" if dialect.paramstyle == "qmark" else "%s"
        row = f"({', '.join([place] * len(self._names))})"
        statement = self._of_size[dialect.name, size] = f"{head} VALUES {', '.join([row] * size)}"
        return statement


def run_text(connection: Connection, text: str, parameters: Sequence[Any] = ()) -> None:
    """Runs a statement as it is, such as one that begins a transaction; see `Prepared` for its errors."""
    try:
        cursor = _open(connection, text)
        try:
            cursor.execute(text, parameters)
        finally:
            cursor.close()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, text, error) from error


def data_version(connection: Connection) -> int:
    """A number of SQLite that is another one once any other connection has changed the file; see `Prepared` for its errors.

    https://www.sqlite.org/pragma.html#pragma_data_version
    """
    raw: Any = connection.connection.dbapi_connection
    try:
        [(version,)] = raw.execute("PRAGMA data_version")
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, "PRAGMA data_version", error) from error
    return int(version)


_log = logging.getLogger(__name__)  # told each statement, as SQLAlchemy tells its own; never a parameter
_SIZES = (64, 16, *range(8, 0, -1))
"""So many rows are added by one statement. Few sizes: the driver keeps each statement that it has prepared."""


def _open(connection: Connection, text: str) -> Any:
    """A cursor for this statement."""
    raw = connection.connection.dbapi_connection
    assert raw is not None
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%s", text)
    return raw.cursor()


def _wrapped(connection: Connection, text: str, error: Any) -> DBAPIError:
    """SQLAlchemy's error for the driver's."""
    dialect, raw = connection.dialect, connection.connection.dbapi_connection
    broken = dialect.is_disconnect(error, raw, None)
    if broken:  # so are the others that idle in its pool
        connection.invalidate(error)
        connection.engine.dispose()
    wrapped = DBAPIError.instance(text, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, connection_invalidated=broken)
    assert isinstance(wrapped, DBAPIError)
    return wrapped
