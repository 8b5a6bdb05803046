"""The pages of runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET
from starlette.responses import Response

from strongroom.models.run import GetRun, ListRuns, RunStatus, SecretRead
from strongroom.operations import run as of_run
from strongroom.server.ui.attributes import some_lines
from strongroom.server.ui.visit import PAGE_SIZE, Visit

_OF_RUNS = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.RUNNING, RunStatus.STOPPED)


async def list_runs(visit: Visit) -> Response:
    """The runs of the workspace, newest first."""
    query = visit.request.query_params
    pipeline, status = query.get("pipeline", "").strip(), query.get("status", "")
    wanted = ListRuns(
        pipeline=pipeline or None,
        status=RunStatus(status) if status in _OF_RUNS else None,
        page=visit.page_number,
        size=PAGE_SIZE,
    )
    found = await visit.ask(of_run.LIST, wanted)
    context: dict[str, Any] = {"runs": found, "pipeline": pipeline, "chosen": status, "statuses": _OF_RUNS, "took": took}
    if visit.is_partial:
        return visit.piece("run/_table.html", **context)
    return await visit.page("run/list.html", **context)


async def show_run(visit: Visit) -> Response:
    """A run with its steps, and which of them read what."""
    found = await visit.ask(of_run.GET, GetRun(name=visit.request.path_params["name"]))
    steps = [] if found.steps is UNSET else found.steps
    reads: dict[str | None, list[SecretRead]] = {None: [], **{step.name: [] for step in steps}}
    for read in [] if found.reads is UNSET else found.reads:
        reads.setdefault(read.step, []).append(read)
    return await visit.page(
        "run/show.html",
        run=found,
        steps=steps,
        reads=reads,
        lines=some_lines,
        took=took,
    )


def took(started: datetime | None, finished: datetime | None) -> str:
    """How long something took, to read."""
    if started is None or finished is None:
        return ""
    seconds = max(0.0, (finished - started).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


PAGES = (
    ("GET", "/runs", list_runs, False),
    ("GET", "/runs/{name}", show_run, False),
)
