"""Which parts of a value are masked on their own, and which texts are so common that they are masked only where they stand alone."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

SHORTEST = 4
"""Values, and parts of values, with fewer characters than this (white space around them not counted) are not masked."""

WHITE = " \t\r\n\v\f"

_NUMBER = re.compile(r"[0-9]+(?:[.,:/ +-]+[0-9]+)*")
_FEW_DIGITS = 7
_WORD = re.compile(r"[A-Za-z][a-z]{0,11}|[A-Z]{1,12}")
_SHORT = 8
_LONG = 20
"""Parts that have no telling name are sensitive from this length on."""

_TELLING = re.compile(
    r"pass|pwd|secret|token|key|credential|auth|private|signature|cookie|session|dsn|certificate|salt|pin$|code$|connection.?string",
    re.IGNORECASE,
)
_PAIR = re.compile(r"""\s*(?:export\s+|-\s+)?["']?([A-Za-z_][\w.-]{0,100})["']?[ \t]*[:=][ \t]*(.*)""", re.DOTALL)
_SECTION = re.compile(r"\s*(?:\[.*\]|[#;].*|---|)\s*")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://([^\s/?#@:]{0,300})(?::(?![0-9]{1,5}/)([^\s@]{0,1000}))?@")
_OPTION = re.compile(r"""(?:^|[;&?\s])([A-Za-z_][\w .-]{0,60}?)\s*=\s*("[^"]*"|'[^']*'|\{[^}]*\}|[^;&\s]+)""")
_PLACE = re.compile(
    r"[\w.+-]{1,200}@[\w.-]{1,200}|[A-Za-z][A-Za-z0-9+.-]{0,40}://\S*|[./~]\S*|(?:[a-z0-9-]{1,63}\.){1,10}[a-z]{2,20}(?::\d+)?"
)
_CODED = re.compile(r"[A-Za-z0-9+/_-]{40,}={0,2}")
_DEPTH = 3
_FLAGS = frozenset(["true", "false", "yes", "no", "on", "off", "none", "null", "enabled", "disabled"])
"""What settings such as `USE_AUTH` have, and half of all logs."""


def is_number(text: str) -> bool:
    """Whether the text consists of digits, perhaps with signs between them as in dates."""
    return _NUMBER.fullmatch(text) is not None


def is_common(text: str) -> bool:
    """Whether the text is likely to stand somewhere by chance: a word such as `admin`, a number such as `5432`, or short."""
    if is_number(text):
        return sum(map(str.isdigit, text)) < _FEW_DIGITS
    return len(text) < _SHORT or _WORD.fullmatch(text) is not None


def sensitive_parts(value: str) -> Iterator[str]:
    """The parts of a value that are masked on their own; some may come twice, some may be shorter than `SHORTEST`. No flags.

    Of JSON, of lines such as `name = text` (.env, INI, YAML) and of connection strings: what has a telling name, such as `password`,
    and in the first two long texts that are no address or path. Of addresses: the password. Of any other text: each of its lines.
    """
    yield from (part for part in _parts(value, _DEPTH) if part.lower() not in _FLAGS)


def _parts(value: str, depth: int) -> Iterator[str]:
    if depth < 0:
        return
    text = value.strip(WHITE)
    if text.startswith(("{", "[")):
        with suppress(ValueError, RecursionError):
            yield from _of_json("", json.loads(text), depth)
            return
    yield from _of_addresses(text)
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line.strip(WHITE)]
    pairs = [_PAIR.fullmatch(line) for line in lines]
    named = [pair for pair in pairs if pair is not None]
    options = list(_OPTION.finditer(text)) if len(lines) == 1 else []
    if len(options) > 1:
        for option in options:
            if _TELLING.search(option[1]):
                yield from _of_pair(option[1], option[2].strip("{}"), depth)
    elif len(named) == len(lines) or (len(lines) > 1 and 2 * len(named) >= sum(not _SECTION.fullmatch(line) for line in lines)):
        for line, pair in zip(lines, pairs, strict=True):
            if pair is not None:
                yield from _of_pair(pair[1], pair[2], depth)
            elif len(lines) > 1 and not is_common(line.strip(WHITE)) and not _SECTION.fullmatch(line):
                yield line.strip(WHITE)
    elif len(lines) > 1:
        yield from (line.strip(WHITE) for line in lines)


def _of_json(name: str, data: Any, depth: int) -> Iterator[str]:
    if isinstance(data, dict):
        for key, item in data.items():
            yield from _of_json(key if isinstance(item, str | int | float) else f"{name} {key}", item, depth)
    elif isinstance(data, list):
        for item in data:
            yield from _of_json(name, item, depth)
    elif isinstance(data, str):
        yield from _of_pair(name, data, depth)
    elif isinstance(data, int | float) and not isinstance(data, bool) and _TELLING.search(name):
        yield str(data)


def _of_pair(name: str, text: str, depth: int) -> Iterator[str]:
    text = text.strip(WHITE).removesuffix(",")
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if "\n" in text or text.startswith(("{", "[")) or "://" in text:
        yield from _parts(text, depth - 1)
    is_place = _PLACE.fullmatch(text) is not None
    if (_TELLING.search(name) and not (is_place and "://" in text)) or (len(text) >= _LONG and not is_place and " " not in text):
        yield text
        if _CODED.fullmatch(text):
            with suppress(ValueError):
                yield from _parts(base64.b64decode(text, validate=True).decode(), depth - 1)


def _of_addresses(text: str) -> Iterator[str]:
    for address in _ADDRESS.finditer(text):
        user, password = address[1], address[2]
        part = password or user
        if part and (password or not is_common(part)):
            yield part
            yield unquote(part)
