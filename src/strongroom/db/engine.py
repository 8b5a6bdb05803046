"""The database connection and its three kinds of transaction."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from strongroom import forking
from strongroom.db.checkouts import Checkouts
from strongroom.db.connections import Generation
from strongroom.db.failures import (
    DATABASE_ERRORS,
    ConstraintViolated,
    DatabaseError,
    Deadlocked,
    OthersWrite,
    Unanswered,
    translated,
)
from strongroom.db.patience import DEFAULT_SECONDS, UPGRADE, connect_to_mysql, connect_to_postgresql
from strongroom.db.sqlite import SqliteFile, open_file
from strongroom.db.sqlite_file import DatabaseReplaced, resolve
from strongroom.db.unit import Unit
from strongroom.errors import ConfigurationError, MissingExtra, StrongroomError

__all__ = ["ConstraintViolated", "Database", "DatabaseReplaced", "Deadlocked", "OthersWrite", "Unanswered"]

T = TypeVar("T")

_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "mysql"),
}
_BOUNDED = {"psycopg": connect_to_postgresql, "pymysql": connect_to_mysql}


class Database:
    """A pool of connections. Thread-safe; survives a fork (the child opens connections of its own).

    Driver errors leave it as `Unavailable` or `ConstraintViolated`, without SQL and without parameters.
    """

    def __init__(self, url: str | URL, patience_seconds: float | None = DEFAULT_SECONDS) -> None:
        """`patience_seconds` is how long a server may take for a statement; None for as long as it likes. Nothing to SQLite."""
        self.url = _parse(url)
        self._file: SqliteFile | None = None
        self._engines: tuple[Engine, ...] = ()
        self._checkouts = Checkouts()
        if self.url.get_backend_name() == "sqlite":
            path = resolve(self.url.database)
            self.url = self.url.set(database=path)
            self._file, self._is_open = open_file(path), True
        else:
            # A pool for each kind: switching a connection's isolation level back and forth costs round trips on MySQL, and one that
            # breaks meanwhile would be lost to its pool for ever.
            self._reading = _create(self.url, patience_seconds, "AUTOCOMMIT", kept=6, more=26)
            self._snapshot = _create(self.url, patience_seconds, "REPEATABLE READ", kept=2, more=14)
            self._writing = _create(self.url, patience_seconds, "READ COMMITTED", kept=6, more=18)
            self._engines = (self._reading, self._snapshot, self._writing)
            self._good = Generation(*self._engines)
            for engine in self._engines:
                self._checkouts.watch(engine)
        self.dialect = self.engines[-1].dialect.name
        self._thread = threading.local()
        _open_databases.add(self)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """SQLAlchemy's, of this process."""
        return self._engines if self._file is None else (self._file.engine,)

    def read(self) -> AbstractContextManager[Connection]:
        """For single statements whose rows are all fetched: each sees the latest committed state. Cheapest."""
        if (within := self._begun()) is not None:
            return self._in_unit(within)
        return self._file.read() if self._file is not None else self._good.connection_of(self._reading)

    def recall(self, key: Hashable, look_up: Callable[[Connection], T], *, fresh: bool = False) -> T:
        """What `look_up` finds by single statements, as of the latest committed state; `key` says what it looks for.

        On SQLite it is not even called while nobody has changed the database since this thread looked the last time, which SQLite
        tells for a fraction of what a look-up costs. The caller must not change the result.
        With `fresh` it asks even within `one_look`.
        """
        if self._file is not None:
            return self._file.recall(key, look_up, fresh=fresh)
        with self.read() as connection:
            return look_up(connection)

    def one_look(self) -> AbstractContextManager[None]:
        """For a block in which this thread recalls several things: it asks once whether the database was changed, at the first.

        What it recalls is as of then, or later. To be left soon: nothing may be awaited in it.
        """
        return self._file.one_look() if self._file is not None else nullcontext()

    def consistently(self, read: Callable[[], T]) -> T:
        """Returns what `read` returns, which recalls several things, as of one moment before this returns.

        On SQLite it asks whether the database was changed once, at the end, and calls `read` again if it was: `read` must change
        nothing, and await nothing.
        """
        return read() if self._file is None else self._file.consistently(read)

    def snapshot(self) -> AbstractContextManager[Connection]:
        """For several reads that have to agree: all see one state."""
        if (within := self._begun()) is not None:
            return self._in_unit(within)
        return self._file.snapshot() if self._file is not None else self._good.connection_of(self._snapshot)

    def write(self, *, apart: bool = False) -> AbstractContextManager[Connection]:
        """One atomic, durable transaction: committed when the block ends, undone when it raises.

        On SQLite writers wait for each other at the start; on the others rows are locked as they are changed. Within `unit` or
        `together` it is atomic, too, and as durable as the whole. Within `unit` it is durable by itself if it is `apart`, as long as
        the unit has changed nothing yet; that is for what has to stay even if the unit is undone.
        """
        unit = self._unit()
        if unit is None or (apart and unit.connection is None):
            return self._transaction()
        return unit.part()

    def write_once(self) -> AbstractContextManager[Connection]:
        """For a single statement that changes something: atomic and durable by itself, in one round trip to a database server."""
        return self.write() if self._file is not None else self._good.connection_of(self._reading)

    @contextmanager
    def unit(self) -> Iterator[Unit]:
        """Makes one durable transaction of all that this thread changes in the block, from its first change on.

        It is committed when the block ends and undone when it raises. Reads of the thread see what the unit has changed so far.
        Within `together` the unit is a part of that transaction, and undone alone.
        """
        unit = Unit(self._transaction, self._nested, self._failed, joined=self._file is not None and self._file.is_together)
        try:
            self._thread.unit = unit
            with unit:
                yield unit
        finally:
            self._thread.unit = None

    def after_commit(self, call: Callable[[], object]) -> None:
        """Calls this when the unit of this thread is committed, and never if it is undone; at once outside of a unit."""
        unit = self._unit()
        if unit is None:
            call()
        else:
            unit.after_commit(call)

    def _begun(self) -> Connection | None:
        """The connection of this thread's unit, once it has changed something."""
        unit = self._unit()
        return None if unit is None else unit.connection

    def _unit(self) -> Unit | None:
        """The unit of this thread. One that has ended may have been left behind by a signal."""
        unit: Unit | None = getattr(self._thread, "unit", None)
        return None if unit is None or unit.has_ended else unit

    def _transaction(self) -> AbstractContextManager[Connection]:
        return self._file.write() if self._file is not None else self._good.transaction_of(self._writing)

    @contextmanager
    def _in_unit(self, connection: Connection) -> Iterator[Connection]:
        try:
            yield connection
        except DATABASE_ERRORS as error:
            raise self._failed(error) from error

    def _failed(self, error: DatabaseError) -> StrongroomError:
        return translated(error) if self._file is not None else self._good.failed(error)

    def _nested(self, connection: Connection) -> AbstractContextManager[object]:
        return connection.begin_nested() if self._file is None else self._file.part(connection)

    @property
    def has_one_writer(self) -> bool:
        """Whether changes are made one after the other anyway, so that several can go `together` at nobody's cost."""
        return self._file is not None

    def together(self, *, patient: bool = True) -> AbstractContextManager[Connection]:
        """Makes one durable transaction of all that this thread writes in the block; undone when it raises. Gives its connection.

        Each `write` in it stays atomic: one that raises is undone alone. For a database that `has_one_writer`. Unless `patient`,
        `OthersWrite` when another connection is writing.
        """
        assert self._file is not None
        return self._file.together(patient=patient)

    def checkpoint_in_background(self) -> None:
        """From now until it is closed, no transaction of this process has to copy SQLite's log into the file: a thread does.

        For processes that serve: whoever commits would pay for a thousand pages now and then. To be called while no other thread is
        at work.
        """
        if self._file is not None:
            self._file.checkpoint_in_background()

    @property
    def is_gone(self) -> bool:
        """Whether no more use can be made of it, because its file was removed or replaced. Looks at the file."""
        return self._file is not None and (self._file.connections.is_gone or not self._file.connections.is_at_its_path)

    def settle(self, *, interrupted: bool = False) -> None:
        """Ends what an interrupted call has left open on this thread. Not for use within a block.

        `interrupted` says that one was just now: then the pools begin afresh, since theirs may be a connection that they do not know.
        """
        self._thread.unit = None
        if self._file is not None:
            self._file.settle()
            return
        self._checkouts.settle()
        if interrupted:
            for engine in self._engines:
                engine.dispose()

    def close(self) -> None:
        """Closes all connections that are not in use, unless others of this process use the same file; the rest as they come back.

        Nobody may be reading.
        """
        if self._file is None:
            for engine in self._engines:
                engine.dispose()
        elif self._is_open:
            self._is_open = False
            self._file.close()

    def forget_connections(self) -> None:
        """After a fork: leaves the parent's connections alone."""
        forking.leave_alone(self._thread, self._checkouts, *(engine.pool for engine in self._engines))
        for engine in self._engines:
            engine.dispose(close=False)
        self._thread = threading.local()


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _forget_connections_of_parent() -> None:
    for database in list(_open_databases):
        database.forget_connections()


