"""Jobs: what takes long and goes through the whole deployment."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec


class JobKind(enum.StrEnum):
    """What a job does."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"


class JobStatus(enum.StrEnum):
    """How a job stands. `failed`: it gave up, and `error` says why. Whatever the status, what it had done stays done."""

    CANCELLED = "cancelled"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    RUNNING = "running"


class JobFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that something is wrong with. `id` and `name` are empty for values that belong to no secret."""

    name: str
    id: str
    error: str


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a job did, counted in secrets. `skipped` ones needed nothing. Of many failures the first 1000 are listed."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[JobFailure] = []


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job with its report so far. `total` is how many secrets there were when it began."""

    id: str
    kind: JobKind
    status: JobStatus
    owner: str
    total: int
    report: JobReport
    created: datetime
    updated: datetime
    error: str | None = None


class BackUpSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """Copies all versions of all secrets to the backup store.

    With `delete_secrets` the primary store is emptied of what was read back from the backup. Without `ignore_errors` the first
    failure ends it.
    """

    delete_secrets: bool = False
    ignore_errors: bool = True


class RestoreSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """Copies all versions of all secrets from the backup store to the primary one; the rest as for a backup."""

    delete_secrets: bool = False
    ignore_errors: bool = False


class VerifySecrets(msgspec.Struct, frozen=True, kw_only=True):
    """Compares the index with the stores. `deep` reads all values, `repair` mends what can be mended."""

    deep: bool = False
    repair: bool = False


class CancelJob(msgspec.Struct, frozen=True, kw_only=True):
    """Cancels a job."""

    id: str


class GetJob(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a job."""

    id: str


class ListJobs(msgspec.Struct, frozen=True, kw_only=True):
    """The last jobs, newest first."""
