"""An SQLite file: one connection for each thread, writers in a queue, a log that is copied beside the work."""

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

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

from strongroom.db.checkpoints import BACKSTOP_PAGES, Checkpoints
from strongroom.db.failures import DATABASE_ERRORS, KNOWN_REASONS, OthersWrite, translated
from strongroom.db.query import data_version, run_text
from strongroom.db.turn import WaitedTooLong, WriteTurn
from strongroom.errors import ConfigurationError, Unavailable

BUSY_TIMEOUT_SECONDS = 30
MOST_REMEMBERED = 256
"""So many rows a thread remembers; each may hold the sealed values of a secret, 64 KiB at most."""

T = TypeVar("T")


class OneLook:
    """See `Database.one_look`."""

    __slots__ = ("_held",)

    def __init__(self, held: Any) -> None:
        self._held = held

    def __enter__(self) -> None:
        self._held.keeps_looking = True

    def __exit__(self, *_: object) -> None:
        self._held.keeps_looking = self._held.looked = False


class SqliteFile:
    """The connections of this process to a file. Thread-safe."""

    def __init__(self, url: URL) -> None:
        _prepare_file(url)
        # Each thread holds a connection: there is no number of them that would be too many. A failing statement's parameters are
        # sealed values at worst; they still do not belong into messages.
        self.engine = create_engine(
            url, hide_parameters=True, pool_size=8, max_overflow=-1, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
        )
        event.listen(self.engine, "connect", self._configure)
        self._turn = WriteTurn(f"{url.database}-turn")
        self._checkpoints: Checkpoints | None = None
        self._forget_held()

    def _forget_held(self) -> None:
        self._held = threading.local()
        self._all_held: weakref.WeakSet[Connection] = weakref.WeakSet()

    def _configure(self, connection: Any, _record: object) -> None:
        _configure_sqlite(connection)
        if self._checkpoints is not None:
            connection.execute(f"PRAGMA wal_autocheckpoint = {BACKSTOP_PAGES}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """See `Database.read`."""
        # Taking a connection out of the pool costs as much as a read. On SQLite one that idles costs nothing and cannot break.
        connection = getattr(self._held, "connection", None) or self._hold()
        try:
            yield connection
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    def recall(self, key: Hashable, look_up: Callable[[Connection], T], *, anew: bool = False) -> T:
        """See `Database.recall`."""
        held = self._held
        connection = getattr(held, "connection", None) or self._hold()
        if held.raw.in_transaction:  # what is not committed yet may be undone
            with self.read() as connection:
                return look_up(connection)
        try:
            if anew or not held.looked:
                self._look(held, connection)
            found = held.found
            if key in found:
                known: T = found[key]
                return known
            while len(found) >= MOST_REMEMBERED:
                del found[next(iter(found))]
            looked_up = found[key] = look_up(connection)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        return looked_up

    def one_look(self) -> OneLook:
        """See `Database.one_look`."""
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
            connection = self.engine.connect()
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        held = self._held
        held.connection, held.raw = connection, connection.connection.dbapi_connection
        held.version, held.found, held.looked = -1, {}, False
        held.keeps_looking = getattr(held, "keeps_looking", False)
        self._all_held.add(connection)
        return connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See `Database.snapshot`."""
        if self.is_together:
            with self.read() as connection:
                yield connection
            return
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                yield connection
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """See `Database.write`."""
        try:
            connection = getattr(self._held, "connection", None) or self._hold()
            with self.part(connection) if self.is_together else self._whole(connection):
                yield connection
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    @contextmanager
    def together(self, *, patient: bool) -> Iterator[Connection]:
        """See `Database.together`."""
        try:
            connection = getattr(self._held, "connection", None) or self._hold()
            with self._whole(connection, patient=patient):
                self._held.together = True
                try:
                    yield connection
                finally:
                    self._held.together = False
                _check_under_way(connection)
        except DATABASE_ERRORS as error:
            raise translated(error) from error

    @property
    def is_together(self) -> bool:
        """Whether this thread is in a block of `together`."""
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
                f"the database did not do it: {locked}", hint=KNOWN_REASONS[locked]
            ) from None

    @contextmanager
    def part(self, connection: Connection) -> Iterator[None]:
        """A part of a transaction that is undone alone when the block raises."""
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
        """See `Database.checkpoint_in_background`."""
        if self._checkpoints is None:
            for held in list(self._all_held):
                held.close()
            self._forget_held()
            self.engine.dispose()
            self._checkpoints = Checkpoints(self.engine.connect, self._turn)

    def close(self) -> None:
        """See `Database.close`."""
        if self._checkpoints is not None:
            self._checkpoints.close()
        held = list(self._all_held)
        self._forget_held()
        for connection in held:
            connection.close()
        self.engine.dispose()
        self._turn.close()

    def forget_connections(self) -> list[object]:
        """See `Database.forget_connections`; gives those that have to be kept."""
        kept: list[object] = [self.engine.pool, *self._all_held]
        self._forget_held()
        self._turn.forget()
        self.engine.dispose(close=False)
        return kept


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
