"""The index of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from strongroom.db.tables import jobs, users
from strongroom.metadata.conditions import can_be_stored


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job; `state` is JSON, times are in microseconds since 1970."""

    id: str
    kind: str
    status: str
    owner: str
    state: str
    created: int
    updated: int


_SELECT = select(jobs.c.id, jobs.c.kind, jobs.c.status, users.c.name, jobs.c.state, jobs.c.created, jobs.c.updated).join(
    users, users.c.id == jobs.c.owner_id
)
_KEPT = 100


def insert_job(connection: Connection, **columns: Any) -> None:
    """Adds a job, and forgets all but the last ones."""
    connection.execute(insert(jobs).values(**columns))
    old = connection.execute(select(jobs.c.id).order_by(jobs.c.id.desc()).offset(_KEPT).limit(_KEPT)).scalars().all()
    if old:
        connection.execute(delete(jobs).where(jobs.c.id.in_(old)))


def find_job(connection: Connection, job_id: str) -> JobRow | None:
    """The job of this id."""
    if not can_be_stored(job_id):
        return None
    row = connection.execute(_SELECT.where(jobs.c.id == job_id)).one_or_none()
    return JobRow(*row) if row else None


def list_jobs(connection: Connection, status: str | None = None) -> Sequence[JobRow]:
    """The last jobs, newest first; with a status those that stand so."""
    wanted = _SELECT if status is None else _SELECT.where(jobs.c.status == status)
    return [JobRow(*row) for row in connection.execute(wanted.order_by(jobs.c.id.desc()).limit(_KEPT))]


def update_running_job(connection: Connection, job_id: str, **columns: Any) -> bool:
    """Writes how far a job is, or how it ended. False, and nothing is written, if it is not running."""
    running = (jobs.c.id == job_id) & (jobs.c.status == "running")
    return connection.execute(update(jobs).where(running).values(**columns)).rowcount == 1
