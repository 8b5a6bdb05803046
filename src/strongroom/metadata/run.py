"""The index of runs, their steps, and what they read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, exists, func, insert, null, select, update

from strongroom.db.tables import run_steps, runs, secret_reads, shared_caches, users, workspaces
from strongroom.metadata.conditions import can_be_stored

SHOWN_ERROR = 255
"""Characters of an error in lists."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run; `parameters` is JSON (None in lists), times are in microseconds since 1970."""

    id: str
    name: str
    pipeline: str
    stack: str
    status: str
    owner_id: str
    parameters: str | None
    started: int
    finished: int | None
    error: str | None
    workspace: str
    owner: str


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step of a run; `plan`, `outputs` and `facts` are JSON."""

    name: str
    status: str
    plan: str
    outputs: str
    facts: str
    cache_key: str | None
    cached_from: str | None
    started: int | None
    finished: int | None
    error: str | None


_RUN_COLUMNS = (
    runs.c.id,
    runs.c.name,
    runs.c.pipeline,
    runs.c.stack,
    runs.c.status,
    runs.c.owner_id,
    runs.c.parameters,
    runs.c.started,
    runs.c.finished,
    runs.c.error,
    workspaces.c.name,
    users.c.name,
)
_source = runs.join(workspaces, workspaces.c.id == runs.c.workspace_id).join(users, users.c.id == runs.c.owner_id)
_SELECT = select(*_RUN_COLUMNS).select_from(_source)
_IN_LISTS = {
    "parameters": null().label("parameters"),
    "error": func.substr(runs.c.error, 1, SHOWN_ERROR).label("error"),
}
_SELECT_SHORT = select(*(_IN_LISTS.get(column.name, column) for column in _RUN_COLUMNS)).select_from(_source)
_STEPS = select(
    run_steps.c.name,
    run_steps.c.status,
    run_steps.c.plan,
    run_steps.c.outputs,
    run_steps.c.facts,
    run_steps.c.cache_key,
    run_steps.c.cached_from,
    run_steps.c.started,
    run_steps.c.finished,
    run_steps.c.error,
).order_by(run_steps.c.position)


def _row(columns: Sequence[Any]) -> RunRow:
    return RunRow(*columns)


def _step(columns: Sequence[Any]) -> StepRow:
    return StepRow(*columns)


def insert_run(connection: Connection, **columns: Any) -> None:
    """Adds a run. `ConstraintViolated` when the name is taken in its workspace."""
    connection.execute(insert(runs).values(**columns))


def insert_steps(connection: Connection, run_id: str, status: str, plans: Sequence[tuple[str, str]]) -> None:
    """Adds the steps that a run is going to take, in order: pairs of name and plan."""
    rows = [
        {"run_id": run_id, "name": name, "position": position, "status": status, "plan": plan, "outputs": "[]", "facts": "{}"}
        for position, (name, plan) in enumerate(plans)
    ]
    if rows:
        connection.execute(insert(run_steps), rows)


def find_step(connection: Connection, run_id: str, name: str) -> StepRow | None:
    """A step of a run; None when the run has no such step."""
    if not can_be_stored(name):
        return None
    row = connection.execute(_STEPS.where(run_steps.c.run_id == run_id, run_steps.c.name == name)).one_or_none()
    return _step(row) if row else None


def unfinished_steps(connection: Connection, run_id: str, names: Collection[str], ended: Collection[str]) -> list[str]:
    """Those of the run's steps of these names that are in none of the `ended` states, in order."""
    statement = select(run_steps.c.name).where(
        run_steps.c.run_id == run_id, run_steps.c.name.in_(names), run_steps.c.status.not_in(ended)
    )
    return list(connection.execute(statement.order_by(run_steps.c.position)).scalars())


def size_of_steps(connection: Connection, run_id: str, *, but: str) -> int:
    """How many characters the steps of a run hold in plans, outputs, metadata and errors, without one of them."""
    lengths = (func.length(run_steps.c.plan), func.length(run_steps.c.outputs), func.length(run_steps.c.facts))
    total = sum(lengths, func.coalesce(func.length(run_steps.c.error), 0))
    statement = select(func.sum(total)).where(run_steps.c.run_id == run_id, run_steps.c.name != but)
    return int(connection.execute(statement).scalar() or 0)


