"""The index of identities: users, workspaces, members, service accounts, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import BindParameter, Connection, ScalarSelect, and_, bindparam, case, delete, exists, func, insert, select, update

from strongroom.db.query import Prepared
from strongroom.db.tables import (
    active_workspaces,
    login_failures,
    members,
    passwords,
    service_accounts,
    shared_caches,
    tokens,
    trusted_administrators,
    users,
    workspaces,
)
from strongroom.metadata.conditions import can_be_stored, text_condition
from strongroom.models.filter import TextFilter

DEFAULT = "default"
_MANY = 500


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user; `active` ones have a password. Times in microseconds since 1970."""

    id: str
    name: str
    admin: bool
    created: int
    active: bool


class BearerRow(msgspec.Struct, frozen=True):
    """Whoever bears a token, in the workspace that they work in (None: they belong to none)."""

    token_id: str
    kind: str
    expires: int | None
    user_id: str
    user: str
    admin: bool
    workspace_id: str | None
    workspace: str | None
    role: str | None


_USER = select(users.c.id, users.c.name, users.c.admin, users.c.created, passwords.c.user_id.is_not(None)).outerjoin(
    passwords, passwords.c.user_id == users.c.id
)
_people = users.c.id.not_in(select(service_accounts.c.user_id))


def _user(columns: Sequence[Any]) -> UserRow:
    return UserRow(*columns)


def find_user(connection: Connection, name_or_id: str) -> UserRow | None:
    """The person of exactly this name or id."""
    if not can_be_stored(name_or_id):
        return None
    wanted = (users.c.name == name_or_id) | (users.c.id == name_or_id)
    found = [_user(row) for row in connection.execute(_USER.where(wanted, _people))]
    return next((row for row in found if row.name == name_or_id), found[0] if found else None)


def list_users(connection: Connection, *, name: TextFilter | None, offset: int, size: int) -> tuple[list[UserRow], int]:
    """A page of people by name, and how many there are in all."""
    wanted = [_people] + ([text_condition(users.c.name, name, connection.dialect.name)] if name else [])
    total = connection.execute(select(func.count()).select_from(users).where(*wanted)).scalar_one()
    return [_user(row) for row in connection.execute(_USER.where(*wanted).order_by(users.c.name).offset(offset).limit(size))], total


def insert_user(connection: Connection, user_id: str, name: str, *, admin: bool, now: int) -> None:
    """Adds a user. `ConstraintViolated` when the name is taken, also by a service account."""
    connection.execute(insert(users).values(id=user_id, name=name, admin=admin, created=now))


def set_admin(connection: Connection, user_id: str, admin: bool) -> None:
    """Gives or takes the administration of the server."""
    connection.execute(update(users).where(users.c.id == user_id).values(admin=admin))


def other_active_admins(connection: Connection, user_id: str) -> int:
    """How many people besides this one can log in and administer the server; locks them until the transaction ends."""
    statement = (
        select(users.c.id)
        .join(passwords, passwords.c.user_id == users.c.id)
        .where(users.c.admin.is_(True), users.c.id != user_id)
        .with_for_update()
    )
    return len(connection.execute(statement).all())


def put_password(connection: Connection, user_id: str, hashed: str, now: int) -> None:
    """Gives a user a password, over a former one."""
    connection.execute(delete(passwords).where(passwords.c.user_id == user_id))
    connection.execute(insert(passwords).values(user_id=user_id, hashed=hashed, changed=now))


def delete_password(connection: Connection, user_id: str) -> None:
    """Takes a user's password away."""
    connection.execute(delete(passwords).where(passwords.c.user_id == user_id))


def find_password(connection: Connection, name: str) -> tuple[str, str] | None:
    """The id and the hashed password of the user of this name who can log in."""
    if not can_be_stored(name):
        return None
    row = connection.execute(
        select(users.c.id, passwords.c.hashed).join(passwords, passwords.c.user_id == users.c.id).where(users.c.name == name)
    ).one_or_none()
    return (row[0], row[1]) if row else None


