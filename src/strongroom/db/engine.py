"""The database connection and its three kinds of transaction."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strongroom.db.checkpoints import BACKSTOP_PAGES, Checkpoints
from strongroom.db.patience import DEFAULT_SECONDS, connect_to_mysql, connect_to_postgresql, has_given_up
from strongroom.db.query import data_version, run_text
from strongroom.db.turn import WaitedTooLong, WriteTurn
from strongroom.errors import ConfigurationError, MissingExtra, StrongroomError, Unavailable

BUSY_TIMEOUT_SECONDS = 30
MOST_REMEMBERED = 256
"""So many rows a thread remembers; each may hold the sealed values of a secret, 64 KiB at most."""

T = TypeVar("T")

_DRIVERS = {
    "postgresql": ("postgresql+psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "mysql"),
}
_BOUNDED = {"psycopg": connect_to_postgresql, "pymysql": connect_to_mysql}


class ConstraintViolated(StrongroomError):
    """A write broke a uniqueness or foreign key rule of the database; all of its transaction is undone.

    Caught where the rule is known and can be named.
    """

    code = "conflict"
    status = 409


class Unanswered(Unavailable):
    """The database did not answer in time. What was asked may have been done."""


class OthersWrite(Unavailable):
    """Somebody else is writing just now, and this was not to wait. Nothing was done."""


class Deadlocked(Unavailable):
    """The database undid this transaction because it and another one waited for each other. Whoever can, runs it again."""


class OneLook:
    """See `Database.one_look`."""

    __slots__ = ("_held",)

    def __init__(self, held: Any) -> None:
        self._held = held

    def __enter__(self) -> None:
        self._held.keeps_looking = True

    def __exit__(self, *_: object) -> None:
        self._held.keeps_looking = self._held.looked = False


class Database:
    """A pool of connections. Thread-safe; survives a fork (the child opens connections of its own).

    Driver errors leave it as `Unavailable` or `ConstraintViolated`, without SQL and without parameters.
    """

    def __init__(self, url: str | URL, patience_seconds: float | None = DEFAULT_SECONDS) -> None:
        """`patience_seconds` is how long a server may take for a statement; None for as long as it likes. Nothing to SQLite."""
        self.url = _parse(url)
        self._sqlite = self.url.get_backend_name() == "sqlite"
        if self._sqlite:  # transactions begin by statement here
            self._reading = self._snapshot = self._writing = _create(self.url)
            event.listen(self._writing, "connect", self._configure)
        else:
            # A pool for each kind: switching a connection's isolation level back and forth costs round trips on MySQL, and one that
            # breaks meanwhile would be lost to its pool for ever.
            self._reading = _create(self.url, patience_seconds, "AUTOCOMMIT", kept=6, more=26)
            self._snapshot = _create(self.url, patience_seconds, "REPEATABLE READ", kept=2, more=14)
            self._writing = _create(self.url, patience_seconds, "READ COMMITTED", kept=6, more=18)
        self.engines = tuple(dict.fromkeys((self._reading, self._snapshot, self._writing)))
        self.dialect = self._writing.dialect.name
        self._turn = WriteTurn(f"{self.url.database}-turn")
        self._checkpoints: Checkpoints | None = None
        self._forget_held()
        _open_databases.add(self)

    def _forget_held(self) -> None:
        self._held = threading.local()
        self._all_held: weakref.WeakSet[Connection] = weakref.WeakSet()

    def _configure(self, connection: Any, _record: object) -> None:
        _configure_sqlite(connection)
        if self._checkpoints is not None:
            connection.execute(f"PRAGMA wal_autocheckpoint = {BACKSTOP_PAGES}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """For single statements whose rows are all fetched: each sees the latest committed state. Cheapest."""
        if self._sqlite:
            # Taking a connection out of the pool costs as much as a read. On SQLite one that idles costs nothing and cannot break.
            connection = getattr(self._held, "connection", None) or self._hold()
            try:
                yield connection
            except _DATABASE_ERRORS as error:
                raise _translated(error) from error
            return
        try:
            with self._reading.connect() as connection:
                yield connection
        except _DATABASE_ERRORS as error:
            raise _translated(error) from error

    def recall(self, key: Hashable, look_up: Callable[[Connection], T]) -> T:
        """What `look_up` finds by single statements, as of the latest committed state; `key` says what it looks for.

        On SQLite it is not even called while nobody has changed the database since this thread looked the last time, which SQLite
        tells for a fraction of what a look-up costs. What it gives must not be changed.
        """
        held = self._held
        connection = getattr(held, "connection", None) or (self._hold() if self._sqlite else None)
        if connection is None or held.raw.in_transaction:  # what is not committed yet may be undone
            with self.read() as connection:
                return look_up(connection)
        try:
            if not held.looked:
                self._look(held, connection)
            found = held.found
            if key in found:
                known: T = found[key]
                return known
            while len(found) >= MOST_REMEMBERED:
                del found[next(iter(found))]
            looked_up = found[key] = look_up(connection)
        except _DATABASE_ERRORS as error:
            raise _translated(error) from error
        return looked_up

    def one_look(self) -> OneLook:
        """For a block in which this thread recalls several things: it asks once whether the database was changed, at the first.

        What it recalls is as of then, or later. To be left soon: nothing may be awaited in it.
        """
        return OneLook(self._held)

    @staticmethod
    def _look(held: Any, connection: Connection) -> None:
        version = data_version(connection)
        if version != held.version:
            held.version, held.found = version, {}
        held.looked = held.keeps_looking

    def _undo(self, connection: Connection) -> None:
        """Ends a transaction that failed. Some failures have ended it already; a connection that cannot do it is given up."""
        try:
            if _is_under_way(connection):
                run_text(connection, "ROLLBACK")
        except DBAPIError:
            self._held.connection = None
            connection.invalidate()

    def _hold(self) -> Connection:
        """Opens the connection on which this thread reads and writes from now on."""
        try:
            connection = self._reading.connect()
        except _DATABASE_ERRORS as error:
            raise _translated(error) from error
        held = self._held
        held.connection, held.raw = connection, connection.connection.dbapi_connection
        held.version, held.found, held.looked = -1, {}, False
        held.keeps_looking = getattr(held, "keeps_looking", False)
        self._all_held.add(connection)
        return connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For several reads that have to agree: all see one state."""
        if self._is_together:
            with self.read() as connection:
                yield connection
            return
        try:
            with self._snapshot.connect() as connection:
                if self._sqlite:
                    connection.exec_driver_sql("BEGIN")
                yield connection
        except _DATABASE_ERRORS as error:
            raise _translated(error) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One atomic, durable transaction: committed when the block ends, undone when it raises.

        On SQLite writers wait for each other at the start; on the others rows are locked as they are changed. Within `together` it
        is atomic, too, and as durable as the whole.
        """
        try:
            if not self._sqlite:
                with self._writing.begin() as connection:
                    yield connection
                return
            connection = getattr(self._held, "connection", None) or self._hold()
            with self._part(connection) if self._is_together else self._whole(connection):
                yield connection
        except _DATABASE_ERRORS as error:
            raise _translated(error) from error

    @property
    def has_one_writer(self) -> bool:
        """Whether changes are made one after the other anyway, so that several can go `together` at nobody's cost."""
        return self._sqlite

    @contextmanager
    def together(self, *, patient: bool = True) -> Iterator[Connection]:
        """Makes one durable transaction of all that this thread writes in the block; undone when it raises. Gives its connection.

        Each `write` in it stays atomic: one that raises is undone alone. For a database that `has_one_writer`. Unless `patient`,
        `OthersWrite` when somebody else is writing.
        """
        try:
            connection = getattr(self._held, "connection", None) or self._hold()
            with self._whole(connection, patient=patient):
                self._held.together = True
                try:
                    yield connection
                finally:
                    self._held.together = False
                _check_under_way(connection)
        except _DATABASE_ERRORS as error:
            raise _translated(error) from error

    @property
    def _is_together(self) -> bool:
        return getattr(self._held, "together", False)

    @contextmanager
    def _whole(self, connection: Connection, *, patient: bool = True) -> Iterator[None]:
        """A transaction of SQLite, when it is this thread's turn."""
        try:
            with self._turn.taken(BUSY_TIMEOUT_SECONDS if patient else 0):
                if patient:
                    run_text(connection, "BEGIN IMMEDIATE")
                else:
                    _begin_at_once(connection)
                self._held.version, self._held.looked = -1, False  # SQLite does not tell a connection of its own changes
                try:
                    yield
                    run_text(connection, "COMMIT")
                except BaseException:
                    self._undo(connection)
                    raise
        except WaitedTooLong:
            locked = "database is locked"
            raise (Unavailable if patient else OthersWrite)(
                f"the database did not do it: {locked}", hint=_KNOWN_REASONS[locked]
            ) from None

    @contextmanager
    def _part(self, connection: Connection) -> Iterator[None]:
        """A part of a transaction of SQLite."""
        _check_under_way(connection)
        run_text(connection, "SAVEPOINT part")
        try:
            yield
            run_text(connection, "RELEASE part")
        except BaseException:
            if _is_under_way(connection):  # some failures have undone it as a whole
                run_text(connection, "ROLLBACK TO part")
                run_text(connection, "RELEASE part")
            raise

    def checkpoint_in_background(self) -> None:
        """From now until it is closed, no transaction of this process has to copy SQLite's log into the file: a thread does.

        For processes that serve: whoever commits would pay for a thousand pages now and then. To be called while no other thread is
        at work.
        """
        if self._sqlite and self._checkpoints is None:
            for held in list(self._all_held):
                held.close()
            self._forget_held()
            self._writing.dispose()
            self._checkpoints = Checkpoints(self._writing.connect, self._turn)

    def close(self) -> None:
        """Closes all connections that are not in use; the rest as they come back. Nobody may be reading."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        held = list(self._all_held)
        self._forget_held()
        for connection in held:
            connection.close()
        for engine in self.engines:
            engine.dispose()
        self._turn.close()

    def forget_connections(self) -> None:
        """After a fork: leaves the parent's connections alone. They are kept, since SQLite must not close what it has inherited."""
        _inherited.extend((*(engine.pool for engine in self.engines), *self._all_held))
        self._forget_held()
        self._turn.forget()
        for engine in self.engines:
            engine.dispose(close=False)


