"""The pages of secrets stores, and of the jobs that go through them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from strongroom.errors import InvalidInput
from strongroom.models.info import GetInfo
from strongroom.models.job import BackUpSecrets, GetJob, JobStatus, ListJobs, RestoreSecrets, VerifySecrets
from strongroom.operations import info as of_info
from strongroom.operations import job as of_job
from strongroom.operations.operation import Operation
from strongroom.server.ui.visit import Form, Visit

WORD = "empty"
"""What is typed to have a store emptied."""


async def list_stores(visit: Visit) -> Response:
    """The stores of the deployment and how they are, and the last jobs."""
    jobs = await visit.ask(of_job.LIST, ListJobs())
    info = await visit.ask(of_info.INFO, GetInfo())
    has_backup = any(store.role == "backup" for store in info.stores)
    return await visit.page("store/list.html", info=info, jobs=list(jobs), has_backup=has_backup, word=WORD)


async def back_up(visit: Visit) -> Response:
    """Begins to copy everything to the backup store."""
    form = await visit.form()
    wanted = BackUpSecrets(delete_secrets=_deletes(form), ignore_errors=bool(form.get("ignore_errors")))
    return await _begin(visit, of_job.BACK_UP, wanted)


async def restore(visit: Visit) -> Response:
    """Begins to copy everything back to the primary store."""
    form = await visit.form()
    wanted = RestoreSecrets(delete_secrets=_deletes(form), ignore_errors=bool(form.get("ignore_errors")))
    return await _begin(visit, of_job.RESTORE, wanted)


async def verify(visit: Visit) -> Response:
    """Begins to compare the index with the stores."""
    form = await visit.form()
    return await _begin(visit, of_job.VERIFY, VerifySecrets(deep=bool(form.get("deep")), repair=bool(form.get("repair"))))


async def show_job(visit: Visit) -> Response:
    """How a job stands. The piece asks for itself again while the job runs."""
    job = await visit.ask(of_job.GET, GetJob(id=visit.request.path_params["id"]))
    report = job.report
    context: dict[str, Any] = {
        "job": job,
        "running": job.status is JobStatus.RUNNING,
        "so_far": min(job.total, report.done + report.failed + report.skipped),
    }
    if visit.is_partial:
        return visit.piece("store/_job.html", **context)
    return await visit.page("store/job.html", **context)


async def _begin(visit: Visit, operation: Operation[Any, Any], wanted: Any) -> Response:
    job = await visit.ask(operation, wanted)
    return visit.go_to(f"/stores/jobs/{job.id}")


def _deletes(form: Form) -> bool:
    """Whether a store is to be emptied: asked for, and meant."""
    if not form.get("delete_secrets"):
        return False
    if form.get("typed").strip() != WORD:
        raise InvalidInput(f"nothing was begun: to empty a store, type the word {WORD}")
    return True


PAGES = (
    ("GET", "/stores", list_stores, False),
    ("POST", "/stores/back-up", back_up, False),
    ("POST", "/stores/restore", restore, False),
    ("POST", "/stores/verify", verify, False),
    ("GET", "/stores/jobs/{id}", show_job, False),
)
