"""Values in clear, for other programs: as YAML, JSON or a `.env` file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from strongroom.errors import AlreadyExists, InvalidInput


def format_values(values: dict[str, str], format_: str) -> str:
    """The values as `yaml`, `json` or `dotenv`; what `-v` or `--from-env-file` reads back is the same, character by character."""
    if format_ == "json":
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
    if format_ == "yaml":
        import yaml

        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000, default_style='"')
    lines = []
    for key, value in values.items():
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{key}='{quoted}'\n")
    text = "".join(lines)
    from strongroom.models.document import parse_env

    if parse_env(text) != values:
        raise InvalidInput("a value cannot be written in a .env file", hint="use --format json")
    return text


def write_private_file(path: str, text: str, *, force: bool) -> None:
    """Writes a file with mode 0600, whole or not at all. Refuses to overwrite unless forced."""
    target = Path(path).expanduser()
    if not force and target.exists():
        raise _exists()
    try:
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
    except OSError as error:
        raise InvalidInput(f"cannot write the file: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if force:
            Path(draft).replace(target)
        else:
            os.link(draft, target)  # fails if somebody else has made it, unlike a look before the leap
            Path(draft).unlink()
    except FileExistsError:
        Path(draft).unlink()
        raise _exists() from None
    except OSError as error:
        Path(draft).unlink(missing_ok=True)
        raise InvalidInput(f"cannot write the file: {error.strerror}") from None


def _exists() -> AlreadyExists:
    return AlreadyExists("the file exists already", hint="give another name, or --force to overwrite it")
