"""An SQLite file: one connection for each thread, writers in a queue, a log that is copied beside the work."""

from __future__ import annotations

import atexit
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from strongroom import changes, forking
from strongroom.db.checkpoints import BACKSTOP_PAGES, Checkpoints, take_wiping, wipe
from strongroom.db.failures import DATABASE_ERRORS, KNOWN_REASONS, OthersWrite, translated
from strongroom.db.query import data_version, run_text
from strongroom.db.sqlite_connections import BUSY_TIMEOUT_SECONDS, OpenConnection, SqliteConnections, ThreadState, is_spoilt
from strongroom.db.sqlite_file import Identity, prepare
from strongroom.db.turn import WaitedTooLong, WriteTurn
from strongroom.errors import Unavailable

MOST_REMEMBERED = 256
"""So many rows a thread remembers; each may hold the sealed values of a secret, 64 KiB at most."""

LOOK_AT_FILE_SECONDS = 0.1
"""How long a thread recalls before it looks again whether the path still leads to the file. Writes look each time."""

CLOSE_PATIENCE_SECONDS = 1.0
"""How long the last user of a file waits for its turn to cut the log, when that is still due."""

WIPE_PAUSE_SECONDS = 1.0
"""How often an embedded store cuts its log, at most, but for secrets that are deleted: then it does so each time."""

FORK_PATIENCE_SECONDS = 5.0
"""How long a fork waits for what other threads do with a file."""

T = TypeVar("T")


class OneLook:
    """See `Database.one_look`."""

    __slots__ = ("_state",)

    def __init__(self, state: ThreadState) -> None:
        self._state = state

    def __enter__(self) -> None:
        self._state.keeps_looking = True

    def __exit__(self, *_: object) -> None:
        self._state.keeps_looking = self._state.looked = False


