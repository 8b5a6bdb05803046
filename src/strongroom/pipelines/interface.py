"""What a step takes and gives, as its annotations say."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from strongroom.errors import InvalidInput
from strongroom.pipelines.context import StepContext

SINGLE_OUTPUT = "output"


@dataclass(frozen=True)
class Interface:
    """Parameters and outputs by name, with their types (`Any` where there is no annotation); which parameter takes the context."""

    signature: inspect.Signature
    parameters: Mapping[str, Any]
    outputs: Mapping[str, Any]
    context: str | None


def read_interface(function: Callable[..., Any], name: str) -> Interface:
    """The interface of a step's function. `InvalidInput` when an annotation cannot be understood."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidInput(f"step '{name}' is asynchronous, and steps are plain functions", hint="use asyncio.run(...) within it")
    signature = inspect.signature(function)
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise InvalidInput(
            f"step '{name}' has an annotation that cannot be found: {error.name}", hint="import it at the top of the module"
        ) from None
    except Exception as error:  # annotations are code of the user, which may raise anything
        raise InvalidInput(
            f"step '{name}' has an annotation that cannot be understood ({type(error).__name__})", hint="annotate with types"
        ) from error
    contexts = [parameter for parameter in signature.parameters if hints.get(parameter) is StepContext]
    if len(contexts) > 1:
        raise InvalidInput(f"step '{name}' takes its context twice")
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InvalidInput(f"step '{name}' takes *{parameter.name}; a step names each of its parameters")
    return Interface(
        signature=signature,
        parameters={parameter: hints.get(parameter, Any) for parameter in signature.parameters if parameter not in contexts},
        outputs=_outputs(hints.get("return", Any), name),
        context=contexts[0] if contexts else None,
    )


def _outputs(hint: Any, step: str) -> dict[str, Any]:
    """One output called 'output', or a tuple's items: `tuple[Annotated[int, "count"], str]` gives 'count' and 'output_1'."""
    if hint is None or hint is type(None):
        return {}
    items = get_args(hint)
    if get_origin(hint) is tuple and items and items[-1] is not Ellipsis:
        outputs = {_name(item, f"{SINGLE_OUTPUT}_{number}"): _bare(item) for number, item in enumerate(items)}
        if len(outputs) < len(items):
            raise InvalidInput(f"two outputs of step '{step}' have the same name")
    else:
        outputs = {_name(hint, SINGLE_OUTPUT): _bare(hint)}
    for name in outputs:
        if not name.isidentifier() or not name.isascii():
            raise InvalidInput(f"an output of step '{step}' has a name that is no identifier")
    return outputs


def _name(hint: Any, default: str) -> str:
    if get_origin(hint) is Annotated:
        return next((extra for extra in hint.__metadata__ if isinstance(extra, str)), default)
    return default


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def check_type(value: Any, hint: Any, what: str) -> None:
    """`InvalidInput` when the value is not of the annotated type. Never shows the value."""
    if hint is Any:
        return
    import typeguard

    try:
        typeguard.check_type(value, hint, collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)
    except typeguard.TypeCheckError:
        wanted = inspect.formatannotation(hint)
        raise InvalidInput(f"{what} is of the type {type(value).__name__}; its annotation says {wanted}") from None


def can_fit(given: Any, wanted: Any) -> bool:
    """Whether an output of one type may go into a parameter of another; only two classes can be told apart before the run."""
    if (
        Any in (given, wanted)
        or not (isinstance(given, type) and isinstance(wanted, type))
        or get_origin(given)
        or get_origin(wanted)
    ):
        return True
    return issubclass(given, wanted) or (given is int and wanted in (float, complex)) or (given is float and wanted is complex)
