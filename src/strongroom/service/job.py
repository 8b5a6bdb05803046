"""Jobs: begun by an administrator, done in a thread of the process that was asked, one at a time in a deployment.

How far a job is stands in the index after each of its steps. When its process dies, another one that serves takes it over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.errors import NotFound, StrongroomError, Unavailable, UnderWay, printable
from strongroom.metadata import job as index
from strongroom.metadata import lease
from strongroom.metadata.job import JobRow
from strongroom.models.filter import from_microseconds
from strongroom.models.job import BackUpSecrets, CancelJob, GetJob, Job, JobKind, JobStatus, ListJobs, RestoreSecrets, VerifySecrets
from strongroom.models.page import Page
from strongroom.service.private_names import hide_in_jobs
from strongroom.service.transfers import State, Transfers

LEASE = "job"
LEASE_SECONDS = 60
_WATCH_SECONDS = 2.0

Request = BackUpSecrets | RestoreSecrets | VerifySecrets
_KINDS: dict[type[Request], JobKind] = {
    BackUpSecrets: JobKind.BACKUP,
    RestoreSecrets: JobKind.RESTORE,
    VerifySecrets: JobKind.VERIFY,
}


class _Kept(msgspec.Struct, kw_only=True):
    """What is kept of a job: what it was asked to do, how far it is, and why it gave up."""

    request: msgspec.Raw
    state: State
    error: str | None = None


class _LostLease(Exception):
    """Another process has the job now, it was cancelled, or this process ends."""


class JobService:
    """Begins jobs, and tells how they stand. Thread-safe."""

    def __init__(self, database: Database, transfers: Transfers) -> None:
        self._database, self._transfers = database, transfers
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self, actor: Actor, request: Request) -> Job:
        """Begins a job. `UnderWay` while there is another one; `InvalidInput` if the stores for it are not configured."""
        self._transfers.check(request)
        moment, job_id, holder = now(), new_id(), new_id()
        kept = _Kept(request=msgspec.Raw(msgspec.json.encode(request)), state=State())
        try:
            with self._database.write() as connection:
                taken = lease.holder_of(connection, LEASE, LEASE_SECONDS) is None and _take(connection, holder)
                if taken:
                    for stale in index.list_jobs(connection, JobStatus.RUNNING):
                        index.update_running_job(connection, stale.id, status=JobStatus.INTERRUPTED.value, updated=moment)
                    index.insert_job(
                        connection,
                        id=job_id,
                        kind=_KINDS[type(request)].value,
                        status=JobStatus.RUNNING.value,
                        owner_id=actor.user_id,
                        state=_encode(kept),
                        created=moment,
                        updated=moment,
                    )
        except ConstraintViolated:  # another process made the lease just now
            taken = False
        if not taken:
            running = next((job for job in self.list(actor, ListJobs()).items if job.status is JobStatus.RUNNING), None)
            what = f"a {running.kind} (job {running.id})" if running else "another job"
            hint = f"wait for its end, or cancel it with: strongroom job cancel {running.id}" if running else "wait for its end"
            raise UnderWay(f"{what} is under way", hint=hint)
        self._database.after_commit(lambda: self._start(job_id, request, kept, holder))
        return self.get(actor, GetJob(id=job_id))

    def get(self, actor: Actor, request: GetJob) -> Job:
        """The job of this id. `NotFound`."""
        with self._database.read() as connection:
            row = index.find_job(connection, request.id)
            if row is None:
                raise NotFound(f"there is no job with the id {printable(request.id)}", hint="the last 100 are kept")
            return hide_in_jobs(connection, actor, [_shown(row)])[0]

    def cancel(self, actor: Actor, request: CancelJob) -> Job:
        """Ends a running job after its present step, in whichever process it runs; what it did stays done. `NotFound`.

        Another job can begin at once. A job that has ended stays as it is.
        """
        job = self.get(actor, GetJob(id=request.id))
        with self._database.write() as connection:
            if index.update_running_job(connection, job.id, status=JobStatus.CANCELLED.value, updated=now()):
                lease.end(connection, LEASE)
        return self.get(actor, GetJob(id=request.id))

    def list(self, actor: Actor, request: ListJobs) -> Page[Job]:
        """The last jobs on one page, newest first."""
        with self._database.read() as connection:
            items = hide_in_jobs(connection, actor, [_shown(row) for row in index.list_jobs(connection)])
        return Page.of(items, total=len(items), page=1, size=max(1, len(items)))

    def watch(self, tell: Callable[[StrongroomError], object]) -> None:
        """For processes that serve: takes over jobs whose process died, until `close`. `tell` hears when the index is silent."""

        def run() -> None:
            while not self._ended.wait(_WATCH_SECONDS):
                try:
                    self._take_over()
                except StrongroomError as error:  # tried again the next time
                    tell(error)

        thread = threading.Thread(target=run, name="jobs", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Returns when no job is under way in this process."""
        for thread in self._threads:
            if thread.name == "job":
                thread.join()

    def close(self) -> None:
        """Ends the job after its present step; another process goes on with it."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _take_over(self) -> None:
        with self._database.read() as connection:
            running = index.list_jobs(connection, JobStatus.RUNNING)
        if not running:
            return
        holder = new_id()
        try:
            with self._database.write() as connection:
                if lease.holder_of(connection, LEASE, LEASE_SECONDS) is not None or not _take(connection, holder):
                    return
                row = index.find_job(connection, running[0].id)
        except ConstraintViolated:
            return
        if row is not None and row.status == JobStatus.RUNNING:
            kept = _decode(row.state)
            kinds = {kind.value: request_type for request_type, kind in _KINDS.items()}
            self._start(row.id, msgspec.json.decode(kept.request, type=kinds[row.kind]), kept, holder)

    def _start(self, job_id: str, request: Request, kept: _Kept, holder: str) -> None:
        thread = threading.Thread(target=self._run, args=(job_id, request, kept, holder), name="job", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, job_id: str, request: Request, kept: _Kept, holder: str) -> None:
        def step(state: State) -> None:
            with self._database.write() as connection:
                if not _take(connection, holder):
                    raise _LostLease
                if not index.update_running_job(connection, job_id, state=_encode(kept), updated=now()):
                    raise _LostLease  # it was cancelled
            if self._ended.is_set():
                raise _LostLease

        status = JobStatus.DONE
        try:
            self._transfers.run(request, kept.state, step)
        except _LostLease:
            status = JobStatus.RUNNING
        except StrongroomError as error:
            kept.error = error.message
            status = JobStatus.FAILED
        except BaseException as error:  # a mistake of ours: whoever waits is told, and it would not go better the next time
            kept.error = f"an unexpected error ({type(error).__name__})"
            self._finish(job_id, JobStatus.FAILED, kept, holder)
            raise
        self._finish(job_id, status, kept, holder)

    def _finish(self, job_id: str, status: JobStatus, kept: _Kept, holder: str) -> None:
        """Writes how it ended, and lets others begin a job. Where the index does not answer, the job is taken over later."""
        try:
            with self._database.write() as connection:
                if lease.holder_of(connection, LEASE, LEASE_SECONDS) == holder:
                    if status is not JobStatus.RUNNING:
                        index.update_running_job(connection, job_id, status=status.value, state=_encode(kept), updated=now())
                    lease.give_back(connection, LEASE, holder)
        except Unavailable:
            return


def _take(connection: Connection, holder: str) -> bool:
    """Takes or prolongs the lease, for one job in one process."""
    return lease.take(connection, LEASE, holder, LEASE_SECONDS)


def _shown(row: JobRow) -> Job:
    kept = _decode(row.state)
    return Job(
        id=row.id,
        kind=JobKind(row.kind),
        status=JobStatus(row.status),
        owner=row.owner,
        total=kept.state.total,
        report=kept.state.report,
        created=from_microseconds(row.created),
        updated=from_microseconds(row.updated),
        error=kept.error,
    )


def _encode(kept: _Kept) -> str:
    return msgspec.json.encode(kept).decode()


_decode = msgspec.json.Decoder(_Kept).decode
