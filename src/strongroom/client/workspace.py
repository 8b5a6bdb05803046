"""The client's methods on workspaces, their members and service accounts."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from strongroom.client.transports.base import Transport
from strongroom.models.page import DEFAULT_PAGE_SIZE, Page
from strongroom.models.service_account import (
    ApiKey,
    CreateApiKey,
    CreateServiceAccount,
    DeleteApiKey,
    DeleteServiceAccount,
    ListApiKeys,
    ListServiceAccounts,
    ServiceAccount,
)
from strongroom.models.workspace import (
    ActivateWorkspace,
    CreateWorkspace,
    ListMembers,
    ListWorkspaces,
    Member,
    PutMember,
    RemoveMember,
    UpdateWorkspace,
    Workspace,
)
from strongroom.operations import service_account as account_operations
from strongroom.operations import workspace as operations


class WorkspaceClient:
    """Workspaces: create, list, activate; members; service accounts and API keys of the active workspace."""

    _transport: Transport

    def create_workspace(self, name: str) -> Workspace:
        """Makes a workspace, which one administers. For administrators of the server. `AlreadyExists`."""
        return self._transport.call(operations.CREATE, CreateWorkspace(name=name))

    def list_workspaces(self, *, page: int = 1, size: int = DEFAULT_PAGE_SIZE) -> Page[Workspace]:
        """A page of the workspaces that one belongs to, by name; administrators of the server see the others after them."""
        return self._transport.call(operations.LIST, ListWorkspaces(page=page, size=size))

    def activate_workspace(self, name: str) -> Workspace:
        """Makes a workspace one's active one. `NotFound`."""
        return self._transport.call(operations.ACTIVATE, ActivateWorkspace(name=name))

    def update_workspace(
        self, name: str, *, shared_cache: bool | None = None, trusts_administrators: bool | None = None
    ) -> Workspace:
        """Changes the settings of a workspace; None leaves one as it is. `NotFound`, `Forbidden`, `NothingToChange`.

        `shared_cache`: members take over results from the cache of each other's runs. `trusts_administrators`: members use what
        administrators of the workspace wrote without approving it.
        """
        request = UpdateWorkspace(
            name=name,
            shared_cache=UNSET if shared_cache is None else shared_cache,
            trusts_administrators=UNSET if trusts_administrators is None else trusts_administrators,
        )
        return self._transport.call(operations.UPDATE, request)

    def list_members(self, workspace: str, *, page: int = 1, size: int = DEFAULT_PAGE_SIZE) -> Page[Member]:
        """A page of the members of a workspace, by name. `NotFound`."""
        return self._transport.call(operations.LIST_MEMBERS, ListMembers(name=workspace, page=page, size=size))

    def put_member(self, workspace: str, user: str, role: str) -> Member:
        """Gives somebody a role in a workspace: viewer, reader, editor or admin. `NotFound`, `Forbidden`, `InvalidInput`."""
        return self._transport.call(operations.PUT_MEMBER, PutMember(name=workspace, user=user, role=role))

    def remove_member(self, workspace: str, user: str) -> None:
        """Takes somebody out of a workspace. `NotFound`, `Forbidden`, `InvalidInput`."""
        self._transport.call(operations.REMOVE_MEMBER, RemoveMember(name=workspace, user=user))

    def create_service_account(self, name: str, role: str) -> ServiceAccount:
        """Adds a service account to the active workspace. `AlreadyExists`, `InvalidInput`."""
        return self._transport.call(account_operations.CREATE, CreateServiceAccount(name=name, role=role))

    def list_service_accounts(self, *, page: int = 1, size: int = DEFAULT_PAGE_SIZE) -> Page[ServiceAccount]:
        """A page of the service accounts of the active workspace, by name."""
        return self._transport.call(account_operations.LIST, ListServiceAccounts(page=page, size=size))

    def delete_service_account(self, name: str) -> None:
        """Ends a service account and its API keys. `NotFound`."""
        self._transport.call(account_operations.DELETE, DeleteServiceAccount(name=name))

    def create_api_key(self, service_account: str, name: str, *, expires_at: datetime | None = None) -> ApiKey:
        """Makes an API key; `key` is in the reply, this once. `NotFound`, `AlreadyExists`, `InvalidInput`."""
        request = CreateApiKey(service_account=service_account, name=name, expires_at=expires_at)
        return self._transport.call(account_operations.CREATE_KEY, request)

    def list_api_keys(self, service_account: str) -> Page[ApiKey]:
        """The API keys of a service account that have not ended. `NotFound`."""
        return self._transport.call(account_operations.LIST_KEYS, ListApiKeys(service_account=service_account))

    def delete_api_key(self, service_account: str, name: str) -> None:
        """Ends an API key, at once. `NotFound`."""
        self._transport.call(account_operations.DELETE_KEY, DeleteApiKey(service_account=service_account, name=name))
