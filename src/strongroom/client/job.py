"""The client's methods on the whole deployment: how it is, and what goes through all secrets."""

from __future__ import annotations

import time
from collections.abc import Callable

from strongroom.client.transports.base import Transport
from strongroom.errors import JobFailed
from strongroom.models.info import GetInfo, Info
from strongroom.models.job import BackUpSecrets, CancelJob, GetJob, Job, JobReport, JobStatus, ListJobs, RestoreSecrets, VerifySecrets
from strongroom.models.page import Page
from strongroom.operations import info as of_info
from strongroom.operations import job as operations

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0

Progress = Callable[[Job], object]

_HINT = "what one store lost and the other one has is copied by: strongroom secret verify --deep --repair"


class JobClient:
    """Backup, restore and verification, for administrators. Each waits for the end, and gives the report.

    `on_progress` hears of the job now and then. `UnderWay` while there is another such job; `JobFailed` when it gave up;
    `InvalidInput` without the stores that it takes. When the client ends before the job does, a server goes on with it.
    """

    _transport: Transport

    def backup_secrets(
        self, *, delete_secrets: bool = False, ignore_errors: bool = True, on_progress: Progress | None = None
    ) -> JobReport:
        """Copies all secrets to the backup store; then, if wanted, empties the primary one of what was read back from there."""
        request = BackUpSecrets(delete_secrets=delete_secrets, ignore_errors=ignore_errors)
        return self._wait(self._transport.call(operations.BACK_UP, request), on_progress)

    def restore_secrets(
        self, *, delete_secrets: bool = False, ignore_errors: bool = False, on_progress: Progress | None = None
    ) -> JobReport:
        """Copies all secrets from the backup store to the primary one; then, if wanted, empties the backup."""
        request = RestoreSecrets(delete_secrets=delete_secrets, ignore_errors=ignore_errors)
        return self._wait(self._transport.call(operations.RESTORE, request), on_progress)

    def verify_secrets(self, *, deep: bool = False, repair: bool = False, on_progress: Progress | None = None) -> JobReport:
        """Compares the index with the stores, without showing a value; `deep` reads them all, `repair` mends what can be mended."""
        return self._wait(self._transport.call(operations.VERIFY, VerifySecrets(deep=deep, repair=repair)), on_progress)

    def info(self) -> Info:
        """What the deployment is, and how its secrets stores are."""
        return self._transport.call(of_info.INFO, GetInfo())

    def cancel_job(self, job_id: str) -> Job:
        """Ends a running job after its present step; what it did stays done. One that has ended stays as it is. `NotFound`."""
        return self._transport.call(operations.CANCEL, CancelJob(id=job_id))

    def get_job(self, job_id: str) -> Job:
        """A job by its id. `NotFound`."""
        return self._transport.call(operations.GET, GetJob(id=job_id))

    def list_jobs(self) -> Page[Job]:
        """The last jobs, newest first."""
        return self._transport.call(operations.LIST, ListJobs())

    def _wait(self, job: Job, on_progress: Progress | None) -> JobReport:
        pause = _FIRST_PAUSE
        while True:
            if on_progress is not None:
                on_progress(job)
            if job.status is not JobStatus.RUNNING:
                break
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 1.5)
            job = self.get_job(job.id)
        if job.status is JobStatus.CANCELLED:
            raise JobFailed(f"the {job.kind} was cancelled", hint="run it again to go on", report=job.report)
        if job.status is not JobStatus.DONE:
            reason = job.error or "another process took it over"
            raise JobFailed(f"the {job.kind} {job.status}: {reason}", hint=_HINT if job.report.failed else None, report=job.report)
        return job.report
