"""Caching: a step is skipped when one with the same code, inputs and parameters has completed before."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from strongroom.pipelines.step import Step


def is_cached(step: Step, *, pipeline: bool | None, run: bool | None) -> bool:
    """Whether former results count: as the run says, else the step, else not if it takes its context, else the pipeline, else yes."""
    if run is not None:
        return run
    if step.enable_cache is not None:
        return step.enable_cache
    if step.interface.context is not None:
        return False
    return True if pipeline is None else pipeline


def cache_key(
    step: Step, *, parameters: Mapping[str, Any], inputs: Mapping[str, Any], settings: Mapping[str, Any], artifact_store: str
) -> str:
    """A digest of all that may change the result: code, parameters, the inputs' URIs, settings as written, where artifacts lie.

    Parameters that the function can tell apart have different keys. Of what the function refers to outside of itself, only texts and
    numbers of functions around it count.
    """
    facts = {
        "code": _code(step.function),
        "captured": captured(step.function),
        "outputs": {name: inspect.formatannotation(hint) for name, hint in step.interface.outputs.items()},
        "parameters": parameters,
        "inputs": inputs,
        "settings": settings,
        "artifact_store": artifact_store,
    }
    return hashlib.sha256(msgspec.json.encode(_fact(facts))).hexdigest()


def captured(function: Callable[..., Any]) -> dict[str, Any]:
    """The texts and numbers that it takes from functions around it: with other ones, the same code is another step."""
    found: dict[str, Any] = {}
    names = function.__code__.co_freevars if hasattr(function, "__code__") else ()
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        with suppress(ValueError):  # it has no content yet
            if isinstance(cell.cell_contents, bool | int | float | str | bytes):
                found[name] = cell.cell_contents
    return found


def _fact(value: Any) -> Any:
    """Plain data with its types, in a fixed order: JSON alone takes a tuple for a list, bytes for a text, and infinity for null."""
    if value is None or type(value) is bool:
        return value
    if type(value) is str:
        return value if value.isprintable() else ["str", ascii(value)]  # JSON takes no half of a surrogate pair
    if type(value) in (int, float):
        return [type(value).__name__, repr(value) if isinstance(value, float) else hex(value)]
    if isinstance(value, Mapping):
        entries = [[_fact(key), _fact(item)] for key, item in value.items()]
        return [type(value).__qualname__, sorted(entries, key=msgspec.json.encode)]
    if isinstance(value, list | tuple):
        return [type(value).__qualname__, [_fact(item) for item in value]]
    if isinstance(value, set | frozenset):
        return [type(value).__qualname__, sorted(map(_fact, value), key=msgspec.json.encode)]
    plain = msgspec.to_builtins(value, str_keys=True, order="deterministic")
    return [type(value).__qualname__, plain if type(plain) is str else _fact(plain)]


def _code(function: Callable[..., Any]) -> str:
    """The function's source, or its compiled code where there is no source."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(_compiled(function.__code__))


def _compiled(code: CodeType) -> tuple[Any, ...]:
    """What there is to tell two pieces of code apart, with the functions within them."""
    consts = [_compiled(const) if isinstance(const, CodeType) else const for const in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts
