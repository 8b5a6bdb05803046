"""The client's methods on the records of runs."""

from __future__ import annotations

from typing import Any

from strongroom.client.transports.base import Transport
from strongroom.errors import InvalidInput
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
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
    RunStatus,
    SecretRead,
    UpdateRunStep,
)
from strongroom.operations import run as operations


class RunClient:
    """Runs: get, list. The methods that write are for whatever executes pipelines."""

    _transport: Transport

    def get_run(self, name_or_id: str) -> Run:
        """The run of this exact name or id, with its steps and what they read. `NotFound`."""
        return self._transport.call(operations.GET, GetRun(name=name_or_id))

    def list_runs(
        self,
        *,
        pipeline: str | None = None,
        status: RunStatus | str | None = None,
        page: int = 1,
        size: int = DEFAULT_PAGE_SIZE,
    ) -> Page[Run]:
        """A page of runs, newest first, without their steps. `InvalidInput` for a status that there is not."""
        wanted = None if status is None else _status(status)
        return self._transport.call(operations.LIST, ListRuns(pipeline=pipeline, status=wanted, page=page, size=size))

    def create_run(self, request: CreateRun) -> Run:
        """Records that a run begins."""
        return self._transport.call(operations.CREATE, request)

    def update_run_step(self, run_id: str, step: str, status: RunStatus, **fields: Any) -> RecordedStep:
        """Records how a step of one's own run stands; `fields` as in `UpdateRunStep`. `StaleVersion`, `InvalidInput`, `Forbidden`."""
        return self._transport.call(operations.UPDATE_STEP, UpdateRunStep(id=run_id, step=step, status=status, **fields))

    def finish_run(self, run_id: str, status: RunStatus, error: str | None = None) -> None:
        """Records the end of one's own run."""
        self._transport.call(operations.FINISH, FinishRun(id=run_id, status=status, error=error))

    def record_reads(self, run_id: str, reads: list[SecretRead]) -> None:
        """Records what one's own run has read."""
        self._transport.call(operations.RECORD_READS, RecordReads(id=run_id, reads=reads))

    def find_cached_step(self, cache_key: str) -> CachedStep:
        """The latest completed step with this cache key whose outputs the caller may take over; without a run if there is none."""
        return self._transport.call(operations.FIND_CACHED_STEP, FindCachedStep(cache_key=cache_key))


def _status(status: RunStatus | str) -> RunStatus:
    try:
        return RunStatus(status)
    except ValueError:
        raise InvalidInput("there is no such status", hint=f"a run is one of: {', '.join(RunStatus)}") from None
