"""Workspaces, and who belongs to them."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.models.page import DEFAULT_PAGE_SIZE


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """A team's secrets, stacks and runs. `active` and `role` are those of the caller; a caller who is no member has no role.

    With `shared_cache`, members take over results from the cache of each other's runs, and load what those pickled. With
    `trusts_administrators`, members use what administrators of the workspace wrote without approving it.
    """

    id: str
    name: str
    created: datetime
    active: bool
    role: str | None
    shared_cache: bool
    trusts_administrators: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A user or service account in a workspace."""

    id: str
    name: str
    role: str
    service_account: bool


class CreateWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a workspace, with whoever makes it as its administrator."""

    name: str


class ListWorkspaces(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the workspaces that one belongs to, by name; administrators of the server see the others after them."""

    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class ActivateWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a workspace the active one of whoever asks."""

    name: str


class UpdateWorkspace(msgspec.Struct, frozen=True, kw_only=True):
    """Changes the settings of a workspace. What is left out stays."""

    name: str
    shared_cache: bool | UnsetType = UNSET
    trusts_administrators: bool | UnsetType = UNSET


class ListMembers(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the members of a workspace, by name."""

    name: str
    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class PutMember(msgspec.Struct, frozen=True, kw_only=True):
    """Gives a user or service account a role in a workspace, whether it had one or not."""

    name: str
    user: str
    role: str


class RemoveMember(msgspec.Struct, frozen=True, kw_only=True):
    """Takes somebody out of a workspace."""

    name: str
    user: str
