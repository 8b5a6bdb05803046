"""Secrets: what they look like, and what may be asked of them."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.errors import InvalidInput, StrongroomError, TooLarge
from strongroom.models.page import DEFAULT_PAGE_SIZE
from strongroom.redaction import SecretText

MAX_SECRET_BYTES = 65_536
"""Keys and values of one secret together, in bytes of UTF-8."""

MAX_VERSION = 2_147_483_647

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_LABEL = re.compile(r"[A-Za-z0-9_./-]{1,63}")


class Scope(enum.StrEnum):
    """Who sees a secret: everybody in its workspace, or its owner alone (within that workspace)."""

    USER = "user"
    WORKSPACE = "workspace"


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret's metadata and, where they were read, its values.

    `id` is a UUIDv7; times are in UTC; `keys` are in the order in which they were given. `created_by` is the actor who made it,
    `owner` the one it belongs to. A copy of any depth is the object itself.
    """

    id: str
    name: str
    scope: Scope
    workspace: str
    owner: str
    description: str
    labels: dict[str, str]
    keys: list[str]
    version: int
    created: datetime
    updated: datetime
    created_by: str
    expires_at: datetime | None
    values: dict[str, SecretText] | UnsetType = UNSET

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: object) -> Secret:
        return self

    @property
    def secret_values(self) -> dict[str, str]:
        """Key to text, in clear, as a fresh plain dict. Raises where the values were not read (lists, replies to writes)."""
        if self.values is UNSET:
            raise StrongroomError("the values of this secret were not read", hint="use Client().get_secret()")
        return {key: value.reveal() for key, value in self.values.items()}


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """A store and a version: `state` is `present`, `emptied` where it was moved away on purpose, `behind` where it is still to be."""

    store: str
    state: str


class SecretVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One immutable version of a secret's values, by its key names."""

    version: int
    current: bool
    keys: list[str]
    created: datetime
    created_by: str
    placements: list[Placement]


class CreateSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a secret with its first version."""

    name: str
    values: dict[str, SecretText]
    scope: Scope = Scope.WORKSPACE
    description: str = ""
    labels: dict[str, str] = {}
    expires_at: datetime | None = None


class GetSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a secret by its full id; `version` defaults to the current one."""

    id: str
    version: int | None = None


