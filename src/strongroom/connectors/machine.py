"""What a login takes from the machine that it runs on: files, profiles, and the identity that the machine itself has.

The dataclasses of endpoints and methods declare it: in the metadata of a field (`FILE`, `PROFILE`, `DOCUMENT`, `ADDRESS`), and by
`identity_unless` for a method that may log in as the machine. What a user has to approve and what a server refuses to take from its
database derive from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from strongroom.models.flavor import AttributeRole
from strongroom.redaction import SecretText

_KEY = "machine"


Role = AttributeRole


def _metadata(role: Role) -> Mapping[str, Role]:
    return MappingProxyType({_KEY: role})


FILE, PROFILE = _metadata(Role.FILE), _metadata(Role.PROFILE)
DOCUMENT, ADDRESS = _metadata(Role.DOCUMENT), _metadata(Role.ADDRESS)


@dataclass(frozen=True)
class Option:
    """An option of a login that has a role, with what it holds: its text, its default, or for a reference the reference itself."""

    name: str
    role: Role
    value: str


def options_of(endpoint: type[Any], method: type[Any], options: Mapping[str, Any]) -> list[Option]:
    """The options with a role that this login uses, each once, by name. Those that are not given count with their default."""
    used: dict[str, Option] = {}
    for field in (*fields(endpoint), *fields(method)):
        role = field.metadata.get(_KEY)
        value = options.get(field.name) or (None if field.default is MISSING else field.default)
        if role is not None and value:
            used[field.name] = Option(field.name, role, _text(value))
    return [used[name] for name in sorted(used)]


def names_with(role: Role, types: Iterable[type[Any]]) -> set[str]:
    """The names of the options that have this role in any of these dataclasses."""
    return {field.name for each in types for field in fields(each) if field.metadata.get(_KEY) is role}


def takes_identity(method: type[Any], options: Mapping[str, Any]) -> bool:
    """Whether such a login is by what the machine has: variables, files of its user, a role of the machine or pod."""
    without: Sequence[str] | None = getattr(method, "identity_unless", None)
    return without is not None and not any(options.get(name) for name in without)


@dataclass(frozen=True)
class Refusal:
    """An option of the database that takes something of this machine, and what.

    `is_settable`: the operator can set the option itself. `is_file`: the operator can allow the file's folder.
    """

    option: str
    what: str
    is_settable: bool = False
    is_file: bool = False


def find_refusal(
    endpoint: type[Any], method: type[Any], options: Mapping[str, Any], own: Mapping[str, Any], folders: Sequence[Path]
) -> Refusal | None:
    """The first option of the database that takes something of this machine which its operator did not allow, or None.

    `options` come from the database, with values in place of references; `own` from the settings of this process, and win. A file
    must lie in one of the folders, with all symbolic links resolved. Reads no file. The refusal shows no option's value.
    """
    every = {**options, **own}
    for option in options_of(endpoint, method, every):
        if option.name in own or option.role is Role.ADDRESS:
            continue
        if option.role is Role.PROFILE:
            return Refusal(option.name, "names a profile of this machine")
        if option.role is Role.DOCUMENT:
            refusal = _refusal_of_document(option, folders)
            if refusal is not None:
                return refusal
        elif not _lies_in(option.value, folders):
            return Refusal(option.name, "names a file", is_settable=True, is_file=True)
    if takes_identity(method, every):
        for option in options_of(endpoint, method, options):
            if option.role is Role.ADDRESS and options.get(option.name) and option.name not in own:
                return Refusal(option.name, "says where the credentials of this machine itself go", is_settable=True)
    return None


def _refusal_of_document(option: Option, folders: Sequence[Path]) -> Refusal | None:
    """A document may name a file in one of the folders, and nothing else of this machine."""
    try:
        document = msgspec.json.decode(option.value)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None  # the login refuses it, and reads nothing
    source = document.get("credential_source") if isinstance(document, dict) else None
    if not source:
        return None
    if not isinstance(source, dict) or source.keys() - {"file", "format"} or not isinstance(source.get("file"), str):
        return Refusal(option.name, "names programs, variables or addresses of this machine in its 'credential_source'")
    if not _lies_in(source["file"], folders):
        return Refusal(option.name, "names a file in its 'credential_source'", is_file=True)
    return None


def _lies_in(path: str, folders: Sequence[Path]) -> bool:
    try:
        real = Path(path).resolve()
        return any(real.is_relative_to(folder.resolve()) for folder in folders)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a path that no file can have
        return False


def _text(value: Any) -> str:
    if isinstance(value, SecretText):
        return value.reveal()
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