def lock_password(connection: Connection, user_id: str) -> str | None:
    """The hashed password of a user who can log in, kept from being changed until the transaction ends."""
    statement = select(passwords.c.hashed).where(passwords.c.user_id == user_id).with_for_update()
    found: str | None = connection.execute(statement).scalar()
    return found


def has_login(connection: Connection) -> bool:
    """Whether anybody can log in."""
    return connection.execute(select(passwords.c.user_id).limit(1)).first() is not None


# Tokens


def insert_token(
    connection: Connection,
    *,
    token_id: str,
    digest: bytes,
    kind: str,
    user_id: str | None,
    name: str | None,
    expires: int | None,
    now: int,
    issuer_id: str | None = None,
) -> None:
    """Adds a token, which ends with its issuer's. `ConstraintViolated` when the user has one of this kind and name."""
    columns = {"id": token_id, "digest": digest, "kind": kind, "user_id": user_id, "name": name, "created": now, "expires": expires}
    connection.execute(insert(tokens).values(issuer_id=issuer_id, **columns))


def _workspace_named(name: BindParameter[str] | str) -> ScalarSelect[str]:
    other = workspaces.alias()
    return select(other.c.id).where(other.c.name == name).scalar_subquery()


_role = members.c.role
_BEARER = Prepared(
    select(
        tokens.c.id,
        tokens.c.kind,
        tokens.c.expires,
        users.c.id,
        users.c.name,
        users.c.admin,
        workspaces.c.id,
        workspaces.c.name,
        _role,
    )
    .select_from(tokens)
    .join(users, users.c.id == tokens.c.user_id)
    .outerjoin(active_workspaces, active_workspaces.c.user_id == users.c.id)
    .outerjoin(service_accounts, service_accounts.c.user_id == users.c.id)
    .outerjoin(
        workspaces,
        workspaces.c.id
        == case(
            (bindparam("workspace") != "", _workspace_named(bindparam("workspace"))),
            else_=func.coalesce(service_accounts.c.workspace_id, active_workspaces.c.workspace_id, _workspace_named(DEFAULT)),
        ),
    )
    .outerjoin(members, and_(members.c.workspace_id == workspaces.c.id, members.c.user_id == users.c.id))
    .where(tokens.c.digest == bindparam("digest"))
)


def find_bearer(connection: Connection, digest: bytes, workspace: str) -> BearerRow | None:
    """Whoever bears the token of this digest, in the workspace of this name ('' for the one that they have chosen)."""
    if not can_be_stored(workspace):
        return None
    for token_id, kind, expires, user_id, user, admin, *at in _BEARER.all(connection, {"digest": digest, "workspace": workspace}):
        return BearerRow(token_id, kind, expires, user_id, user, bool(admin), *at)
    return None


def is_token(connection: Connection, digest: bytes, kind: str) -> bool:
    """Whether there is a token of this digest and kind."""
    return connection.execute(select(tokens.c.id).where(tokens.c.digest == digest, tokens.c.kind == kind)).first() is not None


def take_token(connection: Connection, digest: bytes, kind: str) -> bool:
    """Ends the one-time token of this digest; whether it was there. Of several who try at once, one gets it."""
    found = connection.execute(delete(tokens).where(tokens.c.digest == digest, tokens.c.kind == kind))
    return bool(found.rowcount)


def delete_token(connection: Connection, token_id: str) -> None:
    """Ends a token."""
    connection.execute(delete(tokens).where(tokens.c.id == token_id))


def delete_tokens(connection: Connection, user_id: str, *, but: str | None = None) -> None:
    """Ends all tokens of a user, but for one."""
    connection.execute(delete(tokens).where(tokens.c.user_id == user_id, tokens.c.id != (but or "")))


