"""The decorator that makes a step of a function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, overload

from strongroom.errors import InvalidInput
from strongroom.models.component import check_plain_name
from strongroom.pipelines import graph
from strongroom.pipelines.declared import parse_declared

if TYPE_CHECKING:
    from strongroom.pipelines.interface import Interface


class Step:
    """A function with a name and options. Called within a pipeline it becomes part of it; elsewhere it is the plain function."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        enable_cache: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        experiment_tracker: str | bool = False,
        secrets: Iterable[str] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name = check_plain_name(function.__name__ if name is None else name, "the step")
        self.enable_cache = enable_cache
        self.settings = dict(settings or {})
        self.experiment_tracker = experiment_tracker
        self.secrets = parse_declared(secrets, f"step '{self.name}'")

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        composing = graph.current()
        if composing is None:
            return self.function(*arguments, **named)
        return composing.add(self, arguments, named)

    def __repr__(self) -> str:
        return f"Step({self.name!r})"

    @functools.cached_property
    def interface(self) -> Interface:
        """What it takes and gives. `InvalidInput` when its annotations make no sense."""
        from strongroom.pipelines.interface import read_interface

        return read_interface(self.function, self.name)

    def with_options(
        self,
        *,
        name: str | None = None,
        enable_cache: bool | None = None,
        settings: Mapping[str, Any] | None = None,
        experiment_tracker: str | bool | None = None,
        secrets: Iterable[str] | None = None,
    ) -> Step:
        """The same step with some options changed."""
        declared = None if self.secrets is None else [str(need) for need in self.secrets]
        return Step(
            self.function,
            name=self.name if name is None else name,
            enable_cache=self.enable_cache if enable_cache is None else enable_cache,
            settings=self.settings if settings is None else graph.merged(self.settings, settings),
            experiment_tracker=self.experiment_tracker if experiment_tracker is None else experiment_tracker,
            secrets=declared if secrets is None else secrets,
        )


@overload
def step(function: Callable[..., Any], /) -> Step:
    """`@step`."""


@overload
def step(
    *,
    name: str | None = None,
    enable_cache: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    experiment_tracker: str | bool = False,
    secrets: Iterable[str] | None = None,
) -> Callable[[Callable[..., Any]], Step]:
    """`@step(enable_cache=True)`."""


def step(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Makes a step of a function: `@step`, or `@step(enable_cache=True)`.

    `name` is the function's own unless given. `enable_cache` decides whether the step is skipped when a former one with the same
    code, inputs and parameters has completed; the default is the pipeline's, but a step that takes a `StepContext` is not cached.
    `settings` are plain data for the step, in which texts may be references. `experiment_tracker` is the name of the stack's
    tracker (or True for whichever it has) to which the step logs. `secrets` are those that the step's code reads by itself, as `name`
    or `name.key`. They are validated before the run; and whoever declares some (or none: `secrets=[]`) reads nothing within the step
    but what is declared or referred to in this run.
    """
    if function is None:
        return lambda decorated: Step(decorated, **options)
    if not callable(function):
        raise InvalidInput("@step is put on a function", hint="options go by name: @step(enable_cache=True)")
    return Step(function)
