"""Outputs of steps as bytes in the artifact store, and back.

Plain data becomes JSON and bytes stay bytes; everything else is pickled. Unpickling runs code, so an artifact is parsed only when its
URI is that of a step's output in this store and its bytes have the digest on record, and it is unpickled only when the server vouches
for the record (`ArtifactRecord.mac`).
"""

from __future__ import annotations

import hashlib
import json
import math
import pickle
from typing import TYPE_CHECKING, Any

from strongroom.errors import InvalidInput, NotFound, printable
from strongroom.models.artifact_path import SUFFIXES, artifact_path, path_of
from strongroom.models.run import ArtifactRecord

if TYPE_CHECKING:
    from strongroom.stacks.artifact_store import ArtifactStore

_MAX_BITS = 1024
"""Larger whole numbers are pickled: Python reads and writes decimal digits up to a limit only."""

_RUN_AGAIN = "run the pipeline again with enable_cache=False"


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


def store(artifact_store: ArtifactStore, run_id: str, step: str, name: str, value: Any) -> ArtifactRecord:
    """Stores an output under the path of its run, step and name. `InvalidInput`, `Unavailable`."""
    kind, data = encode(value, f"the output '{name}'")
    path = artifact_path(run_id, step, name, kind)
    uri = artifact_store.write(path, data)
    if path_of(uri) != path:
        raise InvalidInput(
            f"{artifact_store.title} gives an artifact a URI that does not end with its path, or has odd characters before it",
            hint="the URI of an artifact is the root of its store, a slash and its path",
        )
    return ArtifactRecord(
        name=name,
        uri=uri,
        format=kind,
        type=f"{type(value).__module__}.{type(value).__qualname__}",
        size=len(data),
        digest=hashlib.sha256(data).hexdigest(),
    )


def belongs(artifact_store: ArtifactStore, record: ArtifactRecord) -> bool:
    """Whether the record's URI is that of an output of its name and format in this store. Asks the store for nothing."""
    path = path_of(record.uri)
    if path is None or path.rpartition("/")[2] != f"{record.name}.{SUFFIXES.get(record.format)}":
        return False
    return artifact_store.uri(path) in (None, record.uri)


def load(artifact_store: ArtifactStore, record: ArtifactRecord) -> Any:
    """The value of an artifact. `NotFound`, `Unavailable`; `InvalidInput` when it is not what was recorded.

    Nothing is parsed before the bytes have the digest of the record, and nothing is unpickled that the server does not vouch for.
    """
    what = f"the artifact {printable(record.uri)}"
    if not belongs(artifact_store, record):
        raise NotFound(f"{what} is no output of a step in {artifact_store.title}", hint="was the path of the artifact store changed?")
    if not record.digest:
        raise InvalidInput(f"{what} was recorded without a digest by a former version", hint=_RUN_AGAIN)
    if record.format == "pickle" and not record.mac:
        raise InvalidInput(
            f"{what} is pickled, and the server does not vouch for its record",
            hint="pickled outputs are loaded by the owner of the run, and by others where the workspace shares its cache",
        )
    data = artifact_store.read(record.uri)
    if len(data) != record.size or hashlib.sha256(data).hexdigest() != record.digest:
        raise InvalidInput(f"{what} cannot be read back: it was changed after it was recorded", hint=_RUN_AGAIN)
    try:
        match record.format:
            case "bytes":
                return data
            case "json":
                return json.loads(data)
            case "pickle":
                return pickle.loads(data)  # noqa: S301 - see above
    except (ValueError, pickle.UnpicklingError, AttributeError, ImportError, EOFError, RecursionError) as error:
        raise InvalidInput(
            f"{what} cannot be read back ({type(error).__name__})",
            hint="is the module of its class importable here?",
        ) from error
    raise InvalidInput(f"{what} has the format '{printable(record.format)}', which this version does not know")


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