def delete_tokens_of_kind(connection: Connection, kind: str) -> None:
    """Ends all tokens of a kind."""
    connection.execute(delete(tokens).where(tokens.c.kind == kind))


def delete_expired(connection: Connection, now: int) -> None:
    """Drops the rows of tokens that have expired."""
    connection.execute(delete(tokens).where(tokens.c.expires <= now))


def end_oldest_tokens(connection: Connection, user_id: str, kind: str, keep: int) -> None:
    """Ends the oldest tokens of a user of one kind, but for so many of the newest."""
    statement = select(tokens.c.id).where(tokens.c.user_id == user_id, tokens.c.kind == kind)
    oldest = (
        connection.execute(statement.order_by(tokens.c.created.desc(), tokens.c.id.desc()).offset(keep).limit(_MANY)).scalars().all()
    )
    if oldest:
        connection.execute(delete(tokens).where(tokens.c.id.in_(oldest)))


def list_tokens(connection: Connection, user_id: str, kind: str) -> list[tuple[str, str, int, int | None]]:
    """The tokens of a user of one kind: id, name, created, expires."""
    statement = select(tokens.c.id, tokens.c.name, tokens.c.created, tokens.c.expires)
    rows = connection.execute(statement.where(tokens.c.user_id == user_id, tokens.c.kind == kind).order_by(tokens.c.name))
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def delete_named_token(connection: Connection, user_id: str, kind: str, name: str) -> bool:
    """Ends the token of this name; whether there was one."""
    if not can_be_stored(name):
        return False
    mine = (tokens.c.user_id == user_id) & (tokens.c.kind == kind) & (tokens.c.name == name)
    return bool(connection.execute(delete(tokens).where(mine)).rowcount)


# Failed logins


