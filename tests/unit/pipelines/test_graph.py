"""The graph of a run: what the calls within a pipeline's function become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest

from strongroom.client import Client
from strongroom.errors import InvalidInput
from strongroom.pipelines import pipeline
from strongroom.pipelines.graph import Graph, composing
from strongroom.redaction import SecretText
from strongroom.steps import StepContext, step
from tests.canary import CANARY


@step
def number(start: int = 1) -> int:
    return start


@step
def pair() -> tuple[Annotated[int, "left"], Annotated[str, "right"]]:
    return 1, "1"


@step
def double(value: int) -> int:
    return 2 * value


@step
def measure(length: float) -> float:
    return length


@step
def total(values: list[int]) -> int:
    return sum(values)


@step
def anything(value: Any, more: Any = None) -> None: ...


@step
def nothing() -> None: ...


@step
def informed(context: StepContext, value: int) -> None: ...


@step
def patient(after: str) -> None: ...


def graph_of(function: Callable[[], object]) -> Graph:
    """The graph that a pipeline with this function gets. No step runs."""
    graph = Graph()
    with composing(graph):
        function()
    return graph


def test_calls_are_written_down() -> None:
    """Calls become nodes in their order; plain arguments are parameters, with defaults, and outputs of other steps are inputs."""
    graph = graph_of(lambda: double(double(value=number())))
    assert list(graph.nodes) == ["number", "double", "double_2"]
    assert graph.nodes["number"].parameters == {"start": 1}
    assert graph.nodes["double"].parameters == {}
    assert {name: str(source) for name, source in graph.nodes["double_2"].inputs.items()} == {"value": "double.output"}
    assert [node.needs for node in graph.nodes.values()] == [(), ("number",), ("double",)]


def test_several_outputs_go_their_own_ways() -> None:
    """A step with several outputs gives one thing for each, which can be unpacked and passed on singly."""

    def compose() -> None:
        left, right = pair()
        anything(left, right)

    node = graph_of(compose).nodes["anything"]
    assert {name: str(source) for name, source in node.inputs.items()} == {"value": "pair.left", "more": "pair.right"}
    assert node.needs == ("pair",)


def test_outputs_come_together_in_lists() -> None:
    """A list (or tuple) of outputs is one input; the step needs all of their steps, each once."""
    graph = graph_of(lambda: total([first := number(), number(2), first]))
    assert [str(source) for source in graph.nodes["total"].sources()] == ["number.output", "number_2.output", "number.output"]
    assert graph.nodes["total"].needs == ("number", "number_2")


def test_order_alone() -> None:
    """`after` orders steps that exchange nothing; a step whose function has such a parameter keeps it for itself."""

    def compose() -> None:
        done = nothing()
        number(after=done)
        double(1, after=[done, pair(), number()])
        patient(after="a text")

    graph = graph_of(compose)
    assert graph.nodes["number"].needs == ("nothing",)
    assert graph.nodes["double"].needs == ("nothing", "pair", "number_2")
    assert graph.nodes["patient"].parameters == {"after": "a text"}


def test_names_of_repeated_calls() -> None:
    """The second call of a name gets a number, and never the name of another step."""

    def compose() -> None:
        number.with_options(name="number_2")()
        number()
        number()
        number()
        number.with_options(name="other")()

    assert list(graph_of(compose).nodes) == ["number_2", "number", "number_3", "number_4", "other"]


def test_the_context_is_not_an_argument() -> None:
    """The context is left out of a call: the step gets it when it runs, wherever its parameter stands."""
    assert graph_of(lambda: informed(3)).nodes["informed"].parameters == {"value": 3}
    with pytest.raises(InvalidInput, match="is given its context when it runs"):
        graph_of(lambda: informed(3, context=None))


def test_what_has_no_annotation_fits_everywhere() -> None:
    """An output without a type goes into any parameter, and into a parameter without a type goes any output."""

    @step
    def untyped(value):
        return value

    assert list(graph_of(lambda: double(untyped(number()))).nodes) == ["number", "untyped", "double"]


def test_numbers_fit_into_wider_ones() -> None:
    """An int may go where a float is wanted, as in Python."""
    assert graph_of(lambda: measure(number())).nodes["measure"].inputs


USES: dict[str, Callable[[Any], object]] = {
    "truth": bool,
    "loop": list,
    "length": len,
    "item": lambda output: output[0],
    "plus": lambda output: output + 1,
    "plus from the right": lambda output: 1 + output,
    "times": lambda output: output * 2,
    "int": int,
    "float": float,
    "equal": lambda output: output == 1,
    "unequal": lambda output: output != 1,
    "less": lambda output: output < 1,
    "more or equal": lambda output: output >= 1,
    "member": lambda output: 1 in output,
    "f-string": lambda output: f"{output}/model",
    "format": "{}".format,
}


@pytest.mark.parametrize("use", USES)
def test_an_output_is_no_value(use: str) -> None:
    """While a pipeline is put together there are no values: whoever uses one is told so, and gets no quiet nonsense."""
    with pytest.raises(InvalidInput, match=r"number\.output has no value while the pipeline is put together") as caught:
        graph_of(lambda: USES[use](number()))
    assert "another step" in str(caught.value.hint)


def test_outputs_can_be_kept_in_sets_and_dicts() -> None:
    """Outputs are themselves and nothing else, so a pipeline may sort them into mappings."""
    found: dict[Any, int] = {}

    def compose() -> None:
        first, second = number(), number()
        found.update({first: 1, second: 2})
        assert found[first] == 1

    graph_of(compose)
    assert len(found) == 2


MISTAKES: dict[str, tuple[Callable[[], object], str]] = {
    "unknown parameter": (lambda: number(begin=1), "step 'number': got an unexpected keyword argument 'begin'"),
    "missing parameter": (lambda: double(), "step 'double': missing a required argument: 'value'"),
    "too many": (lambda: number(1, 2), "step 'number': too many positional arguments"),
    "wrong class": (lambda: double("1"), "the parameter 'value' of step 'double' is of the type str; its annotation says int"),
    "wrong item": (lambda: total([1, "2"]), "the parameter 'values' of step 'total' is of the type list; its annotation says list"),
    "wrong output": (lambda: double(pair()[1]), "step 'double' takes int for 'value', and pair.right is of the type str"),
    "output of nothing": (lambda: double(nothing()), "step 'double' is given nothing, which gives nothing here"),
    "mixed list": (lambda: total([number(), 2]), "'values' of step 'total' mixes outputs of steps with other things"),
    "after a name": (lambda: number(after="nothing"), "'after' of step 'number' mixes outputs of steps with other things"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_show_before_anything_runs(mistake: str) -> None:
    """A call that does not fit is an `InvalidInput` that names the step and the parameter."""
    compose, message = MISTAKES[mistake]
    with pytest.raises(InvalidInput) as caught:
        graph_of(compose)
    assert message in str(caught.value)


def test_an_output_of_another_pipeline_is_refused() -> None:
    """What stands for an output is good in the pipeline that made it and nowhere else."""
    kept: list[Any] = []
    graph_of(lambda: kept.append(number()))
    with pytest.raises(InvalidInput, match=r"is given number\.output, which gives nothing here"):
        graph_of(lambda: double(kept[0]))


@pytest.mark.parametrize(
    "parameter",
    [object(), print, SecretText(f"{CANARY}-parameter"), [SecretText(f"{CANARY}-parameter")], {"a": object()}],
    ids=["object", "function", "secret text", "nested secret text", "nested object"],
)
def test_parameters_are_plain_data(client: Client, parameter: object) -> None:
    """Parameters are recorded, so they are plain data: anything else is refused before any step, and no `SecretText` is revealed."""
    started: list[str] = []

    @step
    def first() -> None:
        started.append("first")

    @pipeline
    def refused() -> None:
        first()
        anything(parameter)

    with pytest.raises(InvalidInput, match="'value' of step 'anything' is no plain data") as caught:
        refused()
    assert "output of a step" in str(caught.value.hint)
    assert started == []
    assert client.list_runs().total == 0


def test_outputs_within_mappings_are_refused(client: Client) -> None:
    """An output deep within a parameter would not become a value there, so it is refused."""

    @pipeline
    def refused() -> None:
        anything({"a": number()})

    with pytest.raises(InvalidInput, match="'value' of step 'anything' has an output of a step within it"):
        refused()


def test_steps_within_steps_are_plain_calls(client: Client) -> None:
    """Within a running step, a call of another step is the plain function again."""

    @step
    def outer() -> int:
        return double(4)

    @pipeline
    def nested() -> None:
        outer()

    run = nested()
    assert list(run.steps) == ["outer"]
    assert run.output("outer") == 8


def test_a_pipeline_has_steps(client: Client) -> None:
    """A pipeline that calls no step is a mistake."""

    @pipeline
    def empty() -> None: ...

    with pytest.raises(InvalidInput, match="pipeline 'empty' calls no step"):
        empty()
