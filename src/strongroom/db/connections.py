"""Connections to a database server, kept in pools as long as they are good.

A connection goes bad when the server restarts, fails over, ends it, or begins to take no changes; then its neighbours in the pools
most likely did, too. They look open. So before one is used again it is looked at, which costs a few microseconds and no round trip;
and when one fails in use, all that were opened before are given up.
"""

from __future__ import annotations

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError

from strongroom.db.failures import DATABASE_ERRORS, DatabaseError, Interrupted, Unanswered, is_disconnect, is_read_only, translated
from strongroom.db.patience import has_given_up
from strongroom.errors import StrongroomError

_FRESH, _GENERATION, REUSED = "strongroom.fresh", "strongroom.generation", "strongroom.reused"


class Generation:
    """Which connections of several pools are good: those that were opened since the last one went bad. Thread-safe."""

    def __init__(self, *engines: Engine) -> None:
        self._number = 0
        for engine in engines:
            event.listen(engine, "connect", self._opened)
            event.listen(engine, "checkout", self._check)

    @contextmanager
    def connection_of(self, engine: Engine) -> Iterator[Connection]:
        """A connection for reads. Driver errors leave the block as ours."""
        try:
            with engine.connect() as connection, _closed_when_interrupted(connection):
                yield connection
        except DATABASE_ERRORS as error:
            self._judge(error)
            raise translated(error) from error

    @contextmanager
    def transaction_of(self, engine: Engine) -> Iterator[Connection]:
        """A connection with a transaction. `Interrupted` when one that had been good went bad before the commit: nothing was done."""
        reused = done = False
        try:
            with engine.begin() as connection, _closed_when_interrupted(connection):
                reused = connection.info.get(REUSED, False)
                yield connection
                done = True
        except DATABASE_ERRORS as error:
            if self._judge(error):
                if done:
                    raise Unanswered("the connection to the database was lost", hint="look, then try again") from error
                if reused and not has_given_up(str(error)):  # another connection would not be answered either
                    raise Interrupted("the connection to the database was lost", hint="try again") from error
            raise translated(error) from error

    def failed(self, error: DatabaseError) -> StrongroomError:
        """Our error for a driver's, in the middle of a transaction."""
        if self._judge(error) and not has_given_up(str(error)):
            return Interrupted("the connection to the database was lost", hint="try again")
        return translated(error)

    def _judge(self, error: Exception) -> bool:
        """Whether the error means that the connection went bad; then so did all that were opened before now."""
        bad = isinstance(error, DBAPIError) and (is_disconnect(error) or is_read_only(error))
        if bad:
            self._number += 1
        return bad

    def _opened(self, _connection: Any, record: Any) -> None:
        record.info[_GENERATION], record.info[_FRESH], record.info[REUSED] = self._number, True, False

    def _check(self, connection: Any, record: Any, _proxy: object) -> None:
        """Raises what makes the pool replace the connection by a new one."""
        info = record.info
        if info.pop(_FRESH, False):
            return
        if info[_GENERATION] != self._number or _has_changed(connection):
            raise DisconnectionError("it went bad")
        info[REUSED] = True


@contextmanager
def _closed_when_interrupted(connection: Connection) -> Iterator[None]:
    """After Ctrl-C nobody knows what is under way on the connection: it is closed, which undoes it, and not used again."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        connection.invalidate()
        raise


def _has_changed(connection: Any) -> bool:
    """Whether a connection that idles was ended or reset, was told something by the server, or takes no changes."""
    pgconn = getattr(connection, "pgconn", None)
    if pgconn is None:  # PyMySQL
        socket = getattr(connection, "_sock", None)
        return socket is None or _is_readable(socket.fileno())
    if connection.closed or _is_readable(pgconn.socket):
        return True
    # PostgreSQL tells this when a session begins, and such a session stays as it is when the database takes changes again.
    return b"on" in (pgconn.parameter_status(b"default_transaction_read_only"), pgconn.parameter_status(b"in_hot_standby"))


def _is_readable(file: int) -> bool:
    """Whether there is something to be read, without waiting: a server says nothing to who asks for nothing but farewell."""
    if not hasattr(select, "poll"):
        return bool(select.select([file], [], [], 0)[0])
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(0))
