"""The graph of a run: which step is called with what. Written down while the pipeline's function runs; no step runs then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from strongroom.errors import InvalidInput

if TYPE_CHECKING:
    from strongroom.pipelines.pipeline import Pipeline
    from strongroom.pipelines.step import Step


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What a step will give, as it is passed to other steps. `output` is None for a step that gives nothing.

    Whatever would take it for the value itself fails, also where Python would quietly go on, as in `output == 1` and f-strings.
    """

    step: str
    output: str | None
    hint: Any = field(repr=False, default=Any)

    def __str__(self) -> str:
        return self.step if self.output is None else f"{self.step}.{self.output}"

    def _not_yet(self, *_: object) -> NoReturn:
        raise InvalidInput(
            f"{self!s} has no value while the pipeline is put together", hint="pass it to another step, and look at it there"
        )

    __bool__ = __iter__ = __len__ = __getitem__ = __contains__ = __float__ = __int__ = __index__ = __format__ = _not_yet
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _not_yet
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = _not_yet
    __hash__ = object.__hash__


@dataclass
class Node:
    """One call of a step: parameters are plain data, inputs are outputs of other steps."""

    name: str
    step: Step
    parameters: dict[str, Any]
    inputs: dict[str, StepOutput | list[StepOutput]]
    after: tuple[str, ...]
    pipelines: tuple[Pipeline, ...] = ()
    """Those within the pipeline of the run that called it, the outer one first."""

    def sources(self) -> Iterator[StepOutput]:
        """The outputs that it takes."""
        for given in self.inputs.values():
            yield from given if isinstance(given, list) else [given]

    @property
    def needs(self) -> tuple[str, ...]:
        """The steps that have to be done before it."""
        return tuple(dict.fromkeys([*(source.step for source in self.sources()), *self.after]))


class Graph:
    """The steps of a pipeline in the order in which they were called."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self._within: tuple[Pipeline, ...] = ()

    @contextmanager
    def within(self, pipeline: Pipeline) -> Iterator[None]:
        """Steps that are called in the block are those of a pipeline that another one calls."""
        former, self._within = self._within, (*self._within, pipeline)
        try:
            yield
        finally:
            self._within = former

    def add(self, step: Step, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Adds a call; what stands for its outputs. `InvalidInput` when the arguments do not fit."""
        from strongroom.pipelines.interface import can_fit, check_type

        interface, name = step.interface, self._free_name(step.name)
        given = dict(named)
        after = given.pop("after", ()) if "after" not in interface.parameters else ()
        if interface.context in given:
            raise InvalidInput(f"step '{name}' is given its context when it runs", hint=f"leave '{interface.context}' out")
        wanted = [parameter for key, parameter in interface.signature.parameters.items() if key != interface.context]
        try:
            bound = interface.signature.replace(parameters=wanted).bind(*arguments, **given)
        except TypeError as error:
            raise InvalidInput(f"step '{name}': {error}") from None
        bound.apply_defaults()
        order = tuple(source.step for source in _outputs_in(after, f"'after' of step '{name}'"))
        node = Node(name, step, {}, {}, order, self._within)
        for parameter, value in bound.arguments.items():
            hint = interface.parameters[parameter]
            if isinstance(value, StepOutput):
                if not can_fit(value.hint, hint):
                    raise InvalidInput(
                        f"step '{name}' takes {hint.__name__} for '{parameter}', and {value!s} is of the type {value.hint.__name__}"
                    )
                node.inputs[parameter] = value
            elif isinstance(value, list | tuple) and any(isinstance(item, StepOutput) for item in value):
                node.inputs[parameter] = _outputs_in(value, f"'{parameter}' of step '{name}'")
            elif _holds_output(value):
                raise InvalidInput(
                    f"'{parameter}' of step '{name}' has an output of a step within it",
                    hint="pass outputs themselves, or a list of outputs",
                )
            else:
                check_type(value, hint, f"the parameter '{parameter}' of step '{name}'")
                node.parameters[parameter] = value
        for source in node.sources():
            if source.output is None or source.step not in self.nodes:
                raise InvalidInput(
                    f"step '{name}' is given {source!s}, which gives nothing here", hint="use after=... for order alone"
                )
        self.nodes[name] = node
        outputs = tuple(StepOutput(name, output, hint) for output, hint in interface.outputs.items())
        return outputs if len(outputs) > 1 else outputs[0] if outputs else StepOutput(name, None)

    def _free_name(self, name: str) -> str:
        """The step's name; with a number from the second call on."""
        if name not in self.nodes:
            return name
        number = 2
        while f"{name}_{number}" in self.nodes:
            number += 1
        return f"{name}_{number}"


def _outputs_in(value: Any, what: str) -> list[StepOutput]:
    items = list(value) if isinstance(value, list | tuple) else [value]
    flat = [part for item in items for part in (item if isinstance(item, tuple) else (item,))]
    if not all(isinstance(item, StepOutput) for item in flat):
        raise InvalidInput(f"{what} mixes outputs of steps with other things", hint="pass outputs alone, or plain data alone")
    return flat


def _holds_output(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_output, value.values()))
    return isinstance(value, StepOutput) or (isinstance(value, list | tuple | set) and any(map(_holds_output, value)))


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings laid over others; mappings are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        former = result.get(key)
        result[key] = merged(former, value) if isinstance(former, Mapping) and isinstance(value, Mapping) else value
    return result


_composing: ContextVar[Graph | None] = ContextVar("composing", default=None)


def current() -> Graph | None:
    """The graph that is being put together in this thread, if one is."""
    return _composing.get()


@contextmanager
def composing(graph: Graph | None) -> Iterator[None]:
    """Within the block, calls of steps are written down in this graph (None: they are plain calls)."""
    token = _composing.set(graph)
    try:
        yield
    finally:
        _composing.reset(token)
