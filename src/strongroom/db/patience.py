"""How long a database server may take to answer.

Neither driver gives up by itself: a server that hangs, or a network that swallows packets, would hold a thread for ever. Two limits
work together. Here the client stops waiting, whatever the server does; the connection is closed, and what was asked may have been
done. And the server is told to give up by itself a little later, so that abandoned statements, and transactions whose process was
stopped in the middle, hold no locks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

APPLICATION, UPGRADE = "strongroom", "strongroom-upgrade"
"""What PostgreSQL's sessions are called. Upgrades of the schema may idle within a transaction; see `db/stalled.py`."""

DEFAULT_SECONDS = 10
IDLE_SECONDS = 3
"""A transaction whose process sends nothing for so long is undone by the database: others may wait for its locks."""

NO_ANSWER = "no answer in time"
_CONNECT_SECONDS = 5
_READ_SECONDS = 5
_MARGIN_SECONDS = 5
_thread = threading.local()


def hurry_this_thread(seconds: float) -> None:
    """From now on this thread waits no longer than so long for a statement, or to be connected (there 2 seconds are the least)."""
    _thread.seconds = seconds


def _limit(seconds: float) -> float:
    return min(seconds, getattr(_thread, "seconds", seconds))


def _connect_seconds(given: object, seconds: float) -> int:
    wanted = int(str(given)) if str(given).isdecimal() and int(str(given)) else _CONNECT_SECONDS
    return max(2, round(_limit(min(wanted, seconds))))


def connect_to_postgresql(seconds: float) -> Callable[..., Any]:
    """Opens connections of psycopg that wait so long for each statement."""
    import psycopg

    class SingleStatements(psycopg.Cursor[Any]):
        def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
            # In psycopg's pipeline, a process that stops in the middle leaves a transaction open that none of the limits below ends.
            for params in params_seq:
                self.execute(query, params)

    class BoundedConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
            try:
                return super().wait(_bounded(gen, _limit(seconds)), *arguments, **options)
            except TimeoutError:
                self.close()  # what it would answer now belongs to nobody
            raise psycopg.OperationalError(NO_ANSWER)

    limits = f"SET statement_timeout = {round((seconds + _MARGIN_SECONDS) * 1000)}"
    limits += f"; SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000}"

    def connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        # The kernel notices a peer that vanished: between statements by its probes, and within one when nothing is acknowledged.
        probes: dict[str, Any] = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
        options = probes | {"tcp_user_timeout": round(seconds * 1000), "fallback_application_name": APPLICATION} | options
        options["connect_timeout"] = _connect_seconds(options.get("connect_timeout"), seconds)
        connection = BoundedConnection.connect(*arguments, **options, autocommit=True)
        connection.cursor_factory = SingleStatements
        if _is_pooled(connection):
            connection.prepare_threshold = None
        else:
            connection.execute(limits, prepare=False)
        connection.autocommit = False
        return connection

    return connect


def _is_pooled(connection: Any) -> bool:
    """Returns whether a pooler such as PgBouncer stands in between: it says another process id than the server does.

    There, each transaction may run in another session, so a session keeps neither settings nor prepared statements.
    """
    [(pid,)] = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
    return bool(pid != connection.info.backend_pid)


def _bounded(generator: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
    """Psycopg's own generator, which says what to wait for; it is told at intervals when that has not happened."""
    try:
        wanted = next(generator)
        deadline = time.monotonic() + seconds
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > deadline:
                generator.close()
                raise TimeoutError
            wanted = generator.send(ready)
    except StopIteration as end:
        return end.value


def connect_to_mysql(seconds: float) -> Callable[..., Any]:
    """Opens connections of PyMySQL that wait so long for each answer."""
    import pymysql.connections

    base: Any = pymysql.connections.Connection

    class BoundedConnection(base):  # type: ignore[misc]
        # PyMySQL gives its socket this timeout before each read. Were it to do so no longer, that of all threads would remain.
        @property
        def _read_timeout(self) -> float:
            return _limit(seconds)

        @_read_timeout.setter
        def _read_timeout(self, value: float) -> None:
            pass

    # MariaDB ends transactions that idle; MySQL has no such limit, and takes what is for MariaDB for a comment.
    limits = (
        f"SET SESSION innodb_lock_wait_timeout = {max(1, round(seconds + _MARGIN_SECONDS))}, net_read_timeout = {_READ_SECONDS}"
        f"/*M!100300 , idle_transaction_timeout = {IDLE_SECONDS} */"
    )

    def connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        options = {"read_timeout": seconds, "write_timeout": seconds, "init_command": limits} | options
        options["connect_timeout"] = _connect_seconds(options.get("connect_timeout"), seconds)
        return BoundedConnection(*arguments, **options)

    return connect


def has_given_up(said: str) -> bool:
    """Whether a driver's message means that there was no answer in time."""
    return NO_ANSWER in said or "timed out" in said or "timeout expired" in said
