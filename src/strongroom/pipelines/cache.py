"""Caching: a step is skipped when one with the same code, inputs and parameters has completed before."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
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
    """A digest of all that may change the result: code, parameters, the inputs' URIs, settings as written, where artifacts lie."""
    facts = {
        "code": _code(step.function),
        "outputs": {name: inspect.formatannotation(hint) for name, hint in step.interface.outputs.items()},
        "parameters": parameters,
        "inputs": inputs,
        "settings": settings,
        "artifact_store": artifact_store,
    }
    return hashlib.sha256(msgspec.json.encode(facts, order="deterministic")).hexdigest()


def _code(function: Callable[..., Any]) -> str:
    """The function's source, or its compiled code where there is no source."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return repr(_compiled(function.__code__))


def _compiled(code: CodeType) -> tuple[object, ...]:
    constants = [_compiled(item) if isinstance(item, CodeType) else item for item in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, constants
