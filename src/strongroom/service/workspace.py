"""The rules of workspaces, their members and service accounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.auth.tokens import TokenKind, digest, new_token
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, NothingToChange, printable
from strongroom.metadata import identity as index
from strongroom.metadata.identity import ServiceAccountRow, WorkspaceRow
from strongroom.metadata.stack import create_defaults
from strongroom.models.component import check_plain_name
from strongroom.models.filter import from_microseconds, to_microseconds
from strongroom.models.page import Page, check_page, offset_of
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
from strongroom.models.user import check_user_name
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
from strongroom.redaction import SecretText

if TYPE_CHECKING:
    from sqlalchemy import Connection


class WorkspaceService:
    """Makes workspaces and says who belongs to them. A workspace that one does not belong to does not exist for one. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, actor: Actor, request: CreateWorkspace) -> Workspace:
        """A workspace with its default stack; whoever makes it administers it. `AlreadyExists`."""
        name = check_plain_name(request.name, "the workspace")
        try:
            with self._database.write() as connection:
                index.insert_workspace(connection, workspace_id := new_id(), name, now())
                index.put_member(connection, workspace_id, actor.user_id, Role.ADMIN)
                create_defaults(connection, workspace_id, actor.user_id, now())
                row = index.find_workspace(connection, actor.user_id, name)
        except ConstraintViolated:
            raise AlreadyExists(f"a workspace '{name}' already exists", hint="choose another name") from None
        assert row is not None
        return _shown(actor, row)

    def list(self, actor: Actor, request: ListWorkspaces) -> Page[Workspace]:
        """A page of the workspaces that the actor belongs to; administrators of the server see the others after them."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            rows, total = index.list_workspaces(
                connection, actor.user_id, everything=actor.admin, offset=offset_of(request.page, request.size), size=request.size
            )
        return Page.of([_shown(actor, row) for row in rows], total=total, page=request.page, size=request.size)

    def activate(self, actor: Actor, request: ActivateWorkspace) -> Workspace:
        """Makes a workspace that the actor belongs to their active one. `NotFound`."""
        with self._database.write() as connection:
            row = self._visible(connection, actor, request.name)
            if row.role is None:
                raise Forbidden(f"you do not belong to workspace '{row.name}'", hint="add yourself as a member first")
            index.activate_workspace(connection, actor.user_id, row.id)
        return msgspec.structs.replace(_shown(actor, row), active=True)

    def update(self, actor: Actor, request: UpdateWorkspace) -> Workspace:
        """Changes settings. Needs the workspace's or the server's administration. `NotFound`, `Forbidden`, `NothingToChange`."""
        with self._database.write() as connection:
            row = self._managed(connection, actor, request.name)
            if request.shared_cache is UNSET and request.trusts_administrators is UNSET:
                raise NothingToChange("there is nothing to change", hint="give a setting")
            if request.shared_cache is not UNSET:
                index.share_cache(connection, row.id, request.shared_cache)
                row = replace(row, shared_cache=request.shared_cache)
            if request.trusts_administrators is not UNSET:
                index.trust_administrators(connection, row.id, request.trusts_administrators)
                row = replace(row, trusts_administrators=request.trusts_administrators)
        return _shown(actor, row)

    def list_members(self, actor: Actor, request: ListMembers) -> Page[Member]:
        """A page of the members of a workspace that the actor belongs to or that is theirs to administer. `NotFound`."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            row = self._visible(connection, actor, request.name)
            rows, total = index.list_members(connection, row.id, offset=offset_of(request.page, request.size), size=request.size)
        items = [Member(id=each, name=name, role=role, service_account=machine) for each, name, role, machine in rows]
        return Page.of(items, total=total, page=request.page, size=request.size)

    def put_member(self, actor: Actor, request: PutMember) -> Member:
        """Gives somebody a role. Needs the workspace's or the server's administration. `NotFound`, `Forbidden`, `InvalidInput`."""
        role = checked_role(request.role)
        with self._database.write() as connection:
            row = self._managed(connection, actor, request.name)
            user_id, name, machine = self._somebody(connection, request.user)
            if machine and index.find_service_account(connection, row.id, name) is None:
                raise InvalidInput(f"'{name}' is a service account of another workspace", hint="make one here")
            if role is not Role.ADMIN:
                self._refuse_last_admin(connection, row, user_id, name)
            index.put_member(connection, row.id, user_id, role)
        return Member(id=user_id, name=name, role=role, service_account=machine)

    def remove_member(self, actor: Actor, request: RemoveMember) -> None:
        """Takes somebody out. Needs the same. `NotFound`, `Forbidden`, `InvalidInput` for the last administrator."""
        with self._database.write() as connection:
            row = self._managed(connection, actor, request.name)
            user_id, name, machine = self._somebody(connection, request.user)
            if machine:
                raise InvalidInput(f"'{name}' is a service account", hint=f"strongroom service-account delete {name}")
            self._refuse_last_admin(connection, row, user_id, name)
            if not index.remove_member(connection, row.id, user_id):
                raise NotFound(f"'{name}' does not belong to workspace '{row.name}'")

    # Service accounts

    def create_service_account(self, actor: Actor, request: CreateServiceAccount) -> ServiceAccount:
        """Adds a service account to the actor's workspace. `AlreadyExists` when the name is taken, also by a user."""
        name, role = check_user_name(request.name), checked_role(request.role)
        try:
            with self._database.write() as connection:
                index.insert_user(connection, user_id := new_id(), name, admin=False, now=now())
                index.insert_service_account(connection, user_id, actor.workspace_id)
                index.put_member(connection, actor.workspace_id, user_id, role)
                return _account(actor, self._machine(connection, actor, name))
        except ConstraintViolated:
            raise AlreadyExists(f"somebody called '{name}' already exists", hint="choose another name") from None

    def list_service_accounts(self, actor: Actor, request: ListServiceAccounts) -> Page[ServiceAccount]:
        """A page of the service accounts of the actor's workspace, by name."""
        check_page(request.page, request.size)
        with self._database.snapshot() as connection:
            rows, total = index.list_service_accounts(
                connection, actor.workspace_id, offset=offset_of(request.page, request.size), size=request.size
            )
        return Page.of([_account(actor, row) for row in rows], total=total, page=request.page, size=request.size)

    def delete_service_account(self, actor: Actor, request: DeleteServiceAccount) -> None:
        """Ends a service account and its keys, at once. `NotFound`."""
        with self._database.write() as connection:
            row = self._machine(connection, actor, request.name)
            index.delete_service_account(connection, actor.workspace_id, row.id)

    def create_api_key(self, actor: Actor, request: CreateApiKey) -> ApiKey:
        """A key, shown this once. `NotFound`, `AlreadyExists`, `InvalidInput` for a time that is over."""
        name = check_plain_name(request.name, "the API key")
        expires = None
        if request.expires_at is not None:
            if request.expires_at.tzinfo is None or request.expires_at <= datetime.now(UTC):
                raise InvalidInput("an API key expires at a time to come, with its zone", hint="for example 2027-01-31T00:00:00Z")
            expires = to_microseconds(request.expires_at)
        token, token_id, moment = new_token(TokenKind.API_KEY), new_id(), now()
        try:
            with self._database.write() as connection:
                account = self._machine(connection, actor, request.service_account, lock=True)
                index.insert_token(
                    connection,
                    token_id=token_id,
                    digest=digest(token),
                    kind=TokenKind.API_KEY,
                    user_id=account.id,
                    name=name,
                    expires=expires,
                    now=moment,
                )
        except ConstraintViolated:
            raise AlreadyExists(
                f"'{account.name}' already has an API key '{name}'", hint="choose another name, or delete it"
            ) from None
        return _key(account, token_id, name, moment, expires, token)

    def list_api_keys(self, actor: Actor, request: ListApiKeys) -> Page[ApiKey]:
        """The keys of a service account, without what is secret of them. `NotFound`."""
        with self._database.snapshot() as connection:
            account = self._machine(connection, actor, request.service_account)
            rows = index.list_tokens(connection, account.id, TokenKind.API_KEY)
        keys = [_key(account, token_id, name, created, expires) for token_id, name, created, expires in rows]
        return Page.of(keys, total=len(keys), page=1, size=max(1, len(keys)))

    def delete_api_key(self, actor: Actor, request: DeleteApiKey) -> None:
        """Ends a key, at once. `NotFound`."""
        with self._database.write() as connection:
            account = self._machine(connection, actor, request.service_account)
            if not index.delete_named_token(connection, account.id, TokenKind.API_KEY, request.name):
                raise NotFound(f"'{account.name}' has no API key '{printable(request.name)}'")

    @staticmethod
    def _machine(connection: Connection, actor: Actor, name: str, *, lock: bool = False) -> ServiceAccountRow:
        row = index.find_service_account(connection, actor.workspace_id, name, lock=lock)
        if row is None:
            raise NotFound(f"there is no service account '{printable(name)}'", hint="see them with: strongroom service-account list")
        return row

    @staticmethod
    def _visible(connection: Connection, actor: Actor, name: str) -> WorkspaceRow:
        """The workspace, which for those who do not belong to it does not exist."""
        row = index.find_workspace(connection, actor.user_id, name)
        if row is None or (row.role is None and not actor.admin):
            raise NotFound(f"there is no workspace '{printable(name)}'", hint="see them with: strongroom workspace list")
        return row

    def _managed(self, connection: Connection, actor: Actor, name: str) -> WorkspaceRow:
        row = self._visible(connection, actor, name)
        if row.role != Role.ADMIN and not actor.admin:
            raise Forbidden("this needs the administration of the workspace", hint="ask an administrator of the workspace")
        return row

    @staticmethod
    def _somebody(connection: Connection, name: str) -> tuple[str, str, bool]:
        found = index.find_any(connection, name)
        if found is None:
            raise NotFound(f"there is no user '{printable(name)}'", hint="an administrator of the server can add one")
        return found

    @staticmethod
    def _refuse_last_admin(connection: Connection, row: WorkspaceRow, user_id: str, name: str) -> None:
        known = {each: role for each, _, role, _ in index.list_members(connection, row.id, offset=0, size=100_000)[0]}
        if known.get(user_id) == Role.ADMIN and not index.other_admins(connection, row.id, user_id):
            raise InvalidInput(f"'{name}' is the last administrator of workspace '{row.name}'", hint="make another one first")


def checked_role(role: str) -> Role:
    """The role of this name that can be given. `InvalidInput`."""
    try:
        given = Role(role)
    except ValueError:
        given = Role.NONE
    if given is Role.NONE:
        raise InvalidInput("a role is viewer, reader, editor or admin")
    return given


def _shown(actor: Actor, row: WorkspaceRow) -> Workspace:
    return Workspace(
        id=row.id,
        name=row.name,
        created=from_microseconds(row.created),
        active=row.id == actor.workspace_id,
        role=row.role,
        shared_cache=row.shared_cache,
        trusts_administrators=row.trusts_administrators,
    )


def _account(actor: Actor, row: ServiceAccountRow) -> ServiceAccount:
    return ServiceAccount(id=row.id, name=row.name, workspace=actor.workspace, role=row.role, created=from_microseconds(row.created))


def _key(account: ServiceAccountRow, token_id: str, name: str, created: int, expires: int | None, token: str | None = None) -> ApiKey:
    return ApiKey(
        id=token_id,
        name=name,
        service_account=account.name,
        created=from_microseconds(created),
        expires_at=None if expires is None else from_microseconds(expires),
        key=UNSET if token is None else SecretText(token),
    )
