"""Values from the command line: `--KEY=VALUE`, `@file`, `-`, `-v JSON|YAML|@FILE|-` and `.env` files.

Nothing here repeats what was given: an unreadable path may well be a password that starts with `@`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from strongroom.cli.output import say
from strongroom.errors import InvalidInput
from strongroom.models.document import check_document, parse_document, parse_env
from strongroom.models.secret import MAX_SECRET_BYTES, check_key, value_text

READ_LIMIT = 4 * MAX_SECRET_BYTES
"""Bytes of a whole `-v` document or `.env` file; room for indentation and comments around the largest secret."""

Changes = dict[str, str | None]
"""Key to text; None stands for `null`, which removes a key on update."""


class ValueReader:
    """Collects the values of one command. Standard input is read once at most; a key is given once."""

    def __init__(self) -> None:
        self.values: Changes = {}
        self._input_used = False

    def add_pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """`--KEY=VALUE`; a value `@path` is a file's content, `@@x` means `@x`, `-` is standard input."""
        for key, text in pairs:
            self._add(key, self._argument(key, text))

    def add_document(self, argument: str) -> None:
        """`-v`: a JSON or YAML mapping, `@FILE` with one, or `-`."""
        text = self._document(argument)
        for key, value in parse_document(text, "-v").items():
            self._add(key, None if value is None else value_text(key, value).reveal())

    def _document(self, argument: str) -> str:
        if argument == "-":
            return self._standard_input("-v", READ_LIMIT)
        return _read_file(argument[1:], "-v", READ_LIMIT) if argument.startswith("@") else argument

    def add_env_file(self, path: str) -> None:
        """A `.env` file, `-` for standard input. Variables in it are not expanded: a `$` in a password is a `$`."""
        text = self._standard_input("--from-env-file", READ_LIMIT) if path == "-" else _read_file(path, "--from-env-file", READ_LIMIT)
        for key, value in parse_env(text).items():
            self._add(key, value)

    def _add(self, key: str, value: str | None) -> None:
        check_key(key)
        if key in self.values:
            raise InvalidInput(f"the key '{key}' is given twice")
        self.values[key] = value

    def _argument(self, key: str, text: str) -> str:
        if text.startswith("@@"):
            return text[1:]
        if text.startswith("@"):
            return _read_file(text[1:], f"--{key}", MAX_SECRET_BYTES, "for a value that starts with '@', write '@@'")
        if text == "-":
            value = self._standard_input(f"--{key}", MAX_SECRET_BYTES)
            if value.endswith("\n"):
                say(f"note: the value of '{key}' ends with a line break, as standard input did")
            return value
        return text

    def _standard_input(self, what: str, limit: int) -> str:
        if self._input_used:
            raise InvalidInput("standard input can be read for one value only")
        self._input_used = True
        return _read_text(sys.stdin.buffer, "standard input", what, limit)


class AttributeReader(ValueReader):
    """The same for attributes of components, which may be numbers, lists and mappings too."""

    values: dict[str, Any]

    def add_document(self, argument: str) -> None:
        """`-v`: a JSON or YAML mapping, `@FILE` with one, or `-`. Hyphens in the names of attributes are underscores."""
        import yaml

        text = self._document(argument)
        try:
            document = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
        except (ValueError, yaml.YAMLError, RecursionError):
            hint = "quote references: '{{name.key}}'" if "{{" in text else None
            raise InvalidInput("what -v was given is neither JSON nor YAML", hint=hint) from None
        for name, value in check_document(document, "-v").items():
            if value is None:
                raise InvalidInput(f"the attribute '{check_key(name)}' is null", hint="leave it out, or remove it with -r")
            self._add(name.replace("-", "_"), value)

    def _add(self, key: str, value: Any) -> None:
        if key == "name":
            raise InvalidInput(
                "the name of a component is no attribute", hint="it is the first word; change it with the command rename"
            )
        super()._add(key, value)


def _read_file(path: str, what: str, limit: int, hint: str | None = None) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            return _read_text(file, "the file", what, limit)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path; a home folder nobody has
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "no such file"
        raise InvalidInput(f"cannot read the file given for {what}: {reason}", hint=hint) from None


def _read_text(file: BinaryIO, source: str, what: str, limit: int) -> str:
    data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidInput(f"{source} given for {what} is larger than {limit} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{source} given for {what} is not UTF-8 text", hint="encode binary data, for example with: base64 -w0 FILE"
        ) from None
