"""The client's methods on secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from strongroom.client.observers import ValuesRead, tell
from strongroom.client.transports.base import Transport
from strongroom.client.transports.chosen import ChosenTransport
from strongroom.config import Settings, read_settings
from strongroom.errors import AmbiguousId, InvalidInput, NotFound
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
from strongroom.models.run import ListSecretUsage, SecretUse
from strongroom.models.secret import (
    CreateSecret,
    DeleteSecret,
    GetSecret,
    GetSecretByName,
    ListSecrets,
    ListSecretVersions,
    RollbackSecret,
    Scope,
    Secret,
    SecretVersion,
    UpdateSecret,
    value_text,
)
from strongroom.operations import secret as operations
from strongroom.operations.operation import Operation
from strongroom.redaction import SecretText

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ID_PREFIX = re.compile(r"[0-9a-f-]{8,36}")

Values = Mapping[str, str | SecretText | int | float | bool]
"""Key to value; numbers and booleans are stored as their JSON text."""


class SecretClient:
    """Secrets: create, get, list, update, delete, versions, rollback.

    `name_or_id` is an exact name (looked up in the user scope first, then in the workspace) or a full id; with `scope` only there.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Takes the settings of the environment unless others are given. Touches neither disk nor network."""
        self.settings = settings or read_settings()
        self._transport: Transport = ChosenTransport(self.settings)

    def create_secret(
        self,
        name: str,
        values: Values,
        *,
        scope: Scope | str = Scope.WORKSPACE,
        description: str = "",
        labels: Mapping[str, str] | None = None,
        expires_at: datetime | None = None,
    ) -> Secret:
        """Stores a new secret; its metadata. `AlreadyExists` when the scope has one of that name, `InvalidInput`, `TooLarge`."""
        request = CreateSecret(
            name=name,
            values={key: value_text(key, value) for key, value in _mapping(values).items()},
            scope=_scope(scope),
            description=description,
            labels=dict(labels or {}),
            expires_at=expires_at,
        )
        tell(ValuesRead.written(name, request.values))
        return self._transport.call(operations.CREATE, request)

    def get_secret(self, name_or_id: str | UUID, *, scope: Scope | str | None = None, version: int | None = None) -> Secret:
        """The secret with its values. A unique prefix of an id, 8 characters or more, is enough. `NotFound`, `AmbiguousId`."""
        secret = self._look_up(operations.GET, operations.GET_BY_NAME, name_or_id, scope, version, allow_prefix=True)
        tell(ValuesRead.of(secret))
        return secret

    def get_secret_metadata(self, name_or_id: str | UUID, *, scope: Scope | str | None = None, version: int | None = None) -> Secret:
        """The same without values, for those who may not read them."""
        return self._metadata(name_or_id, scope, version, allow_prefix=True)

    def get_secret_metadata_exactly(self, name_or_id: str | UUID, *, scope: Scope | str | None = None) -> Secret:
        """The same by exact name or full id, as writes take them."""
        return self._metadata(name_or_id, scope)

    def list_secrets(
        self,
        *,
        id: str | None = None,  # noqa: A002 - the filter's name on every interface
        name: str | None = None,
        scope: Scope | str | None = None,
        user: str | None = None,
        labels: Mapping[str, str] | None = None,
        created: str | Iterable[str] = (),
        updated: str | Iterable[str] = (),
        sort_by: str = "asc:created",
        page: int = 1,
        size: int = DEFAULT_PAGE_SIZE,
    ) -> Page[Secret]:
        """A page of metadata, without values. See `ListSecrets` for the filters; all of them have to hold."""
        request = ListSecrets(
            id=id,
            name=name,
            scope=None if scope is None else _scope(scope),
            owner=user,
            label=[f"{key}={value}" for key, value in (labels or {}).items()],
            created=[created] if isinstance(created, str) else list(created),
            updated=[updated] if isinstance(updated, str) else list(updated),
            sort_by=sort_by,
            page=page,
            size=size,
        )
        return self._transport.call(operations.LIST, request)

    def update_secret(
        self,
        name_or_id: str | UUID,
        *,
        scope: Scope | str | None = None,
        add_or_update_values: Values | None = None,
        remove_values: Iterable[str] = (),
        new_name: str | None = None,
        new_scope: Scope | str | None = None,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        expires_at: datetime | UnsetType | None = UNSET,
        if_version: int | None = None,
    ) -> Secret:
        """Merges values, renames, moves to another scope, all at once; the new metadata. What is not given stays.

        `if_version` refuses (`StaleVersion`) when the secret is at another version. Keys to remove have to be there.
        """
        changes: dict[str, SecretText | None] = {
            key: value_text(key, value) for key, value in _mapping(add_or_update_values or {}).items()
        }
        for key in [remove_values] if isinstance(remove_values, str) else remove_values:
            if key in changes:
                raise InvalidInput(f"the key '{key}' is both set and removed")
            changes[key] = None
        tell(ValuesRead.written(str(name_or_id), changes))
        request = UpdateSecret(
            id=self._metadata(name_or_id, scope).id,
            values=changes or UNSET,
            name=UNSET if new_name is None else new_name,
            scope=UNSET if new_scope is None else _scope(new_scope),
            description=UNSET if description is None else description,
            labels=UNSET if labels is None else dict(labels),
            expires_at=expires_at,
            if_version=if_version,
        )
        return self._transport.call(operations.UPDATE, request)

    def delete_secret(self, name_or_id: str | UUID, *, scope: Scope | str | None = None) -> None:
        """Deletes the secret with all its versions. `NotFound`."""
        self._transport.call(operations.DELETE, DeleteSecret(id=self._metadata(name_or_id, scope).id))

    def list_secret_versions(self, name_or_id: str | UUID, *, scope: Scope | str | None = None) -> Page[SecretVersion]:
        """The kept versions, newest first: their keys, and the stores that hold them."""
        request = ListSecretVersions(id=self._metadata(name_or_id, scope, allow_prefix=True).id)
        return self._transport.call(operations.LIST_VERSIONS, request)

    def rollback_secret(self, name_or_id: str | UUID, version: int, *, scope: Scope | str | None = None) -> Secret:
        """Makes a kept version the current one again; the new metadata."""
        request = RollbackSecret(id=self._metadata(name_or_id, scope).id, version=version)
        return self._transport.call(operations.ROLLBACK, request)

    def list_secret_usage(
        self,
        name_or_id: str | UUID,
        *,
        scope: Scope | str | None = None,
        version: int | None = None,
        page: int = 1,
        size: int = DEFAULT_PAGE_SIZE,
    ) -> Page[SecretUse]:
        """A page of which run and step read which version of a secret, newest first. `NotFound`."""
        secret_id = self.get_secret_metadata(name_or_id, scope=scope).id
        request = ListSecretUsage(id=secret_id, version=version, page=page, size=size)
        return self._transport.call(operations.LIST_USAGE, request)

    def _metadata(
        self,
        name_or_id: str | UUID,
        scope: Scope | str | None,
        version: int | None = None,
        *,
        allow_prefix: bool = False,
    ) -> Secret:
        by_id, by_name = operations.GET_METADATA, operations.GET_METADATA_BY_NAME
        return self._look_up(by_id, by_name, name_or_id, scope, version, allow_prefix=allow_prefix)

    def _look_up(
        self,
        by_id: Operation[GetSecret, Secret],
        by_name: Operation[GetSecretByName, Secret],
        name_or_id: str | UUID,
        scope: Scope | str | None,
        version: int | None,
        *,
        allow_prefix: bool,
    ) -> Secret:
        """By full id, by exact name, and only where that is allowed by a unique prefix of the id."""
        text, wanted = str(name_or_id), None if scope is None else _scope(scope)
        if _ID.fullmatch(text):
            try:
                secret = self._transport.call(by_id, GetSecret(id=text, version=version))
                if wanted in (None, secret.scope):
                    return secret
            except NotFound:
                if isinstance(name_or_id, UUID):
                    raise
        try:
            return self._transport.call(by_name, GetSecretByName(name=text, scope=wanted, version=version))
        except NotFound:
            found = self._find_by_prefix(text, wanted) if allow_prefix else None
            if found is None:
                raise
        return self._transport.call(by_id, GetSecret(id=found.id, version=version))

    def _find_by_prefix(self, prefix: str, scope: Scope | None) -> Secret | None:
        """The only visible secret whose id starts so; `AmbiguousId` if there are several."""
        if not _ID_PREFIX.fullmatch(prefix):
            return None
        page = self._transport.call(operations.LIST, ListSecrets(id=f"startswith:{prefix}", scope=scope, size=5))
        if page.total > 1:
            some = ", ".join(f"{secret.id} ({secret.name})" for secret in page)
            raise AmbiguousId(f"{page.total} secrets have an id that starts with {prefix}", hint=f"give more of it: {some}")
        return page.items[0] if page.items else None


def _mapping(values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise InvalidInput("values are a mapping of keys to texts")
    return values


def _scope(scope: Scope | str) -> Scope:
    try:
        return Scope(scope)
    except ValueError:
        raise InvalidInput("a scope is 'workspace' or 'user'") from None