def update_step(connection: Connection, run_id: str, name: str, **columns: Any) -> None:
    """Changes columns of a step; one that has ended has begun, at the latest then."""
    if "finished" in columns:
        columns["started"] = func.coalesce(run_steps.c.started, columns["finished"])
    connection.execute(update(run_steps).where(run_steps.c.run_id == run_id, run_steps.c.name == name).values(**columns))


def end_steps(connection: Connection, run_id: str, former: str, status: str, now: int) -> None:
    """Gives all steps that are in one state another one."""
    open_steps = (run_steps.c.run_id == run_id) & (run_steps.c.status == former)
    connection.execute(update(run_steps).where(open_steps).values(status=status, finished=now))


def finish_run(connection: Connection, run_id: str, former: str, status: str, error: str | None, now: int) -> bool:
    """Ends a run that is in the `former` state; whether it was."""
    found = connection.execute(
        update(runs).where(runs.c.id == run_id, runs.c.status == former).values(status=status, error=error, finished=now)
    )
    return bool(found.rowcount)


def find_run(connection: Connection, workspace_id: str, name_or_id: str) -> RunRow | None:
    """The run of exactly this name or id."""
    if not can_be_stored(name_or_id):
        return None
    wanted = (runs.c.workspace_id == workspace_id) & ((runs.c.id == name_or_id) | (runs.c.name == name_or_id))
    found = [_row(row) for row in connection.execute(_SELECT.where(wanted))]
    return next((row for row in found if row.id == name_or_id), found[0] if found else None)


def names_of_runs(connection: Connection, workspace_id: str, limit: int) -> Sequence[str]:
    """The names of the latest runs, newest first."""
    statement = select(runs.c.name).where(runs.c.workspace_id == workspace_id).order_by(runs.c.id.desc()).limit(limit)
    return connection.execute(statement).scalars().all()


def list_runs(
    connection: Connection, workspace_id: str, *, pipeline: str | None, status: str | None, offset: int, size: int
) -> tuple[list[RunRow], int]:
    """A page of runs, newest first, and how many there are in all. It has no parameters, and the beginnings of errors."""
    if pipeline is not None and not can_be_stored(pipeline):
        return [], 0
    wanted = [runs.c.workspace_id == workspace_id]
    wanted += [runs.c.pipeline == pipeline] if pipeline is not None else []
    wanted += [runs.c.status == status] if status is not None else []
    total = connection.execute(select(func.count()).select_from(runs).where(*wanted)).scalar_one()
    rows = connection.execute(_SELECT_SHORT.where(*wanted).order_by(runs.c.id.desc()).offset(offset).limit(size))
    return [_row(row) for row in rows], total


def list_steps(connection: Connection, run_id: str) -> list[StepRow]:
    """The steps of a run, in order."""
    return [_step(row) for row in connection.execute(_STEPS.where(run_steps.c.run_id == run_id))]


@dataclass(frozen=True, slots=True)
class CachedRow:
    """A step whose outputs (JSON) may be used again, its run, and the owner of that."""

    run_id: str
    step: str
    owner_id: str
    outputs: str


def find_cached(
    connection: Connection, workspace_id: str, cache_key: str, status: str, *, owner_id: str | None, run_id: str | None = None
) -> CachedRow | None:
    """The latest step with this cache key that ended so, in runs of the workspace: of this owner, and this run, unless None."""
    if not can_be_stored(cache_key) or (run_id is not None and not can_be_stored(run_id)):
        return None
    conditions = [run_steps.c.cache_key == cache_key, run_steps.c.status == status, runs.c.workspace_id == workspace_id]
    conditions += [runs.c.owner_id == owner_id] if owner_id is not None else []
    conditions += [runs.c.id == run_id] if run_id is not None else []
    statement = (
        select(run_steps.c.run_id, run_steps.c.name, runs.c.owner_id, run_steps.c.outputs)
        .join(runs, runs.c.id == run_steps.c.run_id)
        .where(*conditions)
        .order_by(run_steps.c.finished.desc())
        .limit(1)
    )
    row = connection.execute(statement).one_or_none()
    return CachedRow(*row) if row else None


