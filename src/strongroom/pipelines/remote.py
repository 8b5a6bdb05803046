"""Steps in other processes: what is sent there, and what is done with it there.

Such a process knows nothing of whoever began the run. It is given the run's token and the address of the server, and works with
these alone: it reads no login, no key, and no variable of its environment.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

import strongroom
from strongroom.client import Client
from strongroom.client.observers import observing
from strongroom.client.transports.acting import confine_for_good, confined
from strongroom.client.transports.remote import RemoteTransport
from strongroom.config import Settings
from strongroom.errors import InvalidInput, MissingExtra, StaleVersion, StrongroomError
from strongroom.models.reference import parse_reference, walk_texts
from strongroom.models.run import RecordedStep, RunStatus
from strongroom.models.stack import StackUse
from strongroom.pipelines.execution import StepPlan, Workplace, error_line, execute
from strongroom.pipelines.graph import composing
from strongroom.pipelines.interface import Interface
from strongroom.pipelines.reads import Reads
from strongroom.pipelines.step import Step
from strongroom.redaction import Redactor, SecretText, redacting
from strongroom.stacks.orchestrator import ShippedStep
from strongroom.stacks.resolution import Place, Resolver
from strongroom.stacks.stack import ActiveStack, within


class StepReply(msgspec.Struct, frozen=True, kw_only=True):
    """How a step ended elsewhere: its outputs are in the run's record, an error is here. Texts have their values masked."""

    seconds: float = 0
    error: str | None = None
    hint: str | None = None
    trace: str = ""


@dataclass(frozen=True)
class Destination:
    """The server as another process reaches it. `certificates` prove its identity beside the system's."""

    server: str
    certificates: str | None
    insecure: bool
    token: str = field(repr=False)


@dataclass(frozen=True)
class _Function:
    """A step's function: where to import it from, or itself."""

    name: str
    source: tuple[str, str] | None
    function: Callable[..., Any] | None
    interface: Interface
    experiment_tracker: str | bool


@dataclass(frozen=True)
class _Cargo:
    destination: Destination
    folder: Path
    places: list[Place]
    hidden: list[str] = field(repr=False)
    step: _Function
    plan: StepPlan


_ships = False


def ship(plan: StepPlan, destination: Destination, *, folder: Path, places: list[Place], hidden: Iterable[str]) -> ShippedStep:
    """The step for another process. `hidden` are texts to keep out of its output there. `InvalidInput` for what cannot be sent."""
    global _ships
    _ships = True
    try:
        import cloudpickle
    except ModuleNotFoundError:
        raise MissingExtra("sending steps to other processes needs cloudpickle", hint="pip install 'strongroom[dask]'") from None
    step = plan.step
    source = _source(step)
    function = _Function(step.name, source, None if source else step.function, step.interface, step.experiment_tracker)
    cargo = _Cargo(destination, folder, places, list(hidden), function, replace(plan, step=_NO_STEP))
    try:
        data = cloudpickle.dumps(cargo)
    except (TypeError, AttributeError, pickle.PicklingError, RecursionError) as error:
        raise InvalidInput(
            f"step '{plan.name}' cannot be sent to another process: it uses something that cannot be pickled",
            hint="open files, locks, connections and clients within the step",
        ) from error
    return ShippedStep(plan.name, data, strongroom.__version__)


def _nothing() -> None:
    """Stands for the function, which travels beside the plan."""


_NO_STEP = Step(_nothing, name="nothing")


def _source(step: Step) -> tuple[str, str] | None:
    """Module and name to import the step by; None for what is defined in a script, or within a function."""
    module, name = step.function.__module__, step.function.__qualname__
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    found = found.function if isinstance(found, Step) else found
    return (module, name) if found is step.function and module != "__main__" else None


def execute_shipped(data: bytes) -> bytes:
    """Executes a shipped step in this process; a `StepReply` as JSON. Raises nothing: whoever shipped it is told."""
    redactor, begun = Redactor(), time.monotonic()
    if not _ships:  # else this is the process that began the run
        confine_for_good()
    with redacting(redactor):
        try:
            _execute(data, redactor)
            reply = StepReply(seconds=time.monotonic() - begun)
        except BaseException as error:  # noqa: BLE001 - the reply tells it, also what would end a process that is not the step's
            reply = _failure(error, redactor)
    return msgspec.json.encode(reply)


def _failure(error: BaseException, redactor: Redactor) -> StepReply:
    hint = error.hint if isinstance(error, StrongroomError) else None
    text, trace = error_line(error), "".join(traceback.format_exception(error))
    if isinstance(error, ModuleNotFoundError):
        hint = "put the module where the workers find it, or define the step in the script that runs the pipeline"
    return StepReply(
        error=redactor.redact(text),
        hint=None if hint is None else redactor.redact(hint),
        trace=redactor.redact(trace).encode(errors="backslashreplace").decode(),
    )


def _execute(data: bytes, redactor: Redactor) -> None:
    cargo: _Cargo = pickle.loads(data)  # noqa: S301 - whoever reaches this process can make it run code anyway
    to = cargo.destination
    for text in (to.token, *cargo.hidden):
        redactor.add(text)
    plan = replace(cargo.plan, step=_unpacked(cargo.step))
    transport = RemoteTransport(to.server, lambda: SecretText(to.token), ca_cert=to.certificates, insecure=to.insecure)
    settings = Settings(folder=cargo.folder, database_url="", server_url=to.server)
    with Client.over(transport, settings) as client, confined(plan.run_id, transport):
        record = functools.partial(client.update_run_step, plan.run_id, plan.name)
        _begin(record)
        use = client.use_stack()
        for text in plain_values(use):
            redactor.add(text)
        reads = Reads(client, redactor)
        reads.begin(plan.run_id)
        resolver = Resolver(client, cargo.places, use=None, run_id=plan.run_id, on_use=reads.use)
        workplace = Workplace(client, ActiveStack(client, use, resolver), resolver, redactor)
        with observing(reads.observe), reads.of_step(plan.name), within(workplace.stack), composing(None):
            execute(plan, workplace, functools.partial(record, former=RunStatus.RUNNING))


def _begin(record: Callable[..., RecordedStep]) -> None:
    """Puts on record that the step begins, unless it has begun already: then the process that did so is gone, or was given up."""
    try:
        record(RunStatus.RUNNING, former=RunStatus.PENDING)
    except StaleVersion:
        raise StaleVersion(
            "the worker that was executing it was lost; a step is not executed twice by itself",
            hint="look whether it ran out of memory, then run the pipeline again",
        ) from None


def _unpacked(shipped: _Function) -> Step:
    function = shipped.function
    if shipped.source is not None:
        import importlib

        found: Any = importlib.import_module(shipped.source[0])
        for part in shipped.source[1].split("."):
            found = getattr(found, part)
        function = found.function if isinstance(found, Step) else found
    assert function is not None
    step = Step(function, name=shipped.name, experiment_tracker=shipped.experiment_tracker)
    step.interface = shipped.interface  # annotations may name what is not here
    return step


def plain_values(use: StackUse) -> Iterator[str]:
    """Plain text in sensitive attributes."""
    for component in (*use.components, *use.connectors):
        for path, text in walk_texts(component.configuration):
            attribute = component.flavor.attribute(path.split(".")[0].split("[")[0])
            if attribute is not None and attribute.sensitive and parse_reference(text) is None:
                yield text


def read_reply(data: bytes) -> StepReply:
    """The reply, as `execute_shipped` gave it."""
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(data, type=StepReply)
    return StepReply(error="what executed it gave no proper reply", hint="do all workers have the same strongroom as you?")
