"""Calling a step's function: what goes in, what comes out, and in whose name it reads secrets meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from strongroom.client import Client
from strongroom.client.transports.acting import acting
from strongroom.errors import InvalidInput, StrongroomError, printable
from strongroom.models.reference import parse_reference
from strongroom.models.run import ArtifactRecord, RecordedStep, RunStatus
from strongroom.pipelines import artifact
from strongroom.pipelines.context import StepContext
from strongroom.pipelines.interface import check_type
from strongroom.pipelines.step import Step
from strongroom.redaction import Redactor
from strongroom.stacks.resolution import Resolver
from strongroom.stacks.stack import ActiveStack


@dataclass(frozen=True)
class StepPlan:
    """One call of a step: parameters and settings as they are written, inputs as the artifacts that they are.

    `acts_for_run` says that clients within the step have the run's token, whatever the orchestrator.
    """

    run_id: str
    run_name: str
    pipeline: str
    name: str
    step: Step
    parameters: Mapping[str, Any] = field(repr=False)
    inputs: Mapping[str, ArtifactRecord | list[ArtifactRecord]]
    settings: Mapping[str, Any]
    acts_for_run: bool


@dataclass(frozen=True)
class Workplace:
    """What a process executes the steps of a run with: `client` has the run's token."""

    client: Client
    stack: ActiveStack
    resolver: Resolver
    redactor: Redactor


def execute(plan: StepPlan, workplace: Workplace, record: Callable[..., RecordedStep]) -> dict[str, ArtifactRecord]:
    """Calls the step's function, stores its outputs, and calls `record` with them and the metadata; the outputs as recorded."""
    interface, metadata, store = plan.step.interface, dict[str, Any](), workplace.stack.artifact_store
    arguments = {**plan.parameters, **{parameter: _load(store, given) for parameter, given in plan.inputs.items()}}
    for parameter in plan.inputs:
        check_type(arguments[parameter], interface.parameters[parameter], f"the input '{parameter}' of step '{plan.name}'")
    if interface.context is not None:
        arguments[interface.context] = StepContext(
            run_id=plan.run_id,
            run_name=plan.run_name,
            pipeline_name=plan.pipeline,
            step_name=plan.name,
            stack=workplace.stack,
            _settings=lambda: workplace.resolver.resolve(plan.settings),
            _metadata=metadata,
        )
    with _tracking(plan, workplace.stack), acting(workplace.client.transport) if plan.acts_for_run else contextlib.nullcontext():
        result = plan.step.function(**arguments)
    outputs = _store(plan, store, result)
    facts = recorded(workplace.redactor, metadata, f"the metadata of step '{plan.name}'")
    recorded_step = record(RunStatus.COMPLETED, outputs=list(outputs.values()), metadata=facts)
    return {output.name: output for output in recorded_step.outputs}


def _load(store: Any, given: ArtifactRecord | list[ArtifactRecord]) -> Any:
    return [_load(store, each) for each in given] if isinstance(given, list) else artifact.load(store, given)


def _store(plan: StepPlan, store: Any, result: Any) -> dict[str, ArtifactRecord]:
    """Stores the outputs that the function's annotation names."""
    wanted = plan.step.interface.outputs
    if not wanted:
        if result is not None:
            raise InvalidInput(f"step '{plan.name}' gives something, and its annotation says None")
        return {}
    if len(wanted) > 1 and not (isinstance(result, tuple) and len(result) == len(wanted)):
        raise InvalidInput(f"step '{plan.name}' has to give a tuple of {len(wanted)}: {', '.join(wanted)}")
    results = result if len(wanted) > 1 else (result,)
    stored = {}
    for (name, hint), value in zip(wanted.items(), results, strict=True):
        check_type(value, hint, f"the output '{name}' of step '{plan.name}'")
        stored[name] = artifact.store(store, plan.run_id, plan.name, name, value)
    return stored


@contextlib.contextmanager
def _tracking(plan: StepPlan, stack: ActiveStack) -> Iterator[None]:
    if not plan.step.experiment_tracker or stack.experiment_tracker is None:
        yield
        return
    with stack.experiment_tracker.track(f"{plan.run_name}.{plan.name}", plan.pipeline):
        yield


def error_line(error: BaseException) -> str:
    """An error as the records have it: text that every database takes."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - any exception may come out of somebody's __str__; the text says so, as in tracebacks
        said = "<exception str() failed>"
    text = said if isinstance(error, StrongroomError) else f"{type(error).__name__}: {said}".removesuffix(": ")
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def recorded(redactor: Redactor, data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Plain data as it is recorded, with values masked, and references as they are. `InvalidInput` for what is no plain data."""
    try:
        plain = msgspec.to_builtins(dict(data), str_keys=True)
        msgspec.json.encode(plain)
    except (TypeError, ValueError, RecursionError):
        odd = next((name for name, item in data.items() if not _is_plain(item)), "?")
        raise InvalidInput(
            f"'{printable(str(odd))}' of {what} is no plain data", hint="make it the output of a step, or pass a name or a path"
        ) from None
    masked: dict[str, Any] = redactor.redact_nested(plain, keep=lambda text: parse_reference(text) is not None)
    return masked


def _is_plain(item: Any) -> bool:
    try:
        msgspec.json.encode(msgspec.to_builtins(item, str_keys=True))
    except (TypeError, ValueError, RecursionError):
        return False
    return True