class SqliteFile:
    """The one engine of this process for a file. Thread-safe. Get it by `open_file`, and give it back by `close`.

    What a signal interrupts between any two instructions is undone as the exception passes the block, at the latest by `settle`.
    """

    def __init__(self, path: str, at: Identity) -> None:
        self.path, self.users = path, 0
        self.connections = SqliteConnections(path, at)
        self.turn = WriteTurn(f"{path}-turn")
        self._checkpoints: Checkpoints | None = None
        self._wipe_due, self._wiped_at = False, float("-inf")

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's."""
        return self.connections.engine

    def read(self) -> AbstractContextManager[Connection]:
        """See `Database.read`."""
        return _Read(self)

    def _read_unless_split(self) -> AbstractContextManager[Connection]:
        self.connections.leave_if_split()
        return _Read(self)

    def recall(self, key: Hashable, look_up: Callable[[Connection], T], *, fresh: bool = False) -> T:
        """See `Database.recall`."""
        state = self.connections.state()
        if state.open is not None:  # what is not committed yet may be undone
            with _Read(self) as connection:
                return look_up(connection)
        fresh = fresh and not state.trusts
        if state.looked and not fresh and key in state.found:  # the connection is not needed
            remembered: T = state.found[key]
            return remembered
        before = state.busy
        try:
            held = self.connections.enter(state)
            if fresh or not state.looked:
                self._look(state, held)
            found = state.found
            if key in found:
                known: T = found[key]
            else:
                while len(found) >= MOST_REMEMBERED:
                    del found[next(iter(found))]
                known = found[key] = look_up(held.connection)
        except BaseException as error:
            self.connections.leave(state, before, error)
            if isinstance(error, DATABASE_ERRORS):
                raise translated(error) from error
            raise
        self.connections.leave(state, before, None)
        return known

    def _look(self, state: ThreadState, held: OpenConnection) -> None:
        now = time.monotonic()
        if now - state.looked_at > LOOK_AT_FILE_SECONDS:
            self.connections.check_file()
            state.looked_at = now
        version = data_version(held.connection)
        if version != state.version:
            state.version, state.found = version, {}
        state.looked = state.keeps_looking

    def one_look(self) -> OneLook:
        """See `Database.one_look`."""
        return OneLook(self.connections.state())

    def consistently(self, read: Callable[[], T]) -> T:
        """See `Database.consistently`."""
        state = self.connections.state()
        if state.version >= 0 and state.open is None:
            outcome, error = self._trusting(state, read)
            if not self._has_changed(state):
                if error is not None:
                    raise error
                return outcome  # type: ignore[return-value] # there is one if there is no error
        with OneLook(state):
            return read()

    @staticmethod
    def _trusting(state: ThreadState, read: Callable[[], T]) -> tuple[T | None, Exception | None]:
        """What `read` returns or raises if the database is still as it was when this thread looked the last time."""
        state.trusts = state.keeps_looking = state.looked = True
        try:
            return read(), None
        except Exception as error:  # noqa: BLE001 - raised by the caller, unless the database was changed
            return None, error
        finally:
            state.trusts = state.keeps_looking = state.looked = False

    def _has_changed(self, state: ThreadState) -> bool:
        """Whether another connection has changed the database since this thread looked the last time; it looks now."""
        before, version = state.busy, state.version
        try:
            self._look(state, self.connections.enter(state))
        except BaseException as error:
            self.connections.leave(state, before, error)
            _raise_translated(error)
            raise
        self.connections.leave(state, before, None)
        return state.version != version

    def snapshot(self) -> AbstractContextManager[Connection]:
        """See `Database.snapshot`."""
        return _Read(self) if self.is_together else _Snapshot(self)

    def write(self) -> AbstractContextManager[Connection]:
        """See `Database.write`."""
        return _Part(self) if self.is_together else _Write(self)

    @property
    def is_together(self) -> bool:
        """Whether this thread is in a block of `together`."""
        return self.connections.state().together

    def part(self, _connection: Connection) -> AbstractContextManager[Connection]:
        """A part of this thread's transaction that is undone alone when the block raises."""
        return _Part(self)

    def together(self, *, patient: bool) -> AbstractContextManager[Connection]:
        """See `Database.together`."""
        return _Write(self, patient=patient, together=True)

    def settle(self) -> None:
        """Ends whatever this thread has left open here. Not within a block."""
        state = self.connections.state()
        if state.busy or state.open is not None:
            self.connections.unlock()
            self.undo(state, 0, KeyboardInterrupt())
            for taken in list(state.snapshots):
                self.connections.give_back(state, taken, KeyboardInterrupt())

    def begin(self, block: _Write, state: ThreadState, *, patient: bool) -> Connection:
        """Begins a transaction of SQLite, when it is this thread's turn."""
        if state.open is not None:  # a block that was interrupted before it could end
            self.settle()
        block.before = before = state.busy
        try:
            state.open = block
            self.turn.take(state, BUSY_TIMEOUT_SECONDS if patient else 0)
            connection = self.connections.enter(state).connection
            if patient:
                run_text(connection, "BEGIN IMMEDIATE")
            else:
                _begin_at_once(connection)
            state.version, state.looked = -1, False  # SQLite does not tell a connection of its own changes
            self.connections.check_file_and_log("nothing was changed")
        except WaitedTooLong:
            self.undo(state, before, None)
            locked = "database is locked"
            raise (Unavailable if patient else OthersWrite)(
                f"the database did not do it: {locked}", hint=KNOWN_REASONS[locked]
            ) from None
        except BaseException as error:
            self.undo(state, before, error)
            raise
        return connection

    def commit(self, block: _Write, state: ThreadState) -> None:
        """Ends it. Returns when it is durable, in the file to which the path leads."""
        try:
            held = state.open_connection
            _check_under_way(held.connection if held is not None and state.open is block else None)
            assert held is not None
            changes.deciding()
            run_text(held.connection, "COMMIT")
            self.connections.check_file_and_log("the last change is lost")
        except BaseException as error:
            self.undo(state, block.before, error)
            raise
        try:
            said = take_wiping(held.connection)
            if said is not None or self._wipe_due:
                self._wipe(held.connection, at_once=said == "now")
        except BaseException as error:  # of a signal; the change is made
            self.undo(state, block.before, error)
            raise
        self._end(state, block.before)

    def _wipe(self, connection: Connection, *, at_once: bool) -> None:
        """Has the log cut, after a transaction that deleted something. The thread holds the turn, and the change is durable already.

        What keeps it from that is no error of the change: it is tried again after a later one, and when the file is closed. Unless
        `at_once`, that is also so when it was cut within the last second.
        """
        if self._checkpoints is not None:
            self._wipe_due = False
            self._checkpoints.wipe_soon()
            return
        self._wipe_due = True
        now = time.monotonic()
        if at_once or now - self._wiped_at >= WIPE_PAUSE_SECONDS:
            self._wiped_at = now
            self._wipe_due = not wipe(connection, BUSY_TIMEOUT_SECONDS, patient=at_once)

    def undo(self, state: ThreadState, before: int, error: BaseException | None) -> None:
        """Undoes the transaction, if there is one. Some failures have ended it already; a connection that cannot do it is closed."""
        held = state.open_connection
        try:
            if held is not None and ((error is not None and is_spoilt(held, error)) or not _rolled_back(held.raw)):
                self.connections.drop(held)
                state.open_connection = None
        finally:
            state.version, state.looked, state.found = -1, False, {}
            self._end(state, before)

    def _end(self, state: ThreadState, before: int) -> None:
        state.together = False
        self.turn.release(state)
        state.open = None
        self.connections.leave(state, before, None)

    def checkpoint_in_background(self) -> None:
        """See `Database.checkpoint_in_background`."""
        if self._checkpoints is None:
            self.connections.checkpoint_pages = BACKSTOP_PAGES
            self.connections.close_idle()
            self._checkpoints = Checkpoints(self.path, self._read_unless_split, self.turn, BUSY_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Gives it back. The last user closes all connections that are not in use."""
        with _opening:
            self.users -= 1
            if self.users > 0:
                return
        if self._checkpoints is not None:
            self._wipe_due |= self._checkpoints.close()
            self._checkpoints = None
        if self._wipe_due and not self.connections.is_gone:  # SQLite removes the log if no other process has it open
            with (
                suppress(Unavailable, WaitedTooLong),
                self.turn.taken(CLOSE_PATIENCE_SECONDS),
                self._read_unless_split() as connection,
            ):
                self._wipe_due = not wipe(connection, BUSY_TIMEOUT_SECONDS)
        self.connections.close_idle()
        self.turn.close()

    def forget(self) -> None:
        """In a forked child: begins afresh."""
        self._checkpoints, self._wipe_due = None, False
        self.connections.forget()
        self.turn.forget()


_opening = forking.renewed(sys.modules[__name__], "_opening", threading.RLock)
_files: weakref.WeakValueDictionary[Identity, SqliteFile] = weakref.WeakValueDictionary()


def open_file(path: str) -> SqliteFile:
    """The engine for the file at this path, which is made if needed. All who open it share one, by whatever path they came."""
    with _opening:
        at = prepare(path)
        found = _files.get(at)
        if found is not None and found.connections.is_lost:
            raise found.connections.refusal()
        if found is not None and not found.connections.is_at_its_path:
            found.connections.lose()  # its file was removed, and this one has got its inode
        if found is not None and found.connections.is_gone:
            # SQLite would share with it what it knows about locks.
            if not found.connections.close_idle(FORK_PATIENCE_SECONDS):
                raise found.connections.refusal()
            found = None
        if found is None:
            found = _files[at] = SqliteFile(path, at)
        found.users += 1
        return found


def _before_fork() -> None:
    deadline = time.monotonic() + FORK_PATIENCE_SECONDS
    for file in list(_files.values()):
        file.connections.hold_for_fork(deadline)


def _after_fork() -> None:
    for file in list(_files.values()):
        file.connections.resume()


def _in_child() -> None:
    for file in list(_files.values()):
        file.forget()


def _at_exit() -> None:
    for file in list(_files.values()):
        file.connections.leave_if_split()


atexit.register(_at_exit)
forking.hold_while_forking(_before_fork, _after_fork)
forking.in_each_child(_in_child)


class _Block:
    """A `with` block on a file. A signal can interrupt all that it does, and the exception undoes it, but for one
    place: before the first instruction of `__exit__`. That is what `SqliteFile.settle` is for. Generators would have
    more such places.
    """

    __slots__ = ("before", "file", "state")

    def __init__(self, file: SqliteFile) -> None:
        self.file, self.state = file, file.connections.state()
        self.before = 0


class _Read(_Block):
    __slots__ = ()

    def __enter__(self) -> Connection:
        connections, state = self.file.connections, self.state
        self.before = before = state.busy
        try:
            connection = connections.enter(state).connection
            if state.open is None:
                connections.check_file()
        except BaseException as error:
            connections.leave(state, before, error)
            _raise_translated(error)
            raise
        return connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.file.connections.leave(self.state, self.before, error)
        _raise_translated(error)


class _Snapshot(_Block):
    __slots__ = ("_taken",)

    def __enter__(self) -> Connection:
        connections, state = self.file.connections, self.state
        self.before, self._taken = state.busy, None  # type: int, OpenConnection | None
        try:
            connections.enter(state)
            connections.check_file()
            taken = self._taken = connections.take_another(state)
            run_text(taken.connection, "BEGIN")
        except BaseException as error:
            self.__exit__(None, error, None)
            raise
        return taken.connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        connections, state, taken = self.file.connections, self.state, self._taken
        try:
            if taken is not None:
                if not is_spoilt(taken, error or ValueError()) and not _rolled_back(taken.raw):
                    taken.close()
                connections.give_back(state, taken, error)
        finally:
            connections.leave(state, self.before, error)
        _raise_translated(error)


class _Write(_Block):
    __slots__ = ("_patient", "_together")

    def __init__(self, file: SqliteFile, *, patient: bool = True, together: bool = False) -> None:
        super().__init__(file)
        self._patient, self._together = patient, together

    def __enter__(self) -> Connection:
        try:
            connection = self.file.begin(self, self.state, patient=self._patient)
        except DATABASE_ERRORS as error:
            raise translated(error) from error
        self.state.together = self._together
        return connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        try:
            if error is None:
                self.file.commit(self, self.state)
            elif self.state.open is self:
                self.file.undo(self.state, self.before, error)
        except DATABASE_ERRORS as failed:
            raise translated(failed) from failed
        _raise_translated(error)


class _Part(_Block):
    """A part of a transaction of SQLite."""

    __slots__ = ("_connection",)

    def __enter__(self) -> Connection:
        held = self.state.open_connection
        assert held is not None
        self._connection = held.connection
        _check_under_way(held.connection)
        self._run("SAVEPOINT part")
        return held.connection

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None:
            self._run("RELEASE part")
        elif isinstance(error, Exception) and _is_under_way(self._connection):  # some failures have undone it as a whole
            self._run("ROLLBACK TO part")
            self._run("RELEASE part")
        _raise_translated(error)

    def _run(self, statement: str) -> None:
        try:
            run_text(self._connection, statement)
        except DATABASE_ERRORS as error:
            raise translated(error) from error


def _raise_translated(error: BaseException | None) -> None:
    if error is not None and isinstance(error, DATABASE_ERRORS):
        raise translated(error) from error


def _rolled_back(raw: sqlite3.Connection) -> bool:
    """Whether it could be undone."""
    try:
        raw.rollback()
    except sqlite3.Error:
        return False
    return True


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


def _check_under_way(connection: Connection | None) -> None:
    """`Unavailable` when SQLite has undone all of it, as it does when the disk is full (sqlite.org/lang_transaction.html)."""
    if connection is None or not _is_under_way(connection):
        raise Unavailable("the database undid what it was doing", hint="look whether its disk is full, then try again")
