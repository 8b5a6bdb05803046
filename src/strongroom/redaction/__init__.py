"""Text that must not be seen: the type that carries values, and what masks values in everything that a run shows.

Every command imports this for `SecretText` and `MASK`; the rest is loaded when it is first asked for.

- `redactor`: which text gives a value away, and masking it
- `sensitive`: which parts of a value are sensitive, and which texts are common
- `views`: a text without escape sequences
- `stream`: masking what is written to a stream, piece by piece
- `held_text`: what such a stream holds back meanwhile
- `installation`: masking `sys.stdout`, `sys.stderr` and logging while a run executes
- `originals`: masking streams from before the run, and `os.write`
- `descriptors`: masking what child processes write
- `log`: masking one log record
- `exception`: masking an exception with its causes
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from strongroom.redaction.secret_text import MASK, SecretText

if TYPE_CHECKING:
    from strongroom.redaction.exception import Redacted, redact_exception
    from strongroom.redaction.installation import mask, redacting, redacting_processes
    from strongroom.redaction.redactor import Redactor
    from strongroom.redaction.sensitive import SHORTEST
    from strongroom.redaction.stream import RedactingStream

__all__ = [
    "MASK",
    "SHORTEST",
    "Redacted",
    "RedactingStream",
    "Redactor",
    "SecretText",
    "mask",
    "redact_exception",
    "redacting",
    "redacting_processes",
]

_HOMES = {
    "Redacted": "exception",
    "redact_exception": "exception",
    "mask": "installation",
    "redacting": "installation",
    "redacting_processes": "installation",
    "SHORTEST": "sensitive",
    "Redactor": "redactor",
    "RedactingStream": "stream",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
