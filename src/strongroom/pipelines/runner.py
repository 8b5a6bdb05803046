"""Runs a pipeline: validates, records, executes, and keeps values out of all that is shown or stored."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from strongroom.client import Client
from strongroom.client.observers import observing
from strongroom.client.transports.remote import RemoteTransport
from strongroom.errors import InvalidInput, StaleVersion, StepFailed, StrongroomError, StrongroomWarning
from strongroom.models.flavor import ComponentType
from strongroom.models.reference import Need, UseOf, is_near_miss, walk_texts
from strongroom.models.run import ArtifactRecord, CreateRun, PlannedStep, Run, RunStatus
from strongroom.models.stack import Stack
from strongroom.pipelines import artifact
from strongroom.pipelines.cache import cache_key, captured, is_cached
from strongroom.pipelines.execution import StepPlan, Workplace, error_line, execute, recorded
from strongroom.pipelines.graph import Graph, Node, StepOutput, composing, merged
from strongroom.pipelines.pipeline import Pipeline
from strongroom.pipelines.reads import Reads
from strongroom.pipelines.remote import Destination, plain_values, read_reply, ship
from strongroom.pipelines.result import PipelineRun
from strongroom.redaction import Redacted, Redactor, SecretText, redact_exception, redacting, redacting_processes
from strongroom.stacks.orchestrator import Orchestrator, ShippedStep, Task
from strongroom.stacks.resolution import Declared, Place, Resolver, places_in, places_in_stack
from strongroom.stacks.stack import ActiveStack, find_manager, within
from strongroom.stacks.validation import unresolved, validate


def run_pipeline(pipeline: Pipeline, arguments: Sequence[Any], named: Mapping[str, Any]) -> PipelineRun:
    """Runs the pipeline to its end; see `Pipeline.__call__`."""
    redactor = Redactor()
    with contextlib.ExitStack() as closing:
        client = closing.enter_context(Client())
        reads = Reads(client, redactor)
        processes = redacting_processes() if pipeline.options.mask_processes else contextlib.nullcontext()
        with redacting(redactor), processes, observing(reads.observe):
            try:
                execution = _prepare(client, pipeline, arguments, named, redactor, reads, closing)
                execution.execute()
                record = client.get_run(execution.record.id)
            except BaseException as error:  # noqa: BLE001 - raised again, without the values that its text may quote
                safe = _without_values(error, redactor)
            else:
                return PipelineRun(record, execution.artifact_store_afterwards)
        raise safe


def _prepare(
    client: Client,
    pipeline: Pipeline,
    arguments: Sequence[Any],
    named: Mapping[str, Any],
    redactor: Redactor,
    reads: Reads,
    closing: contextlib.ExitStack,
) -> _Execution:
    """Everything that comes before the first step; an error here means that none was started."""
    graph = Graph()
    with composing(graph):
        pipeline.function(*arguments, **named)
    if not graph.nodes:
        raise InvalidInput(f"pipeline '{pipeline.name}' calls no step")
    settings = {name: _effective_settings(pipeline, node) for name, node in graph.nodes.items()}
    parameters = _named_arguments(pipeline, arguments, named)
    reads.recognise([parameters, *(node.parameters for node in graph.nodes.values()), *settings.values()])
    shown = client.get_stack(pipeline.options.stack)
    places = [*places_in_stack(shown), *_places_in_settings(pipeline, graph)]
    declared = list(_declared(pipeline, graph))
    problems = validate(client, places, declared=declared, open_manager=lambda: find_manager(client, shown))
    if problems:
        raise unresolved(shown.name, problems, "no step was started: ")
    _check_trackers(shown, graph)
    use = client.use_stack(shown.name)
    for secret in plain_values(use):
        redactor.add(secret)
    # Its attributes are needed before the run has a token of its own.
    chosen = [component for component in places_in_stack(use) if component.owner.startswith(ComponentType.ORCHESTRATOR.words)]
    orchestrator = ActiveStack(client, use, Resolver(client, chosen, use=UseOf(use.id, use.state))).component(
        ComponentType.ORCHESTRATOR
    )
    assert isinstance(orchestrator, Orchestrator)
    closing.enter_context(orchestrator.ready(client.transport.server))
    record = client.create_run(
        CreateRun(
            pipeline=pipeline.name,
            stack=use.name,
            stack_state=use.state,
            name=pipeline.options.run_name,
            parameters=recorded(redactor, parameters, f"pipeline '{pipeline.name}'"),
            steps=[
                PlannedStep(
                    name=name,
                    parameters=recorded(redactor, node.parameters, f"step '{name}'"),
                    inputs={parameter: _spelled(given) for parameter, given in node.inputs.items()},
                    settings=recorded(redactor, settings[name], f"the settings of step '{name}'"),
                )
                for name, node in graph.nodes.items()
            ],
            needs=_needs(places, declared),
        )
    )
    assert isinstance(record.token, SecretText)
    redactor.add(record.token)
    of_run = closing.enter_context(client.with_token(record.token))
    reads.begin(record.id)
    resolver = Resolver(of_run, places, use=None, run_id=record.id, on_use=reads.use)
    workplace = Workplace(of_run, ActiveStack(of_run, use, resolver), resolver, redactor)
    return _Execution(client, pipeline, graph, settings, record, workplace, reads, places, orchestrator)


class _Execution:
    """One run under way."""

    def __init__(
        self,
        client: Client,
        pipeline: Pipeline,
        graph: Graph,
        settings: dict[str, dict[str, Any]],
        record: Run,
        workplace: Workplace,
        reads: Reads,
        places: list[Place],
        orchestrator: Orchestrator,
    ) -> None:
        assert isinstance(record.token, SecretText)
        self._token, self._places, self._orchestrator = record.token, places, orchestrator
        self.record, self._client, self._pipeline, self._graph, self._settings = record, client, pipeline, graph, settings
        self._workplace, self._stack, self._redactor, self._reads = workplace, workplace.stack, workplace.redactor, reads
        self._outputs: dict[str, dict[str, ArtifactRecord]] = {}

    @property
    def artifact_store(self) -> Any:
        """The stack's artifact store."""
        return self._stack.artifact_store

    @property
    def artifact_store_afterwards(self) -> Any:
        """The same for whoever began the run, whose token is dead: where it read no values in this process, they read them."""
        stack = self._stack if self._workplace.resolver.has_read else self._stack.for_client(self._client)
        return stack.artifact_store

    def execute(self) -> None:
        """Executes all steps; the record says how that ended, whatever happens but a kill."""
        begun = time.monotonic()
        say(f"Run '{self.record.name}' on stack '{self._stack.name}' begins.")
        status, error = RunStatus.STOPPED, None
        try:
            tasks = [Task(name, node.needs) for name, node in self._graph.nodes.items()]
            with within(self._stack), composing(None):
                self._orchestrator.execute(tasks, self)
            status = RunStatus.COMPLETED
        except Exception as failure:
            status, error = RunStatus.FAILED, self._redactor.redact(error_line(failure))
            raise
        finally:
            self._client.finish_run(self.record.id, status, error)
            say(f"Run '{self.record.name}' {status} after {time.monotonic() - begun:.1f} s.")

    def __call__(self, name: str) -> None:
        """Executes one step here, or takes the outputs of a former one. `StepFailed` with what went wrong as its cause."""
        node, begun = self._graph.nodes[name], time.monotonic()
        with self._reads.of_step(name):
            try:
                key = self._key(node)
                self._client.update_run_step(self.record.id, name, RunStatus.RUNNING, cache_key=key)
                outcome = self._reuse(node, key) or self._call(node)
            except Exception as error:
                raise self._failed(name, error) from error
            except BaseException:  # Ctrl-C, or the step ends the process: no step begins after this one
                self._record_end(name, RunStatus.STOPPED)
                raise
        say(f"  {name}: {outcome} after {time.monotonic() - begun:.1f} s")

    def ship(self, name: str, server: str | None = None) -> ShippedStep | None:
        """See `StepRunner`."""
        node, begun = self._graph.nodes[name], time.monotonic()
        with self._reads.of_step(name):
            try:
                key = self._key(node)
                if self._reuse(node, key) is None:
                    return self._ship(node, key, server)
            except Exception as error:
                raise self._failed(name, error) from error
        say(f"  {name}: cached after {time.monotonic() - begun:.1f} s")
        return None

    def settle(self, name: str, reply: bytes) -> None:
        """See `StepRunner`."""
        told = read_reply(reply)
        if told.error is not None:
            raise self._failed(name, told.error, told.hint) from Redacted(told.trace or told.error)
        self._outputs[name] = self._outputs_on_record(name)
        say(f"  {name}: completed after {told.seconds:.1f} s")

    def _outputs_on_record(self, name: str) -> dict[str, ArtifactRecord]:
        """What the record has of a shipped step, whatever the reply says. `StepFailed`."""
        step = next(each for each in self._client.get_run(self.record.id).steps or () if each.name == name)
        outputs = {record.name: record for record in step.outputs}
        if step.status is not RunStatus.COMPLETED or set(outputs) != set(self._graph.nodes[name].step.interface.outputs):
            raise self._failed(name, "its worker said that it completed, and the record of the run says otherwise")
        return outputs

    def fail(self, name: str, reason: str, hint: str | None = None) -> NoReturn:
        """See `StepRunner`."""
        raise self._failed(name, reason, hint)

    def begun(self) -> set[str]:
        """See `StepRunner`."""
        return {each.name for each in self._client.get_run(self.record.id).steps or () if each.status is RunStatus.RUNNING}

    def _failed(self, name: str, error: Exception | str, hint: str | None = None) -> StepFailed:
        """The error to raise for a step, which is on record by then."""
        text = self._redactor.redact(error if isinstance(error, str) else error_line(error))
        self._record_end(name, RunStatus.FAILED, text)
        say(f"  {name}: failed")
        hint = error.hint if isinstance(error, StrongroomError) else hint
        shown = hint if hint or isinstance(error, StrongroomError) else f"strongroom run describe {self.record.name}"
        return StepFailed(f"step '{name}' failed: {text}", hint=shown)

    def _record_end(self, name: str, status: RunStatus, error: str | None = None) -> None:
        """Puts on record that a step did not complete. One that has ended on record stays as it is."""
        with contextlib.suppress(StaleVersion):
            self._client.update_run_step(self.record.id, name, status, error=error)

    def _reuse(self, node: Node, key: str | None) -> str | None:
        """Takes over the outputs of a former step with this cache key, if they are still there."""
        if key is None:
            return None
        former = self._client.find_cached_step(key)
        if former.run_id is None or {record.name for record in former.outputs} != set(node.step.interface.outputs):
            return None
        store = self.artifact_store
        if not all(artifact.belongs(store, record) and store.exists(record.uri) for record in former.outputs):
            return None
        cached = self._client.update_run_step(self.record.id, node.name, RunStatus.CACHED, cache_key=key, cached_from=former.run_id)
        self._outputs[node.name] = {record.name: record for record in cached.outputs}
        return "cached"

    def _ship(self, node: Node, key: str | None, server: str | None) -> ShippedStep:
        transport, plan = self._workplace.client.transport, self._plan(node)
        assert isinstance(transport, RemoteTransport)  # what asks for this has refused the embedded store
        if key is not None:  # a run token alone cannot set the cache key of a step
            self._client.update_run_step(self.record.id, node.name, RunStatus.PENDING, cache_key=key)
        texts = [text for _, text in walk_texts([plan.parameters, plan.settings])]
        return ship(
            plan,
            Destination(server or transport.url, transport.certificates, transport.insecure, self._token.reveal()),
            folder=self._client.settings.folder,
            places=self._places,
            hidden=[value for value in self._reads.recognised if any(value in text for text in texts)],
        )

    def _call(self, node: Node) -> str:
        """Calls the step's function, stores what it gives."""
        record = functools.partial(self._client.update_run_step, self.record.id, node.name)
        self._outputs[node.name] = execute(self._plan(node), self._workplace, record)
        return "completed"

    def _plan(self, node: Node) -> StepPlan:
        return StepPlan(
            run_id=self.record.id,
            run_name=self.record.name,
            pipeline=self._pipeline.name,
            name=node.name,
            step=node.step,
            parameters=node.parameters,
            inputs={
                parameter: [self._made(source) for source in given] if isinstance(given, list) else self._made(given)
                for parameter, given in node.inputs.items()
            },
            settings=self._settings[node.name],
            acts_for_run=_declares(self._pipeline, node),
        )

    def _made(self, source: StepOutput) -> ArtifactRecord:
        assert source.output is not None
        return self._outputs[source.step][source.output]

    def _key(self, node: Node) -> str | None:
        """The cache key, or None where former results do not count."""
        said = [pipeline.own_cache for pipeline in reversed(node.pipelines) if pipeline.own_cache is not None]
        of_pipeline = said[0] if said else self._pipeline.enable_cache
        if not is_cached(node.step, pipeline=of_pipeline, run=self._pipeline.options.enable_cache):
            return None
        given = msgspec.to_builtins([node.parameters, captured(node.step.function)], str_keys=True)
        if self._redactor.holds_value(given):
            return None  # a digest would tell whoever guesses the value that the guess is right
        return cache_key(
            node.step,
            parameters=node.parameters,
            inputs={
                name: [self._made(source).uri for source in given] if isinstance(given, list) else self._made(given).uri
                for name, given in node.inputs.items()
            },
            settings=self._settings[node.name],
            artifact_store=self.artifact_store.id,
        )


