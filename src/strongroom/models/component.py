"""Components of stacks: a flavor with its attributes, under a name."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.errors import InvalidInput
from strongroom.models.flavor import ComponentType
from strongroom.models.page import DEFAULT_PAGE_SIZE
from strongroom.models.reference import is_near_miss, parse_reference

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_MAX_REFERENCE = 1_024


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A component as it is shown: references as they are written, plain text in sensitive attributes masked.

    `configuration` holds the attributes that were given. `revision` counts the changes; `author` made the last one, and is None where
    that is not known. `warnings` come with replies to writes.
    """

    id: str
    name: str
    type: ComponentType
    flavor: str
    workspace: str
    owner: str
    configuration: dict[str, Any]
    created: datetime
    updated: datetime
    revision: int = 1
    author: str | None = None
    warnings: list[str] | UnsetType = UNSET


class CreateComponent(msgspec.Struct, frozen=True, kw_only=True):
    """Registers a component."""

    name: str
    type: ComponentType
    flavor: str
    configuration: dict[str, Any] = {}


class GetComponent(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a component by type and exact name, or by type and id."""

    type: ComponentType
    name: str


class ListComponents(msgspec.Struct, frozen=True, kw_only=True):
    """A page of components, by type and name. `name` is a filter as for secrets."""

    type: ComponentType | None = None
    name: str | None = None
    flavor: str | None = None
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class UpdateComponent(msgspec.Struct, frozen=True, kw_only=True):
    """Merges attributes, removes some, renames; all at once."""

    id: str
    name: str | UnsetType = UNSET
    configuration: dict[str, Any] = {}
    remove: list[str] = []


class DeleteComponent(msgspec.Struct, frozen=True, kw_only=True):
    """Deletes a component that is in no stack."""

    id: str


def check_plain_name(name: str, what: str) -> str:
    """The name itself if a component, stack, pipeline, step or run may bear it, else `InvalidInput` with the reason."""
    if len(name) <= _MAX_REFERENCE and (parse_reference(name) is not None or is_near_miss(name)):
        raise InvalidInput(f"the name of {what} cannot be a reference", hint="references are for attributes")
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"the name of {what} has 1 to 255 characters: letters, digits, '_' and '-'")
    return name
