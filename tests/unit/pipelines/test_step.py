"""The decorator `@step`, and what it reads from a function's annotations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest

from strongroom.errors import InvalidInput
from strongroom.pipelines.interface import Interface
from strongroom.pipelines.step import Step
from strongroom.steps import StepContext, step


def interface_of(function: Callable[..., Any]) -> Interface:
    return step(function).interface


def test_with_and_without_parentheses() -> None:
    """`@step`, `@step()` and `@step(...)` all make a step that has the function's name and text, and the options that were given."""

    @step
    def bare() -> None:
        """What it does."""

    @step()
    def called() -> None: ...

    @step(name="other", enable_cache=True, settings={"a": 1}, experiment_tracker="mlflow")
    def full() -> None: ...

    assert [type(made) for made in (bare, called, full)] == [Step, Step, Step]
    assert (bare.name, bare.__name__, bare.__doc__, bare.enable_cache) == ("bare", "bare", "What it does.", None)
    assert (called.name, called.settings, called.experiment_tracker) == ("called", {}, False)
    assert (full.name, full.enable_cache, full.settings, full.experiment_tracker) == ("other", True, {"a": 1}, "mlflow")


def test_a_call_outside_of_a_pipeline_is_a_plain_call() -> None:
    """Without a pipeline around it a step is the function: arguments go in and the result comes out, as they are."""
    given: list[object] = []

    @step
    def add(a: int, b: int = 2) -> int:
        given.append(a)
        return a + b

    assert add(1) == 3
    assert add(b=1, a=5) == 6
    assert given == [1, 5]
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        add()


def test_the_function_is_not_looked_at_before_it_is_used() -> None:
    """Decorating costs nothing: an annotation that cannot be understood shows when the step gets into a pipeline."""

    @step
    def odd(a: Missing) -> None:  # noqa: F821
        ...

    odd(1)
    with pytest.raises(InvalidInput, match="annotation that cannot be found: Missing"):
        _ = odd.interface


def test_with_options_changes_a_copy() -> None:
    """`with_options` gives another step; what was not named stays, and settings are merged."""

    @step(enable_cache=False, settings={"a": {"x": 1, "y": 1}, "b": 1})
    def one() -> None: ...

    two = one.with_options(name="two", settings={"a": {"y": 2}})
    assert (two.name, two.enable_cache, two.function) == ("two", False, one.function)
    assert two.settings == {"a": {"x": 1, "y": 2}, "b": 1}
    assert (one.name, one.settings) == ("one", {"a": {"x": 1, "y": 1}, "b": 1})
    assert one.with_options(enable_cache=True, experiment_tracker=True).enable_cache is True


@pytest.mark.parametrize("name", ["", "a b", "a.b", "{{a.b}}", "a/b", "é", "x" * 256])
def test_names_are_checked(name: str) -> None:
    """A step's name has letters, digits, '_' and '-'."""
    with pytest.raises(InvalidInput, match="the name of the step"):
        step(name=name)(lambda: None)


def test_it_is_put_on_functions() -> None:
    """`@step("name")` is a mistake that says how it is done right."""
    with pytest.raises(InvalidInput, match="put on a function") as caught:
        step("name")
    assert "by name" in str(caught.value.hint)


def test_parameters_and_outputs() -> None:
    """Parameters and their types, one output called 'output', and which parameter takes the context."""

    def function(a: int, context: StepContext, b: list[str] | None = None, c=3) -> dict[str, float]: ...

    found = interface_of(function)
    assert found.parameters == {"a": int, "b": list[str] | None, "c": Any}
    assert found.outputs == {"output": dict[str, float]}
    assert found.context == "context"


def returns_nothing() -> None: ...
def returns_anything(): ...
def returns_named() -> Annotated[int, "count"]: ...
def returns_two() -> tuple[Annotated[int, "count"], str]: ...
def returns_two_named() -> tuple[Annotated[int, "count"], Annotated[str, "words", "more"]]: ...
def returns_many() -> tuple[int, ...]: ...
def returns_a_tuple() -> tuple: ...
def returns_annotated_tuple() -> Annotated[tuple[int, str], "pair"]: ...
def returns_annotated_without_a_name() -> Annotated[int, 5]: ...


@pytest.mark.parametrize(
    ("function", "outputs"),
    [
        (returns_nothing, {}),
        (returns_anything, {"output": Any}),
        (returns_named, {"count": int}),
        (returns_two, {"count": int, "output_1": str}),
        (returns_two_named, {"count": int, "words": str}),
        (returns_many, {"output": tuple[int, ...]}),
        (returns_a_tuple, {"output": tuple}),
        (returns_annotated_tuple, {"pair": tuple[int, str]}),
        (returns_annotated_without_a_name, {"output": int}),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_outputs_by_name(function: Callable[..., Any], outputs: dict[str, Any]) -> None:
    """A tuple of known length is several outputs, and everything else is one; `Annotated` with a text names an output."""
    assert interface_of(function).outputs == outputs


def same_names() -> tuple[Annotated[int, "a"], Annotated[str, "a"]]: ...
def no_identifier() -> Annotated[int, "../a"]: ...
def two_contexts(a: StepContext, b: StepContext) -> None: ...
def stars(*a: int) -> None: ...
def double_stars(**a: int) -> None: ...
def no_expression(a: "not an expression") -> None: ...  # noqa: F722
def no_attribute(a: pytest.Nothing) -> None: ...
async def asynchronous() -> int: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (same_names, "two outputs of step 'same_names' have the same name"),
        (no_identifier, "has a name that is no identifier"),
        (two_contexts, "takes its context twice"),
        (stars, r"takes \*a"),
        (double_stars, r"takes \*a"),
        (no_expression, "step 'no_expression' has an annotation that cannot be understood"),
        (no_attribute, "step 'no_attribute' has an annotation that cannot be understood"),
        (asynchronous, "step 'asynchronous' is asynchronous"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_what_makes_no_sense_is_refused(function: Callable[..., Any], message: str) -> None:
    """Annotations and parameters that a step cannot have are an `InvalidInput` that names the step, not a driver's error."""
    with pytest.raises(InvalidInput, match=message):
        interface_of(function)
