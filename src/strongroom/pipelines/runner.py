"""Runs a pipeline: validates, records, executes, and keeps values out of all that is shown or stored."""

from __future__ import annotations

import contextlib
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from strongroom.client import Client
from strongroom.client.observers import observing
from strongroom.errors import InvalidInput, StepFailed, StrongroomError, StrongroomWarning, printable
from strongroom.models.reference import is_near_miss, parse_reference, walk_texts
from strongroom.models.run import ArtifactRecord, CreateRun, PlannedStep, Run, RunStatus
from strongroom.models.stack import Stack, StackUse
from strongroom.pipelines import artifact
from strongroom.pipelines.cache import cache_key, captured, is_cached
from strongroom.pipelines.context import StepContext
from strongroom.pipelines.graph import Graph, Node, StepOutput, composing, merged
from strongroom.pipelines.interface import check_type
from strongroom.pipelines.pipeline import Pipeline
from strongroom.pipelines.reads import Reads
from strongroom.pipelines.result import PipelineRun
from strongroom.redaction import Redactor, redact_exception, redacting
from strongroom.stacks.orchestrator import Orchestrator, Task
from strongroom.stacks.resolution import Place, Resolver, places_in, places_in_stack
from strongroom.stacks.stack import ActiveStack, within
from strongroom.stacks.validation import unresolved, validate


def run_pipeline(pipeline: Pipeline, arguments: Sequence[Any], named: Mapping[str, Any]) -> PipelineRun:
    """Runs the pipeline to its end; see `Pipeline.__call__`."""
    redactor = Redactor()
    with Client() as client:
        reads = Reads(client, redactor)
        with redacting(redactor), observing(reads.observe):
            try:
                execution = _prepare(client, pipeline, arguments, named, redactor, reads)
                execution.execute()
                record = client.get_run(execution.record.id)
            except BaseException as error:  # noqa: BLE001 - raised again, without the values that its text may quote
                safe = _without_values(error, redactor)
            else:
                return PipelineRun(record, execution.artifact_store)
        raise safe


