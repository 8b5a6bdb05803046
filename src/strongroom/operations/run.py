"""The operations on runs of pipelines."""

from __future__ import annotations

from strongroom.models.page import Page
from strongroom.models.run import (
    CachedStep,
    CreateRun,
    FindCachedStep,
    FinishRun,
    GetRun,
    ListRuns,
    RecordedStep,
    RecordReads,
    Run,
    UpdateRunStep,
)
from strongroom.operations.operation import Audited, Operation, Repeat
from strongroom.operations.permission import Permission

_STEP = Audited(shown=("step", "status"))

CREATE = Operation(
    "run.create",
    "POST",
    "/runs",
    Permission.RUN_WRITE,
    CreateRun,
    Run,
    "/runs/{name}",
    Repeat.NEVER,
    audited=Audited(shown=("pipeline", "stack")),
)
FIND_CACHED_STEP = Operation(
    "run.find-cached-step",
    "GET",
    "/cached-steps/{cache_key}",
    Permission.RUN_READ,
    FindCachedStep,
    CachedStep,
    for_runs=True,
    audited=Audited(target="cache_key"),
)
FINISH = Operation(
    "run.finish", "POST", "/runs/{id}/finish", Permission.RUN_WRITE, FinishRun, type(None), audited=Audited(shown=("status",))
)
GET = Operation("run.get", "GET", "/runs/{name}", Permission.RUN_READ, GetRun, Run, for_runs=True)
LIST = Operation("run.list", "GET", "/runs", Permission.RUN_READ, ListRuns, Page[Run])
RECORD_READS = Operation("run.record-reads", "POST", "/runs/{id}/reads", Permission.RUN_WRITE, RecordReads, type(None), for_runs=True)
UPDATE_STEP = Operation(
    "run.update-step",
    "PATCH",
    "/runs/{id}/steps/{step}",
    Permission.RUN_WRITE,
    UpdateRunStep,
    RecordedStep,
    for_runs=True,
    audited=_STEP,
)

RUN_OPERATIONS = (CREATE, FIND_CACHED_STEP, FINISH, GET, LIST, RECORD_READS, UPDATE_STEP)
