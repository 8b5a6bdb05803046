"""Documents that hold values: a mapping in JSON or YAML, and `.env` files.

No error repeats what a document says, but for keys that could be stored.
"""

from __future__ import annotations

import json
from typing import Any

from strongroom.errors import InvalidInput, TooLarge
from strongroom.models.secret import MAX_SECRET_BYTES, check_key, value_text
from strongroom.redaction import SecretText

MAX_PASTED = 4 * MAX_SECRET_BYTES
"""Room for indentation and comments around the largest secret."""


def parse_document(text: str, what: str) -> dict[str, Any]:
    """A mapping in JSON or YAML. Scalars but null and booleans stay as written. `what` it was given as, for errors."""
    if text.lstrip().startswith("{"):
        try:
            return check_document(json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str), what)
        except (json.JSONDecodeError, RecursionError):
            pass  # it may still be YAML in braces
    import yaml

    from strongroom.models.plain_yaml import PlainLoader

    try:
        # The loader builds nothing but text, booleans, null, lists and mappings.
        return check_document(yaml.load(text, PlainLoader), what)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InvalidInput(f"what {what} was given is neither JSON nor YAML{where}") from None


def check_document(document: Any, what: str) -> dict[str, Any]:
    """The document itself if it is a mapping whose keys are text, else `InvalidInput`."""
    if not isinstance(document, dict):
        example = f'for example: {"-v " if what == "-v" else ""}\'{{"username": "admin"}}\''
        raise InvalidInput(f"{what} takes a mapping of keys to values", hint=example)
    for key in document:
        if not isinstance(key, str):
            raise InvalidInput(f"a key given with {what} is no text", hint="quote it")
    return document


def parse_pasted(text: str) -> dict[str, SecretText | None]:
    """What somebody pasted: an object in JSON if it begins with a brace, else the lines of a `.env` file. None stands for null.

    At most `MAX_PASTED` characters, which take less than a second. `InvalidInput`, `TooLarge`.
    """
    if len(text) > MAX_PASTED:
        raise TooLarge(f"what is pasted has at most {MAX_PASTED} characters")
    if text.lstrip().startswith("{"):
        return {check_key(key): None if value is None else value_text(key, value) for key, value in _parse_object(text).items()}
    return {check_key(key): SecretText(value) for key, value in parse_env(text).items()}


def _parse_object(text: str) -> dict[str, Any]:
    """An object in JSON. Numbers stay as they are written."""
    try:
        found: dict[str, Any] = json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        where = ""
    except json.JSONDecodeError as error:
        where = f" (line {error.lineno}, column {error.colno})"
    else:
        return found
    raise InvalidInput(f"what was pasted begins like JSON and is none{where}", hint='for example: {"username": "admin"}')


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            check_key(key)
            raise InvalidInput(f"the key '{key}' is given twice")
        result[key] = value
    return result


def parse_env(text: str) -> dict[str, str]:
    """The variables of a `.env` file, or `InvalidInput` with the number of the line."""
    from io import StringIO

    from dotenv.parser import parse_stream

    values: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line
        if binding.error:
            raise InvalidInput(f"line {line} of the .env file cannot be read", hint="write KEY=VALUE, and quote values with blanks")
        if binding.key is None:
            continue
        if binding.value is None:
            raise InvalidInput(f"line {line} of the .env file has no value", hint="write KEY= for an empty value")
        if binding.key in values:
            raise InvalidInput(f"line {line} of the .env file gives '{check_key(binding.key)}' once more")
        values[binding.key] = binding.value
    return values
