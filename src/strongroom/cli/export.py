"""Values in clear, for other programs: as YAML, JSON or a `.env` file."""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from pathlib import Path

from strongroom.config import expand_home
from strongroom.errors import AlreadyExists, InvalidInput


def format_values(values: dict[str, str], format_: str) -> str:
    """The values as `yaml`, `json` or `dotenv`; what `-v` or `--from-env-file` reads back is the same, character by character.

    `InvalidInput` for what no `.env` file can hold.
    """
    if format_ == "json":
        return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
    if format_ == "yaml":
        import yaml

        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=10_000, default_style='"')
    from strongroom.cli.dotenv_format import format_dotenv

    return format_dotenv(values)


def write_private_file(path: str, text: str, *, force: bool) -> bool:
    """Writes a file with mode 0600, whole or not at all, and says whether it did; refuses to overwrite unless forced.

    What is no file (`/dev/stdout`, `/dev/fd/3`, a FIFO, a device) is written to instead. `InvalidInput`, `AlreadyExists`.
    """
    target = expand_home(path, "the file")
    try:
        stream = _open_stream(target)
        if stream is not None:
            with os.fdopen(stream, "wb") as file:
                file.write(text.encode())
            return False
        if not force and os.path.lexists(target):
            raise _exists()
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            _put(Path(draft), target, force=force)
        finally:
            Path(draft).unlink(missing_ok=True)
    except FileExistsError:
        raise _exists() from None
    except OSError as error:
        raise InvalidInput(f"cannot write the file: {error.strerror}") from None
    return True


def _put(draft: Path, target: Path, *, force: bool) -> None:
    """Gives the draft its name. `FileExistsError` if there is one already, unless forced."""
    if force:
        draft.replace(target)
        return
    try:
        os.link(draft, target)  # fails if another program has made it, unlike a look before the leap
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: claim the name, then replace the empty file
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            draft.replace(target)
        except OSError:
            target.unlink()
            raise


def _open_stream(target: Path) -> int | None:
    """A descriptor to write to, if the path names one that is open already, or what is neither a file nor a folder."""
    named, links = str(target), 0
    while (found := _DESCRIPTOR.fullmatch(named)) is None and os.path.islink(named) and links < _MAX_LINKS:  # noqa: PTH114
        named, links = os.path.join(os.path.dirname(named), os.readlink(named)), links + 1  # noqa: PTH115, PTH118, PTH120
    if found is not None:
        number = found[1] or found[2]
        return os.dup(int(number) if number else _STANDARD[found[3]])
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else os.open(target, os.O_WRONLY | os.O_NOCTTY)


_DESCRIPTOR = re.compile(rf"/dev/fd/([0-9]{{1,9}})|/proc/(?:self|thread-self|{os.getpid()})/fd/([0-9]{{1,9}})|/dev/(stdout|stderr)")
_STANDARD = {"stdout": 1, "stderr": 2}
_MAX_LINKS = 40


def _exists() -> AlreadyExists:
    return AlreadyExists("the file exists already", hint="give another name, or --force to overwrite it")