_DATABASE_ERRORS = (DBAPIError, PoolTimeout)
_inherited: list[object] = []
_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _forget_connections_of_parent() -> None:
    for database in _open_databases:
        database.forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections_of_parent)


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


def _create(
    url: URL, patience_seconds: float | None = None, isolation_level: IsolationLevel | None = None, kept: int = 8, more: int = -1
) -> Engine:
    options: dict[str, Any] = {}
    if isolation_level is None:
        _prepare_file(url)
        # Each thread holds a connection: there is no number of them that would be too many.
        options |= {"connect_args": {"timeout": BUSY_TIMEOUT_SECONDS}}
    else:
        # What a firewall or the server has closed in the meantime is not used again.
        options |= {"isolation_level": isolation_level, "pool_recycle": 3600, "skip_autocommit_rollback": True}
        options |= {} if patience_seconds is None else {"pool_timeout": patience_seconds}
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


def _begin_at_once(connection: Connection) -> None:
    """Begins to write, or raises `WaitedTooLong`: who knows neither our turns nor our haste may be writing."""
    run_text(connection, "PRAGMA busy_timeout = 0")
    try:
        run_text(connection, "BEGIN IMMEDIATE")
    except OperationalError as error:
        if getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
        raise WaitedTooLong from None
    finally:
        run_text(connection, f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")


def _is_under_way(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))


