"""The decorator that makes a pipeline of a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

from strongroom.errors import InvalidInput
from strongroom.models.component import check_plain_name
from strongroom.pipelines import graph
from strongroom.pipelines.declared import parse_declared

if TYPE_CHECKING:
    from strongroom.pipelines.result import PipelineRun


@dataclass(frozen=True)
class RunOptions:
    """What is decided for one run: they win over what steps say, which wins over what the pipeline says."""

    enable_cache: bool | None = None
    stack: str | None = None
    run_name: str | None = None
    mask_processes: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


class Pipeline:
    """A function that calls steps. Calling it runs them, on the active stack unless told otherwise, and gives the run.

    Thread-safe: several runs may go on at once.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        enable_cache: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        options: RunOptions | None = None,
        secrets: Iterable[str] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = check_plain_name(function.__name__ if name is None else name, "the pipeline")
        self.enable_cache = enable_cache
        self.settings = dict(settings or {})
        self.options = options or RunOptions()
        self.secrets = parse_declared(secrets, f"pipeline '{self.name}'")

    def __call__(self, *arguments: Any, **named: Any) -> PipelineRun:
        """Runs the pipeline to its end.

        Raises `Unresolved`, before any step, with all references that lead nowhere; `StepFailed` when a step raised an error.
        Within another pipeline its steps become steps of that one; its caching and settings hold for them.
        """
        composing = graph.current()
        if composing is not None:
            if self.options.stack is not None or self.options.run_name is not None:
                raise InvalidInput(f"pipeline '{self.name}' is called by another one, whose stack and run name hold for both")
            with composing.within(self):
                result: PipelineRun = self.function(*arguments, **named)
            return result
        from strongroom.pipelines.runner import run_pipeline

        return run_pipeline(self, arguments, named)

    @property
    def own_settings(self) -> dict[str, Any]:
        """Its settings with those of `with_options`, for when another pipeline calls it."""
        return graph.merged(self.settings, self.options.settings)

    @property
    def own_cache(self) -> bool | None:
        """The same for caching."""
        return self.enable_cache if self.options.enable_cache is None else self.options.enable_cache

    def __repr__(self) -> str:
        return f"Pipeline({self.name!r})"

    def with_options(
        self,
        *,
        enable_cache: bool | None = None,
        stack: str | None = None,
        run_name: str | None = None,
        mask_processes: bool | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Pipeline:
        """The same pipeline with options for its runs: `train.with_options(enable_cache=False)()`.

        `mask_processes`: values are masked in what child processes and compiled code write to standard output and error, too. A
        terminal stays one, of the size that it has when the run begins; a process that is killed loses what it wrote last.
        """
        former = self.options
        options = replace(
            former,
            enable_cache=former.enable_cache if enable_cache is None else enable_cache,
            stack=former.stack if stack is None else stack,
            run_name=former.run_name if run_name is None else run_name,
            mask_processes=former.mask_processes if mask_processes is None else mask_processes,
            settings=graph.merged(former.settings, settings or {}),
        )
        return Pipeline(
            self.function,
            name=self.name,
            enable_cache=self.enable_cache,
            settings=self.settings,
            options=options,
            secrets=None if self.secrets is None else map(str, self.secrets),
        )


@overload
def pipeline(function: Callable[..., Any], /) -> Pipeline:
    """`@pipeline`."""


@overload
def pipeline(
    *,
    name: str | None = None,
    enable_cache: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    secrets: Iterable[str] | None = None,
) -> Callable[[Callable[..., Any]], Pipeline]:
    """`@pipeline(enable_cache=False)`."""


def pipeline(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a pipeline of a function that calls steps: `@pipeline`, or `@pipeline(enable_cache=False)`.

    `enable_cache` and `settings` hold for all its steps that do not say otherwise; texts in settings may be references. `secrets` are
    declared for all its steps, besides their own.
    """
    if function is None:
        return lambda decorated: Pipeline(decorated, **options)
    if not callable(function):
        raise InvalidInput("@pipeline is put on a function", hint="options go by name: @pipeline(enable_cache=False)")
    return Pipeline(function)