def shares_cache(connection: Connection, workspace_id: str, *, lock: bool = False) -> bool:
    """Whether members of the workspace share their cache; with `lock` they do so until the transaction ends."""
    statement = select(shared_caches.c.workspace_id).where(shared_caches.c.workspace_id == workspace_id)
    return connection.execute(statement.with_for_update(read=True) if lock else statement).first() is not None


def add_reads(connection: Connection, run_id: str, reads: Sequence[tuple[str, str, int, str, str]], now: int, limit: int) -> bool:
    """Records reads: step ('' for the whole run), secret id, version, key, the secret's name. Those on record already stay.

    Returns False, and records nothing, when the run would have more than `limit`.
    """
    known = set(
        connection.execute(
            select(secret_reads.c.step, secret_reads.c.secret_id, secret_reads.c.number, secret_reads.c.key_name).where(
                secret_reads.c.run_id == run_id
            )
        ).all()
    )
    rows = [
        {
            "run_id": run_id,
            "step": step,
            "secret_id": secret_id,
            "number": number,
            "key_name": key,
            "secret_name": name,
            "moment": now,
        }
        for step, secret_id, number, key, name in dict.fromkeys(reads)
        if (step, secret_id, number, key) not in known
    ]
    if len(known) + len(rows) > limit:
        return False
    if rows:
        connection.execute(insert(secret_reads), rows)
    return True


def list_reads(connection: Connection, run_id: str) -> Sequence[Sequence[Any]]:
    """What a run read: step, secret id, secret name, version, key, moment. What a step read is not told once more for the run."""
    statement = select(
        secret_reads.c.step,
        secret_reads.c.secret_id,
        secret_reads.c.secret_name,
        secret_reads.c.number,
        secret_reads.c.key_name,
        secret_reads.c.moment,
    ).where(secret_reads.c.run_id == run_id, _SPECIFIC)
    return connection.execute(statement.order_by(secret_reads.c.moment, secret_reads.c.key_name)).all()


def list_usage(
    connection: Connection, workspace_id: str, secret_id: str, *, reader: str | None, version: int | None, offset: int, size: int
) -> tuple[Sequence[Sequence[Any]], int]:
    """A page of who read a secret (or of one reader's reads), newest first, and how many there are in all.

    Each has: run id, run, pipeline, owner, step, version, key, moment.
    """
    wanted = [secret_reads.c.secret_id == secret_id, runs.c.workspace_id == workspace_id, _SPECIFIC]
    wanted += [secret_reads.c.number == version] if version is not None else []
    wanted += [runs.c.owner_id == reader] if reader is not None else []
    source = secret_reads.join(runs, runs.c.id == secret_reads.c.run_id).join(users, users.c.id == runs.c.owner_id)
    total = connection.execute(select(func.count()).select_from(source).where(*wanted)).scalar_one()
    statement = (
        select(
            runs.c.id,
            runs.c.name,
            runs.c.pipeline,
            users.c.name,
            secret_reads.c.step,
            secret_reads.c.number,
            secret_reads.c.key_name,
            secret_reads.c.moment,
        )
        .select_from(source)
        .where(*wanted)
        .order_by(secret_reads.c.moment.desc(), runs.c.id.desc(), secret_reads.c.step, secret_reads.c.key_name)
        .offset(offset)
        .limit(size)
    )
    return connection.execute(statement).all(), total


def lock_run(connection: Connection, workspace_id: str, run_id: str) -> tuple[str, str] | None:
    """The owner's id and the status of a run, which stays locked until the transaction ends."""
    if not can_be_stored(run_id):
        return None
    statement = select(runs.c.owner_id, runs.c.status).where(runs.c.id == run_id, runs.c.workspace_id == workspace_id)
    row = connection.execute(statement.with_for_update()).one_or_none()
    return (row[0], row[1]) if row else None


_by_step = secret_reads.alias("by_step")
# A read of the whole run is left out where a step of it is known to have read the same.
_SPECIFIC = (secret_reads.c.step != "") | ~exists().where(
    and_(
        _by_step.c.run_id == secret_reads.c.run_id,
        _by_step.c.secret_id == secret_reads.c.secret_id,
        _by_step.c.number == secret_reads.c.number,
        _by_step.c.key_name == secret_reads.c.key_name,
        _by_step.c.step != "",
    )
)
