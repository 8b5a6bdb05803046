"""The records of runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.auth.run_access import ALL_KEYS
from strongroom.auth.tokens import TokenKind, digest, new_token
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated
from strongroom.db.identifiers import new_id
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, StaleVersion, TooLarge, Unauthenticated, printable
from strongroom.metadata import identity, run_token
from strongroom.metadata import run as index
from strongroom.metadata import stack as stacks
from strongroom.metadata.conditions import can_be_stored
from strongroom.metadata.run import RunRow, StepRow
from strongroom.metadata.secret import KeysRow, SecretIndex
from strongroom.models.component import check_plain_name
from strongroom.models.filter import from_microseconds
from strongroom.models.near import near_names
from strongroom.models.page import Page, check_page, offset_of
from strongroom.models.reference import MAX_REFERENCES, Need
from strongroom.models.run import (
    ArtifactRecord,
    CachedStep,
    CreateRun,
    FindCachedStep,
    FinishRun,
    GetRun,
    ListRuns,
    ListSecretUsage,
    RecordedStep,
    RecordReads,
    Run,
    RunStatus,
    RunStep,
    SecretRead,
    SecretUse,
    UpdateRunStep,
)
from strongroom.models.secret import MAX_VERSION
from strongroom.redaction import SecretText
from strongroom.secrets_stores.sql import SqlSecretsStore
from strongroom.service.artifact import ArtifactMarks, Place, check_outputs
from strongroom.service.deployment import Deployment
from strongroom.service.private_names import hide_in_texts
from strongroom.service.revision import Revisions
from strongroom.service.secret_lookup import namespaces_of

MAX_RECORD_BYTES = 1_048_576
"""Of JSON, for the parameters of a run or the metadata of a step."""

MAX_RUN_CHARACTERS = 4 * 1_048_576
"""For all steps of a run: plans, outputs, metadata and errors. A run is shown as a whole."""

MAX_READS_OF_RUN = 20_000
"""Different keys of versions of secrets that the steps of a run read."""

TOKEN_SECONDS = 7 * 24 * 3600
"""How long a run token lasts at most, where nothing ends its run."""

_MAX_ERROR = 16_384
MAX_STEPS = 5_000
"""Of a run. With what each may always record, that bounds how large a run can become."""

_SMALL = 2_048
"""So many characters a step may always record."""

_MAX_CACHE_KEY, _MAX_ID = 64, 36
_ENDS = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.STOPPED)
_DONE = (RunStatus.CACHED, RunStatus.COMPLETED)
_FORMER = {
    RunStatus.PENDING: (RunStatus.PENDING,),
    RunStatus.RUNNING: (RunStatus.PENDING,),
    RunStatus.COMPLETED: (RunStatus.RUNNING,),
    RunStatus.CACHED: (RunStatus.PENDING, RunStatus.RUNNING),
    RunStatus.FAILED: (RunStatus.PENDING, RunStatus.RUNNING),
    RunStatus.STOPPED: (RunStatus.PENDING, RunStatus.RUNNING),
}
"""How a step may stand before it is recorded as the key says. What has ended stays."""
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_decode_plan = msgspec.json.Decoder(dict[str, Any]).decode
_decode_outputs = msgspec.json.Decoder(list[ArtifactRecord]).decode


class RunService:
    """Records runs. Only who began a run may add to its record; everybody in the workspace may read it. Thread-safe."""

    def __init__(self, deployment: Deployment, store: SqlSecretsStore, revisions: Revisions) -> None:
        self._database, self._revisions = deployment.database, revisions
        self._secrets = SecretIndex(store, deployment.binding)
        self._marks = ArtifactMarks(deployment)

    def create(self, actor: Actor, request: CreateRun) -> Run:
        """Records that a run begins; with the run's token, shown this once. `AlreadyExists` for a name that is taken; `InvalidInput`.

        The token reads what of `needs` is there. It ends with the run, with all tokens of its owner, and, where the run is begun with
        an API key, with that key; at the latest after `TOKEN_SECONDS`. `ApprovalNeeded` when the actor may not use the stack, and
        `StaleVersion` when it is not in the state that the request names.
        """
        run_id, moment, token = new_id(), now(), new_token(TokenKind.RUN)
        pipeline = check_plain_name(request.pipeline, "the pipeline")
        stamp = from_microseconds(moment).strftime("%Y%m%d-%H%M%S")
        name = f"{pipeline[:220]}-{stamp}-{run_id[-6:]}" if request.name is None else _checked_name(request.name)
        if len(request.steps) > MAX_STEPS:
            raise InvalidInput(f"a run has at most {MAX_STEPS} steps", hint="have a step do the work of several")
        plans = [
            (
                check_plain_name(step.name, "the step"),
                _encode({"parameters": step.parameters, "inputs": step.inputs, "settings": step.settings}),
            )
            for step in request.steps
        ]
        if len({step_name for step_name, _ in plans}) < len(plans):
            raise InvalidInput("a run takes several steps of one name", hint="give each step a name of its own")
        parameters = _encode(request.parameters)
        needs = _checked_needs(request.needs)
        try:
            with self._database.write() as connection:
                index.insert_run(
                    connection,
                    id=run_id,
                    workspace_id=actor.workspace_id,
                    name=name,
                    pipeline=pipeline,
                    stack=check_plain_name(request.stack, "the stack"),
                    status=RunStatus.RUNNING.value,
                    owner_id=actor.user_id,
                    parameters=parameters,
                    started=moment,
                )
                index.insert_steps(connection, run_id, RunStatus.PENDING, plans)
                known = self._check_stack(connection, actor, request)
                self._issue_token(connection, actor, run_id, token, needs, moment, known)
        except ConstraintViolated:
            raise AlreadyExists(f"a run '{name}' already exists", hint="give another name, or none") from None
        return msgspec.structs.replace(self.get(actor, GetRun(name=run_id)), token=SecretText(token))

    def _check_stack(self, connection: Connection, actor: Actor, request: CreateRun) -> Mapping[str, KeysRow]:
        """Refuses a stack that the actor may not use. What its references lead to, by the secrets' names.

        A run that is granted no secret, and whose stack its client does not name by its state, takes nothing here. A client that
        wants the stack's attributes for it asks for them, and is checked then.
        """
        row = stacks.find_stack(connection, actor.workspace_id, request.stack)
        if row is None:  # then there is nothing that the run could use
            return {}
        reviewed = self._revisions.review_stack(connection, actor, row)
        if request.needs or request.stack_state is not None:
            self._revisions.require(connection, actor, reviewed, request.stack_state)
        return reviewed.found

    def _issue_token(
        self,
        connection: Connection,
        actor: Actor,
        run_id: str,
        token: str,
        needs: Sequence[Need],
        moment: int,
        known: Mapping[str, KeysRow],
    ) -> None:
        """Makes the run's token, with a grant for each need that leads to a secret.

        `StaleVersion` when a secret is another one than was `known` when the stack was checked.
        """
        run_token.delete_expired(connection, actor.user_id, moment)
        expires, issuer = moment + TOKEN_SECONDS * 1_000_000, None
        if actor.token_id is not None:
            issued_by = run_token.lock_token(connection, actor.token_id)
            if issued_by is None:
                raise Unauthenticated("this token is not valid, or not any more", hint="log in again: strongroom login URL")
            kind, ends = issued_by
            if kind == TokenKind.API_KEY:
                issuer, expires = actor.token_id, min(expires, expires if ends is None else ends)
        identity.insert_token(
            connection,
            token_id=run_id,
            digest=digest(token),
            kind=TokenKind.RUN,
            user_id=actor.user_id,
            name=None,
            expires=expires,
            now=moment,
            issuer_id=issuer,
        )
        names = list(dict.fromkeys(need.name for need in needs))
        found = self._secrets.find_keys(connection, actor.workspace_id, namespaces_of(actor, None), names)
        if any(name in known and found[name].id != known[name].id for name in found):
            raise StaleVersion("a secret that the stack refers to was changed just now", hint="run it again")
        granted = {(found[need.name].id, ALL_KEYS if need.key is None else need.key): None for need in needs if need.name in found}
        run_token.add_grants(connection, run_id, list(granted))

    def update_step(self, actor: Actor, request: UpdateRunStep) -> RecordedStep:
        """Records how a step stands. `NotFound`, `Forbidden`; `InvalidInput`, also when the run has ended.

        `StaleVersion` when the step does not stand as the request says, has ended, or takes outputs of a step that is not done. A run
        token neither gives a step its cache key nor takes over former results: the user who began the run does.
        """
        if actor.run is not None and (request.cache_key is not None or request.status in (RunStatus.PENDING, RunStatus.CACHED)):
            raise Forbidden(
                "a run token records that a step runs and how it ended",
                hint="cache keys and cached results come from the run's owner",
            )
        for text, limit in ((request.cache_key, _MAX_CACHE_KEY), (request.cached_from, _MAX_ID)):
            if text is not None and not (can_be_stored(text) and len(text) <= limit):
                raise InvalidInput(f"a cache key has at most {_MAX_CACHE_KEY} ASCII characters, and a run's id {_MAX_ID}")
        columns: dict[str, Any] = {"status": request.status.value}
        if request.status is RunStatus.RUNNING:
            columns["started"] = now()
        elif request.status is not RunStatus.PENDING:
            columns["finished"] = now()
            columns["facts"] = _encode(request.metadata)
            columns["error"] = _error_text(request.error)
            columns["cached_from"] = request.cached_from if request.status is RunStatus.CACHED else None
        if request.cache_key is not None:
            columns["cache_key"] = request.cache_key
        outputs = check_outputs(request.id, request.step, request.outputs) if request.outputs else []
        if outputs and request.status is not RunStatus.COMPLETED:
            raise InvalidInput("outputs of a step are recorded when it has completed")
        with self._database.write() as connection:
            self._own(connection, actor, request.id, running=True)
            step = index.find_step(connection, request.id, request.step)  # nobody else changes it: the run is locked
            if step is None:
                raise NotFound(f"this run has no step '{printable(request.step)}'")
            _check_order(connection, request, step)
            if request.status is RunStatus.CACHED:
                outputs = self._former_outputs(connection, actor, request.cached_from, request.cache_key or step.cache_key)
            if request.status in _DONE:
                place = Place(actor.workspace_id, actor.user_id, request.id, request.step, request.cache_key or step.cache_key)
                outputs = self._marks.marked(place, outputs)
                columns["outputs"] = _encode(outputs)
            added = sum(len(columns.get(name) or "") for name in ("outputs", "facts", "error"))
            if added > _SMALL and added + index.size_of_steps(connection, request.id, but=request.step) > MAX_RUN_CHARACTERS:
                raise TooLarge(f"the steps of a run record at most {MAX_RUN_CHARACTERS} characters", hint="keep it in an artifact")
            index.update_step(connection, request.id, request.step, **columns)
        return RecordedStep(outputs=list(outputs))

    def _former_outputs(
        self, connection: Connection, actor: Actor, run_id: str | None, cache_key: str | None
    ) -> Sequence[ArtifactRecord]:
        """The outputs of a step that completed under the cache key in a run whose results the actor may take over."""
        found = None
        if run_id is not None and cache_key is not None:
            found = self._find_cached(connection, actor, cache_key, run_id)
        if found is None:
            raise InvalidInput("there is no such result to take over", hint="it was recorded by another user, or under another key")
        return found.outputs

    def _find_cached(self, connection: Connection, actor: Actor, cache_key: str, run_id: str | None) -> CachedStep | None:
        """A completed step of one of the actor's runs; else, where the workspace shares its cache, of anybody's."""
        shared = index.shares_cache(connection, actor.workspace_id, lock=run_id is not None)  # what is taken over is recorded
        owners = [actor.user_id, None] if shared else [actor.user_id]
        for owner_id in owners:
            row = index.find_cached(connection, actor.workspace_id, cache_key, RunStatus.COMPLETED, owner_id=owner_id, run_id=run_id)
            if row is not None:
                place = Place(actor.workspace_id, row.owner_id, row.run_id, row.step, cache_key)
                outputs = self._marks.checked(place, _decode_outputs(row.outputs))
                if all(record.mac for record in outputs):
                    return CachedStep(run_id=row.run_id, outputs=outputs)
        return None

    def finish(self, actor: Actor, request: FinishRun) -> None:
        """Records the end of a run; its token ends with it, and so do steps that were under way.

        `NotFound`, `Forbidden`, `InvalidInput`.
        """
        if request.status not in _ENDS:
            raise InvalidInput("a run ends as completed, failed or stopped")
        with self._database.write() as connection:
            self._own(connection, actor, request.id, running=True)
            index.end_steps(connection, request.id, RunStatus.RUNNING, RunStatus.STOPPED, now())
            index.finish_run(connection, request.id, RunStatus.RUNNING, request.status, _error_text(request.error), now())
            identity.delete_token(connection, request.id)

    def record_reads(self, actor: Actor, request: RecordReads) -> None:
        """Records what a run read. `NotFound`, `Forbidden`."""
        self.record(actor, request.id, request.reads)

    def record(self, actor: Actor, run_id: str, reads: Sequence[SecretRead]) -> None:
        """The same, for the service itself."""
        rows = [(read.step or "", read.secret_id, read.version, read.key, read.secret) for read in reads]
        for row in rows:
            sound = 0 < row[2] <= MAX_VERSION and len(row[1]) <= 36
            if not sound or any(
                isinstance(text, str) and not (text.isascii() and text.isprintable() and len(text) <= 255) for text in row
            ):
                raise InvalidInput("a read is recorded by the names and ids of what was read")
        with self._database.write() as connection:
            self._own(connection, actor, run_id)
            if not index.add_reads(connection, run_id, rows, now(), MAX_READS_OF_RUN):
                raise TooLarge(f"a run reads at most {MAX_READS_OF_RUN} different keys of secrets")

    def find_cached_step(self, actor: Actor, request: FindCachedStep) -> CachedStep:
        """The latest completed step with this cache key, of the actor's own runs first; without a run if there is none.

        Results of others are found only where the workspace shares its cache, and none whose record was changed since.
        """
        with self._database.snapshot() as connection:
            return self._find_cached(connection, actor, request.cache_key, None) or CachedStep()

    def get(self, actor: Actor, request: GetRun) -> Run:
        """The run of this name or id, with its steps and what it read of secrets that the actor may see. `NotFound`."""
        with self._database.snapshot() as connection:
            row = index.find_run(connection, actor.workspace_id, request.name)
            if row is None:
                near = near_names(request.name, index.names_of_runs(connection, actor.workspace_id, 200))
                hint = f"did you mean {near[0]}?" if near else "see them with: strongroom run list"
                raise NotFound(f"there is no run '{printable(request.name)}'", hint=hint)
            vouched = row.owner_id == actor.user_id or index.shares_cache(connection, actor.workspace_id)
            steps = [self._step(actor, row, step, vouched) for step in index.list_steps(connection, row.id)]
            reads = [
                SecretRead(
                    secret_id=secret_id, secret=secret, version=version, key=key, step=step or None, moment=from_microseconds(moment)
                )
                for step, secret_id, secret, version, key, moment in index.list_reads(connection, row.id)
            ]
            if row.owner_id != actor.user_id:  # another one's user-scoped secrets do not exist for anybody else
                visible = self._secrets.visible(connection, actor.workspace_id, actor.user_id, {read.secret_id for read in reads})
                reads = [read for read in reads if read.secret_id in visible]
            errors = hide_in_texts(connection, actor, [(row.owner_id, text) for text in (row.error, *(step.error for step in steps))])
        steps = [msgspec.structs.replace(step, error=error) for step, error in zip(steps, errors[1:], strict=True)]
        return msgspec.structs.replace(_run(row), steps=steps, reads=reads, error=errors[0])

    def list(self, actor: Actor, request: ListRuns) -> Page[Run]:
        """A page of runs, newest first."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            rows, total = index.list_runs(
                connection,
                actor.workspace_id,
                pipeline=request.pipeline,
                status=request.status,
                offset=offset_of(request.page, request.size),
                size=request.size,
            )
            errors = hide_in_texts(connection, actor, [(row.owner_id, row.error) for row in rows])
        items = [msgspec.structs.replace(_run(row), error=error) for row, error in zip(rows, errors, strict=True)]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def list_usage(self, actor: Actor, request: ListSecretUsage) -> Page[SecretUse]:
        """A page of who read a secret that the actor may see, newest first. `NotFound`.

        Of a user-scoped one only its owner's reads count: anybody may claim to have read it, and nobody else can have.
        """
        check_page(request.page, request.size)
        if request.version is not None and not 0 < request.version <= MAX_VERSION:
            raise InvalidInput("versions are counted from 1")
        with self._database.snapshot() as connection:
            secret = self._secrets.find_by_id(connection, actor.workspace_id, actor.user_id, request.id)
            if secret is None:
                raise NotFound(
                    f"there is no secret with the id {printable(request.id)}", hint="see them with: strongroom secret list"
                )
            rows, total = index.list_usage(
                connection,
                actor.workspace_id,
                request.id,
                reader=secret.private_to or None,
                version=request.version,
                offset=offset_of(request.page, request.size),
                size=request.size,
            )
        items = [
            SecretUse(
                run_id=run_id,
                run=run,
                pipeline=pipeline,
                owner=owner,
                step=step or None,
                version=version,
                key=key,
                moment=from_microseconds(moment),
            )
            for run_id, run, pipeline, owner, step, version, key, moment in rows
        ]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def _step(self, actor: Actor, run: RunRow, row: StepRow, vouched: bool) -> RunStep:
        """The step as it is shown; its outputs have marks only where they are `vouched` for."""
        plan, outputs = _decode_plan(row.plan), _decode_outputs(row.outputs)
        if vouched:
            outputs = self._marks.checked(Place(actor.workspace_id, run.owner_id, run.id, row.name, row.cache_key), outputs)
        else:
            outputs = [msgspec.structs.replace(record, mac="") for record in outputs]
        return RunStep(
            name=row.name,
            status=RunStatus(row.status),
            parameters=plan["parameters"],
            inputs=plan["inputs"],
            settings=plan["settings"],
            outputs=outputs,
            metadata=_decode_plan(row.facts),
            cached_from=row.cached_from,
            started=None if row.started is None else from_microseconds(row.started),
            finished=None if row.finished is None else from_microseconds(row.finished),
            error=row.error,
        )

    @staticmethod
    def _own(connection: Connection, actor: Actor, run_id: str, *, running: bool = False) -> None:
        """Locks the run, which has to be the actor's."""
        found = index.lock_run(connection, actor.workspace_id, run_id)
        if found is None:
            raise NotFound(f"there is no run with the id {printable(run_id)}")
        owner_id, status = found
        if owner_id != actor.user_id:
            raise Forbidden("only who began a run may add to its record")
        if running and status != RunStatus.RUNNING:
            raise InvalidInput(f"this run has ended: it is {status}")


