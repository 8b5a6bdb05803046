"""Stacks: components that work together."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.models.component import Component
from strongroom.models.flavor import ComponentType, Flavor
from strongroom.models.page import DEFAULT_PAGE_SIZE


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """A stack with its components, in the order of their types. `active` is as seen by whoever asks.

    `connectors` are the service connectors that its components name, each once. `revision` counts the changes of its composition;
    `author` made the last one, and is None where that is not known.
    """

    id: str
    name: str
    workspace: str
    owner: str
    active: bool
    components: list[Component]
    connectors: list[Component]
    created: datetime
    updated: datetime
    revision: int = 1
    author: str | None = None


class ComponentUse(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to use a component: its attributes as they are stored, nothing masked, and its flavor.

    `state` stands for the revision, where a component is used by itself.
    """

    id: str
    name: str
    type: ComponentType
    flavor: Flavor
    configuration: dict[str, Any]
    state: str | None = None


class StackUse(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to use a stack, with the service connectors that its components name.

    `state` stands for the revisions of all of them.
    """

    id: str
    name: str
    components: list[ComponentUse]
    connectors: list[ComponentUse] = []
    state: str | None = None


class CreateStack(msgspec.Struct, frozen=True, kw_only=True):
    """Registers a stack of existing components: type to exact name. It needs an orchestrator and an artifact store."""

    name: str
    components: dict[ComponentType, str]
    activate: bool = False


class GetStack(msgspec.Struct, frozen=True, kw_only=True):
    """Reads a stack by exact name; without a name, the active one."""

    name: str | None = None


class ListStacks(msgspec.Struct, frozen=True, kw_only=True):
    """A page of stacks, by name."""

    name: str | None = None
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class UpdateStack(msgspec.Struct, frozen=True, kw_only=True):
    """Puts components in (by exact name) or takes them out (None), renames; all at once."""

    id: str
    name: str | UnsetType = UNSET
    components: dict[ComponentType, str | None] = {}


class DeleteStack(msgspec.Struct, frozen=True, kw_only=True):
    """Deletes a stack; its components stay."""

    id: str


class ActivateStack(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a stack the active one of whoever asks, in their workspace."""

    name: str