def say(message: str) -> None:
    """A line of progress, on stderr. Nothing depends on whether anybody can read it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(message, file=sys.stderr)  # noqa: T201


def _without_values(error: BaseException, redactor: Redactor) -> BaseException:
    """The error to raise: ours, and what ends a process, as they are with their causes masked; any other one or its stand-in."""
    if isinstance(error, StrongroomError):
        if redactor.redact(f"{error.message} {error.hint}") != f"{error.message} {error.hint}":
            return redact_exception(error, redactor)
    elif isinstance(error, Exception):
        return redact_exception(error, redactor)
    else:
        error.args = redactor.redact_nested(error.args)
        if isinstance(error, SystemExit):
            error.code = redactor.redact_nested(error.code)
    cause, context, suppressed = error.__cause__, error.__context__, error.__suppress_context__
    error.__cause__ = None if cause is None else redact_exception(cause, redactor)
    error.__context__ = error.__cause__ if context is cause or context is None else redact_exception(context, redactor)
    error.__suppress_context__ = suppressed  # setting the cause has set it
    return error


def _declares(pipeline: Pipeline, node: Node) -> bool:
    """Whether somebody said which secrets the step reads, were it none."""
    return node.step.secrets is not None or any(each.secrets is not None for each in (pipeline, *node.pipelines))


def _declared(pipeline: Pipeline, graph: Graph) -> Iterator[Declared]:
    """What is declared, once for each who declares it."""
    found: dict[Declared, None] = {}
    for name, node in graph.nodes.items():
        owners = {f"pipeline '{each.name}'": each.secrets for each in (pipeline, *node.pipelines)}
        for owner, needs in {**owners, f"step '{name}'": node.step.secrets}.items():
            found |= {Declared(owner, need): None for need in needs or ()}
    yield from found


def _needs(places: Sequence[Place], declared: Sequence[Declared]) -> list[Need]:
    """All that the run is to be granted."""
    referred = [Need(place.reference.name, place.reference.key) for place in places]
    return list(dict.fromkeys([*referred, *(each.need for each in declared)]))


def _effective_settings(pipeline: Pipeline, node: Node) -> dict[str, Any]:
    """The pipeline's, those of pipelines within it, the step's, the run's: each laid over the ones before."""
    settings = pipeline.settings
    for over in (*(inner.own_settings for inner in node.pipelines), node.step.settings, pipeline.options.settings):
        settings = merged(settings, over)
    return settings