def _check_under_way(connection: Connection) -> None:
    """`Unavailable` when SQLite has undone all of it, as it does when the disk is full (sqlite.org/lang_transaction.html)."""
    if not _is_under_way(connection):
        raise Unavailable("the database undid what it was doing", hint="look whether its disk is full, then try again")


def _prepare_file(url: URL) -> None:
    """Makes the folder and the file with permissions for the user alone, before SQLite makes them with others."""
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigurationError(
            "the SQLite database has to be a file", hint="for example: sqlite:////var/lib/strongroom/strongroom.db"
        )
    path = Path(url.database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigurationError(f"cannot open the database {path}: {error.strerror}") from None


def _configure_sqlite(connection: Any) -> None:
    connection.isolation_level = None  # transactions begin where `Database` says so
    cursor = connection.cursor()
    # FULL makes each commit durable in WAL mode; NORMAL could lose the last ones in a power cut.
    for pragma in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    _use_wal(cursor)
    cursor.close()


def _use_wal(cursor: sqlite3.Cursor) -> None:
    """Switches to WAL mode. Where several processes open a new database at once, SQLite refuses that without waiting."""
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def _translated(error: DBAPIError | PoolTimeout) -> StrongroomError:
    """Our error for a driver's: without SQL, without parameters."""
    if isinstance(error, IntegrityError):
        return ConstraintViolated("the database refused a conflicting change", hint="look at the current state and try again")
    if isinstance(error, PoolTimeout):
        return Unavailable("all connections to the database are busy", hint="try again later")
    if isinstance(error, OperationalError) and _is_deadlock(error):
        return Deadlocked("the database undid this change in favour of another one", hint="try again")
    said = str(error.orig)
    for reason, hint in _KNOWN_REASONS.items():
        if reason in said:
            return Unavailable(f"the database did not do it: {reason}", hint=hint)
    if has_given_up(said):
        return Unanswered(
            "the database does not answer", hint="try again later; look whether it is overloaded, or the network is down"
        )
    if error.statement is None:
        return Unavailable("the database cannot be reached", hint="check its URL and its credentials, and whether it runs")
    return Unavailable(f"the database failed: {type(error.orig).__name__}", hint="try again later")


def _is_deadlock(error: OperationalError) -> bool:
    # PostgreSQL's and MySQL's SQLSTATE, and MySQL's own number for drivers that give no SQLSTATE.
    return getattr(error.orig, "sqlstate", None) in ("40P01", "40001") or getattr(error.orig, "args", ())[:1] == (1213,)


_KNOWN_REASONS = {
    "database is locked": "try again later",
    "database or disk is full": "make room, then try again",
    "disk I/O error": "look at the disk, then try again",
    "attempt to write a readonly database": "check the permissions of the file and its folder",
    "unable to open database file": "check the permissions of the file and its folder",
    "file is not a database": "check that it is the right file; restore it from a backup if it is",
    "database disk image is malformed": "restore it from a backup",
}
"""What SQLite says, where it names nothing of ours, and what to do then."""