class GetSecretByName(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a secret by its exact name: the caller's user scope first, then the workspace; with `scope` only there."""

    name: str
    scope: Scope | None = None
    version: int | None = None


class ListSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """A page of metadata. A text filter is a plain value or `operator:value`; all filters have to hold.

    Text operators: equals notequals startswith contains endswith oneof. Times also take gt gte lt lte, in ISO 8601 with a zone.
    `label` filters are `key=value`. `sort_by` is `[asc:|desc:]FIELD`.
    """

    id: str | None = None
    name: str | None = None
    scope: Scope | None = None
    owner: str | None = None
    label: list[str] = []
    created: list[str] = []
    updated: list[str] = []
    sort_by: str = "asc:created"
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class UpdateSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Changes a secret: `values` are merged into the current ones, `None` removes a key; `if_version` guards against others' changes.

    What is left `UNSET` stays as it is.
    """

    id: str
    values: dict[str, SecretText | None] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    description: str | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    expires_at: datetime | UnsetType | None = UNSET
    if_version: int | None = None


class ReplaceSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Puts other values in the place of all current ones; the metadata stays. `if_version` guards against others' changes."""

    id: str
    values: dict[str, SecretText]
    if_version: int | None = None


class DeleteSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Deletes a secret with all its versions."""

    id: str


class ListSecretVersions(msgspec.Struct, frozen=True, kw_only=True):
    """The kept versions of a secret, newest first."""

    id: str


class RollbackSecret(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a kept version the current one again."""

    id: str
    version: int


def check_name(name: str) -> str:
    """The name itself if a secret may bear it, else `InvalidInput` with the reason."""
    if name == "name":
        raise InvalidInput("a secret cannot be called 'name'", hint="choose another name; this one is reserved")
    if not _NAME.fullmatch(name):
        if not name:
            raise InvalidInput("a secret's name cannot be empty")
        if len(name) > 255:
            raise InvalidInput(f"a secret's name has at most 255 characters, not {len(name)}")
        odd = next(character for character in name if not _NAME.fullmatch(character))
        raise InvalidInput(
            f"a secret's name cannot contain {_spell(odd)}",
            hint="use letters, digits, '_' and '-', so that {{name.key}} can refer to it",
        )
    return name


def check_key(key: str) -> str:
    """The key itself if a value may be stored under it, else `InvalidInput` with the reason."""
    if key == "name":
        raise InvalidInput("a key cannot be called 'name'", hint="choose another key; this one is reserved")
    if not _KEY.fullmatch(key):
        if not key:
            raise InvalidInput("a key cannot be empty")
        if len(key) > 255:
            raise InvalidInput(f"a key has at most 255 characters, not {len(key)}")
        odd = next(character for character in key if not _KEY.fullmatch(character))
        raise InvalidInput(f"a key cannot contain {_spell(odd)}", hint="use letters, digits, '_', '.' and '-'")
    return key


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels as a dict if they may be stored, else `InvalidInput`."""
    for key, value in labels.items():
        if not isinstance(key, str) or not _LABEL.fullmatch(key):
            raise InvalidInput("a label's key has 1 to 63 characters: letters, digits, '_', '-', '.' and '/'")
        if not isinstance(value, str) or len(value) > 255 or not value.isprintable() or value != value.strip():
            raise InvalidInput(f"the label '{key}' needs a printable text of at most 255 characters, without blanks around it")
    return dict(labels)


def check_values(values: Mapping[str, SecretText]) -> None:
    """Refuses bad keys, text that is not Unicode, no keys at all, and more than `MAX_SECRET_BYTES`."""
    if not values:
        raise InvalidInput("a secret needs at least one key", hint="give --KEY=VALUE, or delete the secret as a whole")
    size = 0
    for key, value in values.items():
        check_key(key)
        try:
            encoded = value.reveal().encode()
        except UnicodeEncodeError:
            encoded = None  # that error holds the value: ours is raised outside of it
        if encoded is None:
            raise InvalidInput(f"the value of '{key}' is not valid Unicode text", hint="encode binary data, for example as base64")
        size += len(key) + len(encoded)
    if size > MAX_SECRET_BYTES:
        raise TooLarge(
            f"keys and values take {size} bytes; the limit is {MAX_SECRET_BYTES}",
            hint="split the secret, or keep the large part elsewhere and store only its credentials",
        )


def value_text(key: str, value: Any) -> SecretText:
    """A value as text: numbers and booleans become their JSON text, anything nested is refused by key."""
    if isinstance(value, SecretText):
        return value
    if isinstance(value, str):
        return SecretText(value)
    if isinstance(value, bool | int | float):
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            raise InvalidInput(f"the value of '{key}' is a number that JSON cannot write")
        try:
            return SecretText(msgspec.json.encode(value).decode() if not isinstance(value, int) else str(value).lower())
        except ValueError:  # Python writes no integers of more than 4,300 digits
            raise InvalidInput(f"the value of '{key}' is a number too long to write", hint="give it as text") from None
    kind = {dict: "a mapping", list: "a list", tuple: "a list", type(None): "null", bytes: "bytes"}.get(type(value), "no text")
    raise InvalidInput(
        f"the value of '{key}' is {kind}; a value has to be text",
        hint="store nested data as one JSON text, or as one key per entry",
    )


def _spell(character: str) -> str:
    names = {" ": "a blank", ".": "a dot", "/": "a slash"}
    return names.get(character, f"'{character}'" if character.isprintable() else f"the character U+{ord(character):04X}")
