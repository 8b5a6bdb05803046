"""Outputs of steps as bytes in the artifact store, and back.

Plain data becomes JSON and bytes stay bytes; everything else is pickled. Whoever can write to an artifact store can therefore run
code in the steps that read from it: give it the protection that your code has.
"""

from __future__ import annotations

import json
import math
import pickle
from typing import TYPE_CHECKING, Any

from strongroom.errors import InvalidInput
from strongroom.models.run import ArtifactRecord

if TYPE_CHECKING:
    from strongroom.stacks.artifact_store import ArtifactStore

_MAX_BITS = 1024
"""Larger whole numbers are pickled: Python reads and writes decimal digits up to a limit only."""

_SUFFIXES = {"json": "json", "bytes": "bin", "pickle": "pkl"}


def encode(value: Any, what: str) -> tuple[str, bytes]:
    """The value's format and bytes. `InvalidInput` when it cannot be stored."""
    if type(value) is bytes:
        return "bytes", value
    if _is_json(value):
        return "json", json.dumps(value, ensure_ascii=False).encode()
    try:
        return "pickle", pickle.dumps(value, protocol=5)
    except (TypeError, AttributeError, pickle.PicklingError, RecursionError) as error:
        raise InvalidInput(
            f"{what} cannot be stored: it cannot be pickled", hint="give plain data, bytes, or an object of a class in a module"
        ) from error


def store(artifact_store: ArtifactStore, folder: str, name: str, value: Any) -> ArtifactRecord:
    """Stores an output under a path of its own."""
    kind, data = encode(value, f"the output '{name}'")
    uri = artifact_store.write(f"{folder}/{name}.{_SUFFIXES[kind]}", data)
    return ArtifactRecord(
        name=name, uri=uri, format=kind, type=f"{type(value).__module__}.{type(value).__qualname__}", size=len(data)
    )


def load(artifact_store: ArtifactStore, record: ArtifactRecord) -> Any:
    """The value of an artifact. `NotFound`, `Unavailable`; `InvalidInput` when it cannot be understood here."""
    data = artifact_store.read(record.uri)
    try:
        match record.format:
            case "bytes":
                return data
            case "json":
                return json.loads(data)
            case "pickle":
                return pickle.loads(data)  # noqa: S301 - see above
    except (ValueError, pickle.UnpicklingError, AttributeError, ImportError, EOFError) as error:
        raise InvalidInput(
            f"the artifact {record.uri} cannot be read back ({type(error).__name__})",
            hint="is the module of its class importable here?",
        ) from error
    raise InvalidInput(f"the artifact {record.uri} has the format '{record.format}', which this version does not know")


def _is_json(value: Any) -> bool:
    """Whether JSON gives back exactly this value."""
    try:
        return _is_plain(value)
    except RecursionError:
        return False


def _is_plain(value: Any) -> bool:
    if value is None or type(value) is bool:
        return True
    if type(value) is int:
        return value.bit_length() <= _MAX_BITS
    if type(value) is str:
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is list:
        return all(map(_is_plain, value))
    return type(value) is dict and all(type(key) is str and _is_plain(key) and _is_plain(item) for key, item in value.items())
