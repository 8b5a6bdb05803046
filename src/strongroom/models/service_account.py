"""Service accounts: identities of machines, which prove who they are by API keys."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.models.page import DEFAULT_PAGE_SIZE
from strongroom.redaction import SecretText


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's identity in one workspace, with its role there."""

    id: str
    name: str
    workspace: str
    role: str
    created: datetime


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key of a service account. `key` is there in the reply that makes it, and never again."""

    id: str
    name: str
    service_account: str
    created: datetime
    expires_at: datetime | None
    key: SecretText | UnsetType = UNSET


class CreateServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Adds a service account to the active workspace."""

    name: str
    role: str


class ListServiceAccounts(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the service accounts of the active workspace, by name."""

    page: int = 1
    size: int = DEFAULT_PAGE_SIZE


class DeleteServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Ends a service account and its API keys. Its name stays taken, since records may speak of it."""

    name: str


class CreateApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Makes an API key for a service account of the active workspace."""

    service_account: str
    name: str
    expires_at: datetime | None = None


class ListApiKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The API keys of a service account that have not ended."""

    service_account: str


class DeleteApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """Ends an API key, at once and everywhere."""

    service_account: str
    name: str
