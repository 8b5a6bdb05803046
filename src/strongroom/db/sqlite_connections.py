"""The connections of this process to an SQLite file: one for each thread that is at work, and some for snapshots.

What SQLite knows about its locks is common to all connections of a process to a file. A forked child inherits it, and
takes locks for its own that only its parent has. So all connections are closed while the process forks: it waits for
threads that use one, and threads that want one wait for it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from strongroom import forking
from strongroom.db.sqlite_file import DatabaseReplaced, Identity, identity
from strongroom.errors import Unavailable

BUSY_TIMEOUT_SECONDS = 30
_FREE = 8
"""So many connections stay open that no thread holds."""


class ThreadState:
    """What a thread has to do with a file."""

    __slots__ = (
        "__weakref__",
        "busy",
        "found",
        "keeps_looking",
        "looked",
        "looked_at",
        "open",
        "open_connection",
        "snapshots",
        "together",
        "trusts",
        "version",
    )

    def __init__(self) -> None:
        self.open_connection: OpenConnection | None = None
        self.busy = 0
        """How many blocks it is in."""
        self.open: object = None
        """The block of its write transaction."""
        self.together = False
        self.snapshots: list[OpenConnection] = []
        self.keeps_looking = self.looked = False
        self.trusts = False
        """Whether what was found is taken for current until the end of the block, when that is looked up."""
        self.forget()

    def forget(self) -> None:
        """Nothing is known any more about the state of the database."""
        self.version, self.found, self.looked_at = -1, dict[Any, Any](), 0.0
        self.looked = False


class DriverConnection(sqlite3.Connection):
    """A connection of the driver that can be left open for ever."""

    is_left = is_closed = False

    def close(self) -> None:
        """Undoes what is not committed first: SQLite keeps a closed connection, with its locks, while a cursor of it is in use.

        A traceback may keep one for long, and SQLAlchemy closes connections on Ctrl-C.
        """
        if self.is_left:
            return
        self.is_closed = True
        with suppress(sqlite3.Error):
            self.rollback()
        super().close()


class OpenConnection:
    """An open connection, as SQLAlchemy and as the driver know it, and the thread that holds it."""

    __slots__ = ("connection", "owner", "raw")

    def __init__(self, connection: Connection, raw: DriverConnection, owner: ThreadState) -> None:
        self.connection, self.raw = connection, raw
        self.owner: weakref.ref[ThreadState] | None = weakref.ref(owner)

    @property
    def is_free(self) -> bool:
        """Whether no thread holds it; one that did may have ended."""
        return self.owner is None or self.owner() is None

    def leave(self) -> None:
        """Keeps it open until the process ends, so that SQLite does nothing with it any more. What is not committed is undone."""
        import ctypes

        with suppress(sqlite3.Error):
            self.raw.rollback()
        self.raw.is_left = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.raw))

    def close(self) -> None:
        """Closes it and undoes what is not committed, whatever state it is in."""
        with suppress(sqlite3.Error):
            self.raw.close()
        if not self.connection.closed:
            self.connection.invalidate()


class SqliteConnections:
    """Thread-safe. A thread is in a block from `enter` to `leave`."""

    def __init__(self, path: str, at: Identity) -> None:
        self.path, self.identity = path, at
        self._log: tuple[Identity | None, Identity | None] = (None, None)
        self._all: list[OpenConnection] = []
        self._is_quiet = self._is_held = False
        self._refused: tuple[type[Unavailable], str, str] | None = None
        self.is_lost = False
        """Whether this process cannot open the file again either."""
        self.checkpoint_pages: int | None = None
        self._barred = False
        """Whether `enter` has to look closer: while the process forks, and when the file is gone."""
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._local = threading.local()
        self._resumed = threading.Event()
        self._resumed.set()
        self.engine = self._new_engine()

    def _new_engine(self) -> Engine:
        uri = f"file:{quote(self.path)}?mode=rw"  # a file that is gone is not made again

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                uri,
                uri=True,
                timeout=BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                factory=DriverConnection,
            )

        # A failing statement's parameters are sealed values at worst; they still do not belong into messages.
        engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True, pool_reset_on_return=None)
        event.listen(engine, "connect", self._configure)
        return engine

    def _configure(self, raw: Any, _record: object) -> None:
        cursor = raw.cursor()
        # FULL makes each commit durable in WAL mode; NORMAL could lose the last ones in a power cut.
        for pragma in ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON"):
            cursor.execute(f"PRAGMA {pragma}")
        _use_wal(cursor)
        cursor.execute("PRAGMA schema_version").fetchall()  # opens the log
        if self.checkpoint_pages is not None:
            cursor.execute(f"PRAGMA wal_autocheckpoint = {self.checkpoint_pages}")
        cursor.close()

    def state(self) -> ThreadState:
        """That of this thread."""
        try:
            state: ThreadState = self._local.state
        except AttributeError:
            state = self._local.state = ThreadState()
        return state

    def enter(self, state: ThreadState) -> OpenConnection:
        """The connection of this thread, which the process does not close before `leave`. Undoes itself when it raises."""
        before = state.busy
        try:
            state.busy = before + 1
            while self._barred and self._has_to_wait(state, before):
                state.busy = before + 1
            return state.open_connection or self._hold(state)
        except BaseException:
            state.busy = before
            raise

    def leave(self, state: ThreadState, before: int, error: BaseException | None) -> None:
        """Ends a block. After an error that may have left the connection in any state, it is closed."""
        held = state.open_connection
        if error is not None and held is not None and before == 0 and is_spoilt(held, error):
            self.drop(held)
            state.open_connection = None
        state.busy = before
        if self._barred and not before and self._refused is not None:
            self._close_idle()

    def _has_to_wait(self, state: ThreadState, before: int) -> bool:
        if self._refused is not None:
            raise self.refusal()
        if before:  # the thread that forks waits for this one
            return False
        state.busy = 0
        self._resumed.wait()
        return True

    def _hold(self, state: ThreadState) -> OpenConnection:
        held = state.open_connection = self._take(state)
        state.forget()
        return held

    def take_another(self, state: ThreadState) -> OpenConnection:
        """A connection beside that of the thread, within a block. To be given back."""
        taken = self._take(state)
        state.snapshots.append(taken)
        return taken

    def give_back(self, state: ThreadState, taken: OpenConnection, error: BaseException | None) -> None:
        """Takes such a connection back, which must not be in a transaction; closed after an error that may have spoilt it."""
        state.snapshots.remove(taken)
        if (error is not None and is_spoilt(taken, error)) or sum(each.is_free for each in list(self._all)) >= _FREE:
            self.drop(taken)
        else:
            taken.owner = None

    def _take(self, state: ThreadState) -> OpenConnection:
        with self._lock:
            for each in list(self._all):
                if each.is_free:
                    each.owner = weakref.ref(state)
                    if each.raw.in_transaction:  # its thread was ended within a block
                        each.raw.rollback()
                    return each
            return self._open(state)

    def _open(self, state: ThreadState) -> OpenConnection:
        if identity(self.path) != self.identity:
            raise self.lose(locked=True)
        connection = self.engine.connect()
        raw: Any = connection.connection.dbapi_connection
        try:
            self._look_at_log()
            opened = OpenConnection(connection, raw, state)
            self._all.append(opened)
        except BaseException:
            raw.close()
            raise
        return opened

    def _look_at_log(self) -> None:
        """Finds out which log a connection that was just opened writes to: the one of all others."""
        log = self._find_log()
        if identity(self.path) != self.identity or (self._has_open and log != self._log):
            raise self.lose(locked=True)
        self._log = log

    @property
    def is_split(self) -> bool:
        """Whether the log's index was removed or replaced while connections of this process use it.

        Processes that open the database later share another one, and know nothing of the locks and the frames of this one. A
        checkpoint from here would overwrite their changes.
        """
        return self._has_open and identity(self.path) == self.identity and identity(f"{self.path}-shm") != self._log[1]

    @property
    def _has_open(self) -> bool:
        """Whether a connection is open. SQLAlchemy closes those that a signal has interrupted."""
        return any(not each.raw.is_closed for each in list(self._all))

    def leave_if_split(self, known: str = "nothing was changed") -> None:
        """Leaves all connections open for ever if the index was replaced: SQLite would make a checkpoint as it closes the last."""
        if self.is_split:
            with self._lock:
                for each in list(self._all):
                    each.leave()
                self._all.clear()
            self.is_lost = True
            self._refused = (
                DatabaseReplaced,
                f"{self.path}-shm was removed or replaced while this process had the database open; {known}",
                "end this process and start it again",
            )
            self._barred = True

    def _find_log(self) -> tuple[Identity | None, Identity | None]:
        """The log and its index, in whose memory SQLite keeps its locks: one that was removed locks nobody out any more."""
        return identity(f"{self.path}-wal"), identity(f"{self.path}-shm")

    def drop(self, held: OpenConnection) -> None:
        """Closes a connection of this thread."""
        self.leave_if_split()
        with suppress(ValueError):
            self._all.remove(held)
        if not held.raw.is_left:
            held.close()

    def check_file_and_log(self, known: str) -> None:
        """`DatabaseReplaced` unless the path still leads to this file, and to the log that its connections write to.

        `known` says what has become of the change. SQLite removes a log that is in use only when the locks of this process were lost.
        """
        if identity(self.path) != self.identity or self._find_log() != self._log:
            raise self.lose(known)

    @property
    def is_at_its_path(self) -> bool:
        """Whether the path still leads to this file."""
        return identity(self.path) == self.identity

    @property
    def is_gone(self) -> bool:
        """Whether no more use can be made of it."""
        return self._refused is not None

    def check_file(self) -> None:
        """`DatabaseReplaced` unless the path still leads to this file."""
        if identity(self.path) != self.identity:
            raise self.lose()

    def lose(self, message: str = "nothing was changed", *, locked: bool = False) -> Unavailable:
        """From now on nothing is read or written here. The error to raise."""
        self.leave_if_split(message)
        if self.is_lost:
            return self.refusal()
        self._refused = (
            DatabaseReplaced,
            f"the database {self.path} was removed or replaced while this process had it open; {message}",
            "the next call opens what is there now; if that was not meant, restore the file first",
        )
        self._barred = True
        if not locked:
            self._close_idle()
        return self.refusal()

    def refusal(self) -> Unavailable:
        """Why it cannot be used any more."""
        assert self._refused is not None
        kind, message, hint = self._refused
        return kind(message, hint=hint)

    def _close_idle(self) -> bool:
        """Closes all connections whose threads are not in a block; whether these were all."""
        self.leave_if_split()
        with self._lock:
            for each in list(self._all):
                owner = each.owner() if each.owner is not None else None
                if owner is None or not owner.busy:
                    self._all.remove(each)
                    each.close()
                    if owner is not None:
                        owner.open_connection = None
                        owner.forget()
            return not self._all

    def close_idle(self, seconds: float = 0) -> bool:
        """Closes all connections that are not in use, and waits so long for the others; whether all are closed."""
        deadline = time.monotonic() + seconds
        while not self._close_idle():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.001)
        return True

    def unlock(self) -> None:
        """Lets go of the lock that an interruption has left with this thread."""
        with suppress(RuntimeError):  # it is not locked, or not by this thread
            while True:
                self._lock.release()

    def hold_for_fork(self, deadline: float) -> None:
        """Closes all connections and lets no thread open one until `resume`. When a thread does not end what it does in time, the
        child will not be able to use the file.
        """
        self._is_quiet = False
        self._is_held = self._lock.acquire(timeout=max(0, deadline - time.monotonic()))
        if not self._is_held:
            return
        self._resumed.clear()
        self._barred = True
        own = self.state()
        while any(self._is_busy(each, own) for each in list(self._all)):
            if own.busy or time.monotonic() > deadline:
                return
            time.sleep(0.0005)
        for each in list(self._all):
            owner = each.owner() if each.owner is not None else None
            each.close()
            if owner is not None:
                owner.open_connection = None
                owner.forget()
        self._all.clear()
        self._is_quiet = True

    @staticmethod
    def _is_busy(held: OpenConnection, own: ThreadState) -> bool:
        owner = held.owner() if held.owner is not None else None
        return owner is not None and (owner.busy > 0 or (owner is own and own.busy > 0))

    def resume(self) -> None:
        """In the parent, after the fork."""
        if self._is_held:
            self._is_held = self._is_quiet = False
            self._barred = self._refused is not None
            self._resumed.set()
            self._lock.release()

    def forget(self) -> None:
        """In the child: its connections will be its own."""
        if not self._is_quiet and (self._all or not self._lock.acquire(blocking=False)):
            forking.leave_alone(self, self._all, self._local)
            self.is_lost = True
            self._refused = (
                Unavailable,
                f"this process was forked while the database {self.path} was in use",
                "fork while no other thread reads or writes, or start processes by multiprocessing's 'spawn' or 'forkserver'",
            )
        self._all = []
        self._is_held = self._is_quiet = False
        self._barred = self._refused is not None
        self._renew()


def is_spoilt(held: OpenConnection, error: BaseException) -> bool:
    """Whether the error may have left the connection in any state: an interruption does."""
    return not isinstance(error, Exception) or held.connection.invalidated or held.connection.closed


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