forking.in_each_child(_forget_connections_of_parent)


def _parse(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number, perhaps a piece of the password
        raise ConfigurationError(
            "the database URL cannot be read", hint="for example: postgresql://user:password@host/database"
        ) from None
    if parsed.drivername in _DRIVERS:
        parsed = parsed.set(drivername=_DRIVERS[parsed.drivername][0])
    if parsed.get_backend_name() not in ("sqlite", *_DRIVERS):
        raise ConfigurationError(
            f"the database type '{parsed.get_backend_name()}' is not supported",
            hint="use sqlite, postgresql, mysql or mariadb",
        )
    return parsed


def _create(url: URL, patience_seconds: float | None, isolation_level: IsolationLevel, *, kept: int, more: int) -> Engine:
    options: dict[str, Any] = {"isolation_level": isolation_level, "pool_recycle": 3600, "skip_autocommit_rollback": True}
    options |= {} if patience_seconds is None else {"pool_timeout": patience_seconds}
    if patience_seconds is None and url.get_backend_name() == "postgresql":
        # Nothing is prepared, since a pooler may lend the session to others. The name keeps the database watch from ending it.
        options["connect_args"] = {"prepare_threshold": None, "application_name": UPGRADE}
    try:
        # A failing statement's parameters are sealed values at worst; they still do not belong into messages.
        engine = create_engine(url, hide_parameters=True, pool_size=kept, max_overflow=more, **options)
    except ModuleNotFoundError:
        extra = _DRIVERS[url.get_backend_name()][1]
        raise MissingExtra(
            f"the driver for {url.get_backend_name()} is not installed", hint=f"pip install 'strongroom[{extra}]'"
        ) from None
    except NoSuchModuleError:
        raise ConfigurationError(f"the database driver '{url.drivername}' is not known") from None
    if patience_seconds is not None and engine.dialect.driver in _BOUNDED:
        event.listen(engine, "do_connect", _BOUNDED[engine.dialect.driver](patience_seconds))
    return engine
