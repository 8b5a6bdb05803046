"""The time, as the tables keep it."""

from __future__ import annotations

import time

from sqlalchemy import Connection, text

TOLERATED = 1_000_000
"""Clocks that differ by less, in microseconds, are taken to agree: to measure the difference takes time, too."""

_QUERIES = {
    "postgresql": text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"),
    "mysql": text("SELECT TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"),
}
_ahead = 0


def now() -> int:
    """Microseconds since 1970 in UTC, by the clock of the database server where this process uses one; see `follow_clock`."""
    return time.time_ns() // 1_000 + _ahead


def database_time(connection: Connection) -> int:
    """Returns `now` by the database's clock, in one statement. For SQLite, that is this machine's."""
    query = _QUERIES.get("mysql" if connection.dialect.name == "mariadb" else connection.dialect.name)
    return time.time_ns() // 1_000 if query is None else int(connection.execute(query).scalar_one())


def follow_clock(connection: Connection) -> None:
    """Makes `now` follow the database server's clock, in one statement. Call it now and then: either clock may be set.

    All processes of a deployment then agree on what has expired, even when the clock of one machine is wrong.
    """
    global _ahead
    before = time.time_ns() // 1_000
    there = database_time(connection)
    after = time.time_ns() // 1_000
    ahead = there - (before + after) // 2
    _ahead = ahead if abs(ahead) > TOLERATED + (after - before) else 0
