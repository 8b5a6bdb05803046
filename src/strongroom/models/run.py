"""Runs of pipelines: what ran when, with what result, and which secrets it read. Never a value."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.models.page import DEFAULT_PAGE_SIZE
from strongroom.models.reference import Need
from strongroom.redaction import SecretText


class RunStatus(enum.StrEnum):
    """How a run or a step stands. `cached` and `pending` are for steps alone."""

    CACHED = "cached"
    COMPLETED = "completed"
    FAILED = "failed"
    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"


class ArtifactRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An output of a step: where it lies, in which format, and the type of what it holds. `size` is in bytes.

    `digest` is the SHA-256 of its bytes. `mac` is the server's mark over the record, its step and its cache key. The server shows
    it to the owner of the run, and to others where the workspace shares its cache; only an artifact that has one is unpickled.
    """

    name: str
    uri: str
    format: str
    type: str
    size: int
    digest: str = ""
    mac: str = ""


class RunStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a run. `inputs` maps parameters to `step.output`; settings and parameters are as written."""

    name: str
    status: RunStatus
    parameters: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    settings: dict[str, Any] = {}
    outputs: list[ArtifactRecord] = []
    metadata: dict[str, Any] = {}
    cached_from: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
    error: str | None = None


class SecretRead(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a secret's version that was read; `step` is None for what the run as a whole resolved."""

    secret_id: str
    secret: str
    version: int
    key: str
    step: str | None = None
    moment: datetime | None = None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a pipeline. The `token` of the run's steps is given once, when the run begins.

    Lists leave `parameters`, `steps` and `reads` out, and show the beginning of an `error`.
    """

    id: str
    name: str
    pipeline: str
    stack: str
    status: RunStatus
    workspace: str
    owner: str
    started: datetime
    finished: datetime | None
    error: str | None
    parameters: dict[str, Any] | UnsetType = UNSET
    steps: list[RunStep] | UnsetType = UNSET
    reads: list[SecretRead] | UnsetType = UNSET
    token: SecretText | UnsetType = UNSET


class SecretUse(msgspec.Struct, frozen=True, kw_only=True):
    """That a step of a run read a key of some version of a secret."""

    run_id: str
    run: str
    pipeline: str
    owner: str
    step: str | None
    version: int
    key: str
    moment: datetime


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step that a run is going to take."""

    name: str
    parameters: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    settings: dict[str, Any] = {}


class CreateRun(msgspec.Struct, frozen=True, kw_only=True):
    """Records that a run begins. Without a name it gets one.

    `needs` are what its steps may read with the run's token: keys of secrets, looked up now, as whoever begins the run sees them.
    `stack_state` is that of the stack as the run uses it.
    """

    pipeline: str
    stack: str
    stack_state: str | None = None
    name: str | None = None
    parameters: dict[str, Any] = {}
    steps: list[PlannedStep] = []
    needs: list[Need] = []


class UpdateRunStep(msgspec.Struct, frozen=True, kw_only=True):
    """Records how a step of one's own run stands. What is left out stays.

    With `former`, only where it stands so now: of several callers that begin a step, one does. A `completed` step has `outputs`; a
    `cached` one takes those of the step with the same cache key in the run `cached_from`.
    """

    id: str
    step: str
    status: RunStatus
    former: RunStatus | None = None
    cache_key: str | None = None
    cached_from: str | None = None
    outputs: list[ArtifactRecord] = []
    metadata: dict[str, Any] = {}
    error: str | None = None


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True):
    """What is on record of a step's outputs now."""

    outputs: list[ArtifactRecord] = []


class FinishRun(msgspec.Struct, frozen=True, kw_only=True):
    """Records the end of one's own run."""

    id: str
    status: RunStatus
    error: str | None = None


class RecordReads(msgspec.Struct, frozen=True, kw_only=True):
    """Records what one's own run has read; what is recorded already is no error."""

    id: str
    reads: list[SecretRead]


class FindCachedStep(msgspec.Struct, frozen=True, kw_only=True):
    """Looks for the latest completed step with this cache key in the caller's own runs, else where the workspace shares its cache."""

    cache_key: str


class CachedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A completed step: the run that took it (None: there is none), and its outputs."""

    run_id: str | None = None
    outputs: list[ArtifactRecord] = []


class GetRun(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a run by its full id or its exact name."""

    name: str


class ListRuns(msgspec.Struct, frozen=True, kw_only=True):
    """A page of runs, newest first."""

    pipeline: str | None = None
    status: RunStatus | None = None
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class ListSecretUsage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of who read a secret, newest first."""

    id: str
    version: int | None = None
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE
