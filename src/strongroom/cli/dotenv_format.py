"""`.env` files that shells can source, and that all their other readers read as the same.

A value stands in the one spelling that bash, dash, python-dotenv, Node's `--env-file` and Docker Compose agree on:

- `'...'` is literal in all of them, but a `'` ends it; for python-dotenv a backslash before another one, or at the end, is an escape
- `"..."` has a `'` in it, and none of `"`, `\\`, `$` and a backtick, which some of them act on
- nothing writes `${`, which python-dotenv replaces in any quotes; a carriage return, which Node and Python drop; or NUL
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from strongroom.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ACTED_ON = re.compile(
    r"_|BASH.*|COMP_.*|COMPREPLY|DIRSTACK|E?UID|ENV|EPOCH.*|FUNCNAME|GROUPS|HISTCMD|IFS|LD_.*|LINENO|MAPFILE|NODE_OPTIONS|OPT(ARG|ERR|IND)"
    r"|PATH|PIPESTATUS|PPID|PROMPT_COMMAND|PS[0-4]|PWD|OLDPWD|S?RANDOM|SECONDS|SHELLOPTS|SHLVL|TMOUT"
)
"""Variables that shells set themselves, evaluate as arithmetic or run as code, or by which other programs are loaded."""

_NEVER = re.compile(r"[\r\0]|\$\{|[\ud800-\udfff]")
_NOT_SINGLE = re.compile(r"'|\\(\\|\Z)")
_NOT_DOUBLE = re.compile(r'["\\$`]')
_HINT = "use --format json"


def format_dotenv(values: Mapping[str, str]) -> str:
    """The file. `InvalidInput` names a key that is no name of a variable, or whose value has no spelling; it shows no value."""
    return "".join(f"{_check_name(key)}={_quote(key, value)}\n" for key, value in values.items())


def _check_name(key: str) -> str:
    if not _NAME.fullmatch(key):
        raise InvalidInput(f"the key '{key}' is no name of a variable, and cannot be written in a .env file", hint=_HINT)
    if _ACTED_ON.fullmatch(key):
        raise InvalidInput(f"the key '{key}' is a variable that shells act on, and is not written in a .env file", hint=_HINT)
    return key


def _quote(key: str, value: str) -> str:
    if not _NEVER.search(value):
        if not _NOT_SINGLE.search(value):
            return f"'{value}'"
        if not _NOT_DOUBLE.search(value):
            return f'"{value}"'
    raise InvalidInput(f"the value of '{key}' cannot be written in a .env file so that all programs read it as the same", hint=_HINT)
