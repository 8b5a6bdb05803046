"""The operations on jobs, and those that begin one."""

from __future__ import annotations

from strongroom.models.job import BackUpSecrets, CancelJob, GetJob, Job, ListJobs, RestoreSecrets, VerifySecrets
from strongroom.models.page import Page
from strongroom.operations.operation import Operation
from strongroom.operations.permission import Permission

BACK_UP = Operation(
    "store.back-up", "POST", "/secrets/backup", Permission.STORE_MANAGE, BackUpSecrets, Job, "/jobs/{id}", begins_job=True
)
CANCEL = Operation("job.cancel", "POST", "/jobs/{id}/cancel", Permission.STORE_MANAGE, CancelJob, Job)
GET = Operation("job.get", "GET", "/jobs/{id}", Permission.STORE_MANAGE, GetJob, Job)
LIST = Operation("job.list", "GET", "/jobs", Permission.STORE_MANAGE, ListJobs, Page[Job])
RESTORE = Operation(
    "store.restore", "POST", "/secrets/restore", Permission.STORE_MANAGE, RestoreSecrets, Job, "/jobs/{id}", begins_job=True
)
VERIFY = Operation(
    "store.verify", "POST", "/secrets/verify", Permission.STORE_MANAGE, VerifySecrets, Job, "/jobs/{id}", begins_job=True
)

JOB_OPERATIONS = (BACK_UP, CANCEL, GET, LIST, RESTORE, VERIFY)