def _places_in_settings(pipeline: Pipeline, graph: Graph) -> list[Place]:
    found = []
    owners = {
        f"the settings of pipeline '{pipeline.name}'": pipeline.settings,
        **{
            f"the settings of pipeline '{inner.name}'": inner.own_settings
            for node in graph.nodes.values()
            for inner in node.pipelines
        },
        **{f"the settings of step '{name}'": node.step.settings for name, node in graph.nodes.items()},
        "the settings of this run": pipeline.options.settings,
    }
    for owner, settings in owners.items():
        found += places_in(owner, settings)
        for path, text in walk_texts(settings):
            if is_near_miss(text):
                warnings.warn(
                    f"{owner}: '{path}' looks like a reference but is plain text; a reference is written {{{{name.key}}}}",
                    StrongroomWarning,
                    stacklevel=5,
                )
    return found


def _check_trackers(stack: Stack, graph: Graph) -> None:
    """Refuses steps that want another experiment tracker than the stack has."""
    present = next((component.name for component in stack.components if component.type == "experiment_tracker"), None)
    for name, node in graph.nodes.items():
        wanted = node.step.experiment_tracker
        if wanted and (present is None or wanted not in (True, present)):
            whose = "an experiment tracker" if wanted is True else f"the experiment tracker '{wanted}'"
            has = f"has '{present}'" if present else "has none"
            raise InvalidInput(
                f"no step was started: step '{name}' wants {whose}, and stack '{stack.name}' {has}",
                hint=f"strongroom stack update {stack.name} -e NAME",
            )


def _named_arguments(pipeline: Pipeline, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    import inspect

    bound = inspect.signature(pipeline.function).bind(*arguments, **named)
    bound.apply_defaults()
    # Steps may be handed to a pipeline too.
    return {name: value.name if hasattr(value, "interface") else value for name, value in bound.arguments.items()}


def _spelled(given: StepOutput | list[StepOutput]) -> str:
    return ", ".join(map(str, given if isinstance(given, list) else [given]))