def failures_of(connection: Connection, subjects: Sequence[str], since: int) -> dict[str, tuple[int, int]]:
    """How often logins of these subjects have failed in windows that began after `since`, and when those began."""
    rows = connection.execute(
        select(login_failures.c.subject, login_failures.c.failures, login_failures.c.since).where(
            login_failures.c.subject.in_(subjects), login_failures.c.since > since
        )
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def add_failure(connection: Connection, subject: str, *, since: int, now: int) -> None:
    """Counts a failed login; a window that began before `since` is over and a new one begins."""
    connection.execute(delete(login_failures).where(login_failures.c.since <= since))
    counted = connection.execute(
        update(login_failures).where(login_failures.c.subject == subject).values(failures=login_failures.c.failures + 1)
    )
    if not counted.rowcount:
        connection.execute(insert(login_failures).values(subject=subject, since=now, failures=1))


def take_failure_back(connection: Connection, subject: str) -> None:
    """After an attempt that was counted and has succeeded."""
    mine = login_failures.c.subject == subject
    connection.execute(update(login_failures).where(mine).values(failures=login_failures.c.failures - 1))
    connection.execute(delete(login_failures).where(mine, login_failures.c.failures <= 0))


def forget_failures(connection: Connection, subject: str) -> None:
    """After a login that succeeded."""
    connection.execute(delete(login_failures).where(login_failures.c.subject == subject))


# Workspaces and members


@dataclass(frozen=True, slots=True)
class WorkspaceRow:
    """A workspace, and the role there of whoever asks."""

    id: str
    name: str
    created: int
    shared_cache: bool
    trusts_administrators: bool
    role: str | None


_SHARES = exists().where(shared_caches.c.workspace_id == workspaces.c.id)
_TRUSTS = exists().where(trusted_administrators.c.workspace_id == workspaces.c.id)
_WORKSPACE = (workspaces.c.id, workspaces.c.name, workspaces.c.created, _SHARES, _TRUSTS, members.c.role)


def list_workspaces(
    connection: Connection, user_id: str, *, everything: bool, offset: int, size: int
) -> tuple[list[WorkspaceRow], int]:
    """A page of the workspaces that a user belongs to (or all: after their own), by name, and how many there are in all."""
    source = workspaces.outerjoin(members, and_(members.c.workspace_id == workspaces.c.id, members.c.user_id == user_id))
    wanted = [] if everything else [members.c.user_id == user_id]
    total = connection.execute(select(func.count()).select_from(source).where(*wanted)).scalar_one()
    statement = select(*_WORKSPACE).select_from(source).where(*wanted)
    order = (members.c.role.is_(None), workspaces.c.name) if everything else (workspaces.c.name,)
    rows = connection.execute(statement.order_by(*order).offset(offset).limit(size))
    return [_workspace(row) for row in rows], total


def find_workspace(connection: Connection, user_id: str, name: str) -> WorkspaceRow | None:
    """The workspace of exactly this name, with the user's role there if they belong to it."""
    if not can_be_stored(name):
        return None
    source = workspaces.outerjoin(members, and_(members.c.workspace_id == workspaces.c.id, members.c.user_id == user_id))
    statement = select(*_WORKSPACE).select_from(source)
    row = connection.execute(statement.where(workspaces.c.name == name)).one_or_none()
    return _workspace(row) if row else None


def _workspace(columns: Sequence[Any]) -> WorkspaceRow:
    workspace_id, name, created, shared_cache, trusts, role = columns
    return WorkspaceRow(workspace_id, name, created, bool(shared_cache), bool(trusts), role)


def insert_workspace(connection: Connection, workspace_id: str, name: str, now: int) -> None:
    """Adds a workspace. `ConstraintViolated` when the name is taken."""
    connection.execute(insert(workspaces).values(id=workspace_id, name=name, created=now))


def share_cache(connection: Connection, workspace_id: str, shared: bool) -> None:
    """Says whether members of a workspace take over results from the cache of each other's runs."""
    connection.execute(select(workspaces.c.id).where(workspaces.c.id == workspace_id).with_for_update())
    connection.execute(delete(shared_caches).where(shared_caches.c.workspace_id == workspace_id))
    if shared:
        connection.execute(insert(shared_caches).values(workspace_id=workspace_id))


def trust_administrators(connection: Connection, workspace_id: str, trusted: bool) -> None:
    """Says whether members of a workspace use what its administrators wrote without approving it."""
    connection.execute(select(workspaces.c.id).where(workspaces.c.id == workspace_id).with_for_update())
    connection.execute(delete(trusted_administrators).where(trusted_administrators.c.workspace_id == workspace_id))
    if trusted:
        connection.execute(insert(trusted_administrators).values(workspace_id=workspace_id))


def activate_workspace(connection: Connection, user_id: str, workspace_id: str) -> None:
    """Makes a workspace the user's active one."""
    connection.execute(delete(active_workspaces).where(active_workspaces.c.user_id == user_id))
    connection.execute(insert(active_workspaces).values(user_id=user_id, workspace_id=workspace_id))


def list_members(
    connection: Connection, workspace_id: str, *, offset: int, size: int
) -> tuple[list[tuple[str, str, str, bool]], int]:
    """A page of members by name: id, name, role, whether it is a service account; and how many there are in all."""
    source = members.join(users, users.c.id == members.c.user_id).outerjoin(
        service_accounts, service_accounts.c.user_id == users.c.id
    )
    total = connection.execute(select(func.count()).select_from(members).where(members.c.workspace_id == workspace_id)).scalar_one()
    statement = select(users.c.id, users.c.name, members.c.role, service_accounts.c.user_id.is_not(None)).select_from(source)
    rows = connection.execute(
        statement.where(members.c.workspace_id == workspace_id).order_by(users.c.name).offset(offset).limit(size)
    )
    return [(row[0], row[1], row[2], bool(row[3])) for row in rows], total


def find_any(connection: Connection, name: str) -> tuple[str, str, bool] | None:
    """Id, name, and whether it is a service account, of whoever has this name."""
    if not can_be_stored(name):
        return None
    statement = select(users.c.id, users.c.name, service_accounts.c.user_id.is_not(None)).outerjoin(
        service_accounts, service_accounts.c.user_id == users.c.id
    )
    row = connection.execute(statement.where(users.c.name == name)).one_or_none()
    return (row[0], row[1], bool(row[2])) if row else None


def put_member(connection: Connection, workspace_id: str, user_id: str, role: str) -> None:
    """Gives somebody a role in a workspace, over a former one."""
    connection.execute(delete(members).where(members.c.workspace_id == workspace_id, members.c.user_id == user_id))
    connection.execute(insert(members).values(workspace_id=workspace_id, user_id=user_id, role=role))


def remove_member(connection: Connection, workspace_id: str, user_id: str) -> bool:
    """Takes somebody out of a workspace; whether they were in it."""
    mine = (active_workspaces.c.workspace_id == workspace_id) & (active_workspaces.c.user_id == user_id)
    connection.execute(delete(active_workspaces).where(mine))
    found = connection.execute(delete(members).where(members.c.workspace_id == workspace_id, members.c.user_id == user_id))
    return bool(found.rowcount)


def other_admins(connection: Connection, workspace_id: str, user_id: str) -> int:
    """How many other administrators a workspace has; locks them until the transaction ends."""
    statement = select(members.c.user_id).where(
        members.c.workspace_id == workspace_id, members.c.role == "admin", members.c.user_id != user_id
    )
    return len(connection.execute(statement.with_for_update()).all())


# Service accounts


@dataclass(frozen=True, slots=True)
class ServiceAccountRow:
    """A service account of a workspace."""

    id: str
    name: str
    role: str
    created: int


_ACCOUNT = (
    select(users.c.id, users.c.name, members.c.role, users.c.created)
    .select_from(service_accounts)
    .join(users, users.c.id == service_accounts.c.user_id)
    .join(members, and_(members.c.user_id == users.c.id, members.c.workspace_id == service_accounts.c.workspace_id))
)


def _account(columns: Sequence[Any]) -> ServiceAccountRow:
    return ServiceAccountRow(*columns)


def insert_service_account(connection: Connection, user_id: str, workspace_id: str) -> None:
    """Makes a user a service account of a workspace."""
    connection.execute(insert(service_accounts).values(user_id=user_id, workspace_id=workspace_id, deleted=False))


def list_service_accounts(
    connection: Connection, workspace_id: str, *, offset: int, size: int
) -> tuple[list[ServiceAccountRow], int]:
    """A page of the service accounts of a workspace, by name, and how many there are in all."""
    wanted = (service_accounts.c.workspace_id == workspace_id) & service_accounts.c.deleted.is_(False)
    total = connection.execute(select(func.count()).select_from(service_accounts).where(wanted)).scalar_one()
    rows = connection.execute(_ACCOUNT.where(wanted).order_by(users.c.name).offset(offset).limit(size))
    return [_account(row) for row in rows], total


def find_service_account(connection: Connection, workspace_id: str, name: str, *, lock: bool = False) -> ServiceAccountRow | None:
    """The service account of this name in the workspace; with `lock` it cannot be deleted until the transaction ends."""
    if not can_be_stored(name):
        return None
    wanted = (service_accounts.c.workspace_id == workspace_id) & service_accounts.c.deleted.is_(False) & (users.c.name == name)
    statement = _ACCOUNT.where(wanted)
    row = connection.execute(statement.with_for_update(of=service_accounts) if lock else statement).one_or_none()
    return _account(row) if row else None


def delete_service_account(connection: Connection, workspace_id: str, user_id: str) -> None:
    """Ends a service account: its tokens, its membership. The user's row stays, since others refer to it."""
    # First the row that who makes a key locks, so that no key is made after its account has ended.
    connection.execute(update(service_accounts).where(service_accounts.c.user_id == user_id).values(deleted=True))
    delete_tokens(connection, user_id)
    connection.execute(delete(members).where(members.c.user_id == user_id))