def _checked_name(name: str) -> str:
    """The name of a run that looks like no run's id: runs are found by both."""
    if _RUN_ID.fullmatch(check_plain_name(name, "the run")):
        raise InvalidInput("a run cannot be named like an id", hint="choose another name, or none")
    return name


def _check_order(connection: Connection, request: UpdateRunStep, step: StepRow) -> None:
    """Refuses what is recorded twice or too early. `StaleVersion`."""
    if request.former is not None and step.status != request.former:
        raise StaleVersion(f"this step is {step.status}, not {request.former}", hint="somebody else is executing it, or has")
    if step.status not in _FORMER[request.status]:
        raise StaleVersion(f"this step is {step.status}, and cannot be {request.status} after that", hint="it is recorded once")
    if request.status in (RunStatus.RUNNING, RunStatus.CACHED):
        takes = {source.rpartition(".")[0] for given in _decode_plan(step.plan)["inputs"].values() for source in given.split(", ")}
        if takes and (waiting := index.unfinished_steps(connection, request.id, takes, _DONE)):
            raise StaleVersion(f"this step takes an output of '{waiting[0]}', which is not done", hint="steps are recorded in order")


def _checked_needs(needs: Sequence[Need]) -> Sequence[Need]:
    if len(needs) > MAX_REFERENCES:
        raise InvalidInput(f"a run needs at most {MAX_REFERENCES} keys of secrets")
    for need in needs:
        if need.key is not None and not (need.key and len(need.key) <= 255 and can_be_stored(need.key)):
            raise InvalidInput("a run needs secrets by their names and keys", hint="leave the key out for all of them")
    return needs


def _run(row: RunRow) -> Run:
    return Run(
        id=row.id,
        name=row.name,
        pipeline=row.pipeline,
        stack=row.stack,
        status=RunStatus(row.status),
        workspace=row.workspace,
        owner=row.owner,
        parameters=UNSET if row.parameters is None else _decode_plan(row.parameters),
        started=from_microseconds(row.started),
        finished=None if row.finished is None else from_microseconds(row.finished),
        error=row.error,
        steps=UNSET,
        reads=UNSET,
    )


def _error_text(text: str | None) -> str | None:
    """What an exception said, in characters that every database takes."""
    if text is None:
        return None
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")[:_MAX_ERROR]


def _encode(data: object) -> str:
    try:
        encoded = msgspec.json.encode(data)
    except (TypeError, ValueError, RecursionError):
        encoded = None  # those errors may quote what they were given: ours is raised outside of them
    if encoded is None:
        raise InvalidInput("parameters, settings and metadata of a run are what JSON can write")
    if len(encoded) > MAX_RECORD_BYTES:
        raise InvalidInput(f"the record of a run takes at most {MAX_RECORD_BYTES} bytes of parameters or metadata")
    return encoded.decode()
