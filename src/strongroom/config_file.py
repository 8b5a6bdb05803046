"""The configuration file: YAML whose scalars are text as written.

So `012345670123`, `1_000`, `12:34:56`, `2026-01-31` and `no` stay what they are, with and without quotes, as they do in `-v` and in
variables. Only `null`, `~` and nothing at all are null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from strongroom.errors import ConfigurationError, printable


class _Literal(str):
    """A scalar that was written without quotes, and that JSON writes in exactly this way as a number or a truth value."""


class _TextLoader(yaml.SafeLoader):
    """Loads mappings, lists and texts."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping; `yaml.YAMLError` when a key stands in it twice."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for place, (key, _) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, "a key stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _scalar(loader: Any, node: Any) -> str:
    return str(loader.construct_scalar(node))


_LITERAL = "tag:strongroom,literal"
_TextLoader.yaml_implicit_resolvers = {}
_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_TextLoader.add_implicit_resolver(_LITERAL, re.compile(r"(?:true|false|-?[1-9][0-9]*|0)$"), list("tf-0123456789"))
_TextLoader.add_constructor(_LITERAL, lambda loader, node: _Literal(_scalar(loader, node)))
for _tag in ("binary", "bool", "float", "int", "timestamp"):  # written out, as in `!!int 5`
    _TextLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", lambda loader, node: _scalar(loader, node))


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in the file: texts, None, and lists and mappings of them. `ConfigurationError` repeats nothing of it."""
    try:
        # The loader builds nothing but text, null, lists and mappings.
        found = yaml.load(path.expanduser().read_text(encoding="utf-8-sig"), _TextLoader)  # noqa: S506
    except OSError as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError, RuntimeError, ValueError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        twice = getattr(error, "problem", "") == "a key stands twice"
        reason = "has a key twice" if twice else "is not YAML"
        raise ConfigurationError(f"the configuration file {path} {reason}{line}") from None
    if not isinstance(found or {}, dict):
        raise ConfigurationError(f"the configuration file {path} must be a mapping", hint="of settings by their names in lower case")
    return found or {}


def as_text(value: Any, name: str, path: Path) -> str:
    """A value of that mapping as a variable has it: texts as written, lists and mappings as JSON."""
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(_as_json(value), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # sets, aliases of themselves
        pass
    raise ConfigurationError(f"'{printable(name)}' in {path} is neither a text nor what JSON can write")


def _as_json(value: Any) -> Any:
    """What JSON is made of: inside of lists and mappings, numbers and truth values are what they are if they stay as written."""
    if isinstance(value, _Literal):
        return json.loads(value)
    if isinstance(value, dict):
        return {key: _as_json(entry) for key, entry in value.items()}
    return [_as_json(entry) for entry in value] if isinstance(value, list) else value