def _prepare(
    client: Client, pipeline: Pipeline, arguments: Sequence[Any], named: Mapping[str, Any], redactor: Redactor, reads: Reads
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
    problems = validate(client, places)
    if problems:
        raise unresolved(shown.name, problems, "no step was started: ")
    _check_trackers(shown, graph)
    use = client.use_stack(shown.name)
    for secret in _plain_values(use):
        redactor.add(secret)
    record = client.create_run(
        CreateRun(
            pipeline=pipeline.name,
            stack=use.name,
            name=pipeline.options.run_name,
            parameters=_recorded(redactor, parameters, f"pipeline '{pipeline.name}'"),
            steps=[
                PlannedStep(
                    name=name,
                    parameters=_recorded(redactor, node.parameters, f"step '{name}'"),
                    inputs={parameter: _spelled(given) for parameter, given in node.inputs.items()},
                    settings=_recorded(redactor, settings[name], f"the settings of step '{name}'"),
                )
                for name, node in graph.nodes.items()
            ],
        )
    )
    reads.begin(record.id)
    resolver = Resolver(client, places, run_id=record.id, on_use=reads.use)
    return _Execution(client, pipeline, graph, settings, record, ActiveStack(client, use, resolver), resolver, redactor, reads)


class _Execution:
    """One run under way."""

    def __init__(
        self,
        client: Client,
        pipeline: Pipeline,
        graph: Graph,
        settings: dict[str, dict[str, Any]],
        record: Run,
        stack: ActiveStack,
        resolver: Resolver,
        redactor: Redactor,
        reads: Reads,
    ) -> None:
        self.record, self._client, self._pipeline, self._graph, self._settings = record, client, pipeline, graph, settings
        self._stack, self._resolver, self._redactor, self._reads = stack, resolver, redactor, reads
        self._outputs: dict[str, dict[str, ArtifactRecord]] = {}

    @property
    def artifact_store(self) -> Any:
        """The stack's artifact store."""
        return self._stack.artifact_store

    def execute(self) -> None:
        """Executes all steps; the record says how that ended, whatever happens but a kill."""
        begun = time.monotonic()
        say(f"Run '{self.record.name}' on stack '{self._stack.name}' begins.")
        status, error = RunStatus.STOPPED, None
        try:
            orchestrator: Orchestrator = self._stack.orchestrator
            tasks = [Task(name, node.needs) for name, node in self._graph.nodes.items()]
            with within(self._stack), composing(None):
                orchestrator.execute(tasks, self.run_step)
            status = RunStatus.COMPLETED
        except Exception as failure:
            status, error = RunStatus.FAILED, self._redactor.redact(_line(failure))
            raise
        finally:
            self._client.finish_run(self.record.id, status, error)
            say(f"Run '{self.record.name}' {status} after {time.monotonic() - begun:.1f} s.")

    def run_step(self, name: str) -> None:
        """Executes one step, or takes the outputs of a former one. `StepFailed` with what went wrong as its cause."""
        node, begun = self._graph.nodes[name], time.monotonic()
        with self._reads.of_step(name):
            try:
                outcome = self._reuse(node) or self._call(node)
            except Exception as error:
                text = self._redactor.redact(_line(error))
                self._client.update_run_step(self.record.id, name, RunStatus.FAILED, error=text)
                say(f"  {name}: failed")
                raise StepFailed(
                    f"step '{name}' failed: {text}",
                    hint=error.hint if isinstance(error, StrongroomError) else f"strongroom run describe {self.record.name}",
                ) from error
            except BaseException:  # Ctrl-C, or the step ends the process: no step begins after this one
                self._client.update_run_step(self.record.id, name, RunStatus.STOPPED)
                raise
        say(f"  {name}: {outcome} after {time.monotonic() - begun:.1f} s")

    def _reuse(self, node: Node) -> str | None:
        """Takes over the outputs of a former step with the same cache key, if they are still there."""
        key = self._key(node)
        self._client.update_run_step(self.record.id, node.name, RunStatus.RUNNING, cache_key=key)
        if key is None:
            return None
        former = self._client.find_cached_step(key)
        if former.run_id is None or not all(self.artifact_store.exists(record.uri) for record in former.outputs):
            return None
        self._outputs[node.name] = {record.name: record for record in former.outputs}
        self._client.update_run_step(self.record.id, node.name, RunStatus.CACHED, outputs=former.outputs, cached_from=former.run_id)
        return "cached"

    def _call(self, node: Node) -> str:
        """Calls the step's function, stores what it gives."""
        interface, metadata = node.step.interface, dict[str, Any]()
        arguments = {**node.parameters, **{parameter: self._load(given) for parameter, given in node.inputs.items()}}
        for parameter in node.inputs:
            check_type(arguments[parameter], interface.parameters[parameter], f"the input '{parameter}' of step '{node.name}'")
        if interface.context is not None:
            arguments[interface.context] = StepContext(
                run_id=self.record.id,
                run_name=self.record.name,
                pipeline_name=self._pipeline.name,
                step_name=node.name,
                stack=self._stack,
                _settings=lambda: self._resolver.resolve(self._settings[node.name]),
                _metadata=metadata,
            )
        with self._tracking(node):
            result = node.step.function(**arguments)
        self._outputs[node.name] = self._store(node, result)
        self._client.update_run_step(
            self.record.id,
            node.name,
            RunStatus.COMPLETED,
            outputs=list(self._outputs[node.name].values()),
            metadata=_recorded(self._redactor, metadata, f"the metadata of step '{node.name}'"),
        )
        return "completed"

    def _load(self, given: StepOutput | list[StepOutput]) -> Any:
        if isinstance(given, list):
            return [self._load(source) for source in given]
        return artifact.load(self.artifact_store, self._made(given))

    def _made(self, source: StepOutput) -> ArtifactRecord:
        assert source.output is not None
        return self._outputs[source.step][source.output]

    def _store(self, node: Node, result: Any) -> dict[str, ArtifactRecord]:
        """Stores the outputs that the function's annotation names."""
        wanted = node.step.interface.outputs
        if not wanted:
            if result is not None:
                raise InvalidInput(f"step '{node.name}' gives something, and its annotation says None")
            return {}
        if len(wanted) > 1 and not (isinstance(result, tuple) and len(result) == len(wanted)):
            raise InvalidInput(f"step '{node.name}' has to give a tuple of {len(wanted)}: {', '.join(wanted)}")
        results = result if len(wanted) > 1 else (result,)
        stored = {}
        for (name, hint), value in zip(wanted.items(), results, strict=True):
            check_type(value, hint, f"the output '{name}' of step '{node.name}'")
            stored[name] = artifact.store(self.artifact_store, f"{self.record.id}/{node.name}", name, value)
        return stored

    def _key(self, node: Node) -> str | None:
        """The cache key, or None where former results do not count."""
        said = [pipeline.own_cache for pipeline in reversed(node.pipelines) if pipeline.own_cache is not None]
        of_pipeline = said[0] if said else self._pipeline.enable_cache
        if not is_cached(node.step, pipeline=of_pipeline, run=self._pipeline.options.enable_cache):
            return None
        given = msgspec.to_builtins([node.parameters, captured(node.step.function)], str_keys=True)
        if self._redactor.redact_nested(given) is not given:
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

    @contextlib.contextmanager
    def _tracking(self, node: Node) -> Iterator[None]:
        if not node.step.experiment_tracker or self._stack.experiment_tracker is None:
            yield
            return
        with self._stack.experiment_tracker.track(f"{self.record.name}.{node.name}", self._pipeline.name):
            yield


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


def _line(error: BaseException) -> str:
    """An error as the records have it: text that every database takes."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - any exception may come out of somebody's __str__; the text says so, as in tracebacks
        said = "<exception str() failed>"
    text = said if isinstance(error, StrongroomError) else f"{type(error).__name__}: {said}".removesuffix(": ")
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


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


def _plain_values(use: StackUse) -> Iterator[str]:
    """Plain text in sensitive attributes."""
    for component in use.components:
        for path, text in walk_texts(component.configuration):
            attribute = component.flavor.attribute(path.split(".")[0].split("[")[0])
            if attribute is not None and attribute.sensitive and parse_reference(text) is None:
                yield text


def _named_arguments(pipeline: Pipeline, arguments: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    import inspect

    bound = inspect.signature(pipeline.function).bind(*arguments, **named)
    bound.apply_defaults()
    # Steps may be handed to a pipeline too.
    return {name: value.name if hasattr(value, "interface") else value for name, value in bound.arguments.items()}


def _recorded(redactor: Redactor, data: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Plain data as it is recorded, with values masked. `InvalidInput` for what is no plain data."""
    try:
        plain = msgspec.to_builtins(dict(data), str_keys=True)
        msgspec.json.encode(plain)
    except (TypeError, ValueError, RecursionError):
        odd = next((name for name, item in data.items() if not _is_plain(item)), "?")
        raise InvalidInput(
            f"'{printable(str(odd))}' of {what} is no plain data", hint="make it the output of a step, or pass a name or a path"
        ) from None
    masked: dict[str, Any] = redactor.redact_nested(plain)
    return masked


def _is_plain(item: Any) -> bool:
    try:
        msgspec.json.encode(msgspec.to_builtins(item, str_keys=True))
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _spelled(given: StepOutput | list[StepOutput]) -> str:
    return ", ".join(map(str, given if isinstance(given, list) else [given]))
