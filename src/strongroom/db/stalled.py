"""Sessions of the database that hold locks and do nothing, because their process was stopped or its network is gone."""

from __future__ import annotations

from sqlalchemy import Connection, text

STALLED_SECONDS = 2
"""A session that waits for its client this long, within a transaction that others wait for, is ended."""

# A session of ours that waits for its client in an open transaction, and for which another session waits. Sessions of upgrades have
# another name: they may take their time. Roles may end their own sessions without a further right.
# https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
_END_STALLED = text(
    """
    SELECT pg_terminate_backend(holder.pid) FROM pg_stat_activity AS holder
    WHERE holder.datname = current_database() AND holder.application_name = current_setting('application_name')
      AND holder.pid <> pg_backend_pid() AND holder.xact_start IS NOT NULL AND holder.wait_event_type = 'Client'
      AND holder.state_change < clock_timestamp() - make_interval(secs => :seconds)
      AND EXISTS (
        SELECT 1 FROM pg_stat_activity AS waiter
        WHERE waiter.wait_event_type = 'Lock' AND holder.pid = ANY (pg_blocking_pids(waiter.pid))
      )
    """
)


def end_stalled(connection: Connection) -> int:
    """Ends the stalled sessions of this deployment on PostgreSQL; returns how many. Their transactions are undone.

    Elsewhere it does nothing: MariaDB ends such sessions by itself; see `connect_to_mysql`.
    """
    if connection.dialect.name != "postgresql":
        return 0
    return sum(bool(row[0]) for row in connection.execute(_END_STALLED, {"seconds": STALLED_SECONDS}))
