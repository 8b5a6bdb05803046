"""Who is asking: tokens, logins, passwords, users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from strongroom.auth.actor import Actor
from strongroom.auth.passwords import fits, hash_password, is_outdated
from strongroom.auth.policy import Role
from strongroom.auth.run_access import RunAccess
from strongroom.auth.tokens import TokenKind, digest, new_token
from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    NothingToChange,
    Unauthenticated,
    printable,
)
from strongroom.metadata import identity as index
from strongroom.metadata.identity import BearerRow, UserRow
from strongroom.metadata.run_token import find_run_token
from strongroom.models.filter import from_microseconds, parse_text_filter
from strongroom.models.page import Page, check_page, offset_of
from strongroom.models.user import (
    AccessToken,
    ChangePassword,
    CreateUser,
    DeactivateUser,
    GetUser,
    Identity,
    ListUsers,
    Login,
    Logout,
    SetUp,
    UpdateUser,
    User,
    WhoAmI,
    check_password,
    check_user_name,
)
from strongroom.redaction import SecretText
from strongroom.service.throttle import Throttle

if TYPE_CHECKING:
    from sqlalchemy import Connection

SESSION_SECONDS = 12 * 3600
"""How long a login lasts."""

MAX_SESSIONS = 100
"""Sessions of one user; the next login ends the oldest."""

SETUP_SECONDS = 24 * 3600
_SECOND = 1_000_000


class IdentityService:
    """Proves identities. Thread-safe; a token that ends is dead at once for every process, since each request asks the database."""

    def __init__(self, database: Database) -> None:
        self._database, self._throttle = database, Throttle(database)

    def authenticate(self, token: str, workspace: str = "", address: str = "") -> Actor:
        """Whoever bears the token, at work in the workspace of this name, or in the one that they have chosen. One query.

        `address` is where they call from, for the audit trail.

        `Unauthenticated` for a token that is unknown, has ended or expired. Whoever does not belong to that workspace, or names one
        that does not exist, has no role there. The bearer of a run token works in the workspace of its run; that takes another query.
        """
        proof = digest(token)
        actor, expires = self._database.recall(
            ("bearer", proof, workspace, address), lambda connection: _bearer(connection, proof, workspace, address)
        )
        if actor is None or (expires is not None and expires <= now()):
            raise Unauthenticated("this token is not valid, or not any more", hint="log in again: strongroom login URL")
        return actor

    def log_in(self, actor: Actor, request: Login) -> AccessToken:
        """A token for whoever knows the password. `Unauthenticated` reads the same for wrong names and wrong passwords.

        `TooManyRequests` after too many failures; then the password is not even looked at. See `Throttle`.
        """
        self._throttle.begin_login(request.username, actor.address)
        with self._database.read() as connection:
            found = index.find_password(connection, request.username)
        password = request.password.reveal()
        if not fits(found[1] if found else None, password) or found is None:
            error = Unauthenticated("the user name or the password is wrong")
            error.user_id = "" if found is None else found[0]
            raise error
        user_id, hashed = found
        self._throttle.login_succeeded(request.username, actor.address)
        with self._database.write() as connection:
            index.delete_expired(connection, now())
            if index.lock_password(connection, user_id) != hashed:  # it was changed or taken away while it was compared
                raise Unauthenticated("the user name or the password is wrong")
            if is_outdated(hashed):
                index.put_password(connection, user_id, hash_password(password), now())
            return _open_session(connection, user_id)

    def log_out(self, actor: Actor, request: Logout) -> None:
        """Ends the token that the request came with."""
        if actor.token_id is not None:
            with self._database.write() as connection:
                index.delete_token(connection, actor.token_id)

    def who_am_i(self, actor: Actor, request: WhoAmI) -> Identity:
        """Who the actor is."""
        return Identity(id=actor.user_id, name=actor.name, admin=actor.admin, workspace=actor.workspace, role=actor.role)

    def change_password(self, actor: Actor, request: ChangePassword) -> None:
        """Gives the actor another password and ends all their other tokens. `Unauthenticated` when the current one is wrong."""
        new = check_password(request.new)
        self._throttle.begin_change(actor.user_id)
        with self._database.read() as connection:
            found = index.find_password(connection, actor.name)
        if found is None or not fits(found[1], request.current.reveal()):
            raise Unauthenticated("the current password is wrong")
        hashed = hash_password(new)
        with self._database.write() as connection:
            if index.lock_password(connection, actor.user_id) != found[1]:  # it was changed or taken away meanwhile
                raise Unauthenticated("the current password is wrong")
            index.put_password(connection, actor.user_id, hashed, now())
            index.delete_tokens(connection, actor.user_id, but=actor.token_id)
            self._throttle.change_succeeded(actor.user_id)

    # First start

    def needs_set_up(self) -> bool:
        """Whether nobody can log in yet."""
        with self._database.read() as connection:
            return not index.has_login(connection)

    def make_setup_token(self) -> SecretText:
        """The one-time token that makes the first administrator. Former ones end."""
        token = new_token(TokenKind.SETUP)
        with self._database.write() as connection:
            index.delete_tokens_of_kind(connection, TokenKind.SETUP)
            index.insert_token(
                connection,
                token_id=new_id(),
                digest=digest(token),
                kind=TokenKind.SETUP,
                user_id=None,
                name=None,
                expires=now() + SETUP_SECONDS * _SECOND,
                now=now(),
            )
        return SecretText(token)

    def set_up(self, actor: Actor, request: SetUp) -> AccessToken:
        """Makes the first administrator and logs them in. `Unauthenticated` for a token that is wrong, used or expired."""
        name, password = check_user_name(request.username), check_password(request.password)
        token, refused = digest(request.token.reveal()), "this set-up token is not valid, or not any more"
        with self._database.read() as connection:
            if not index.is_token(connection, token, TokenKind.SETUP):  # before a stranger makes the server hash
                raise Unauthenticated(refused, hint="start the server again for a new one")
        hashed = hash_password(password)
        with self._database.write() as connection:
            index.delete_expired(connection, now())
            if not index.take_token(connection, token, TokenKind.SETUP):
                raise Unauthenticated(refused, hint="start the server again for a new one")
            user_id = self._add_first_admin(connection, name, hashed)
            return _open_session(connection, user_id)

    def ensure_admin(self, name: str, password: SecretText) -> bool:
        """Makes the administrator that the settings name, when nobody can log in yet; whether it did."""
        check_user_name(name)
        hashed = hash_password(check_password(password))
        with self._database.write() as connection:
            if index.has_login(connection):
                return False
            self._add_first_admin(connection, name, hashed)
            index.delete_tokens_of_kind(connection, TokenKind.SETUP)
        return True

    @staticmethod
    def _add_first_admin(connection: Connection, name: str, hashed: str) -> str:
        """The user of this name, made if need be, as administrator of the server and of the default workspace."""
        known = index.find_user(connection, name)
        user_id = new_id() if known is None else known.id
        if known is None:
            index.insert_user(connection, user_id, name, admin=True, now=now())
        else:
            index.set_admin(connection, user_id, True)
        index.put_password(connection, user_id, hashed, now())
        workspace = index.find_workspace(connection, user_id, index.DEFAULT)
        if workspace is not None:
            index.put_member(connection, workspace.id, user_id, Role.ADMIN)
        return user_id

    # Users

    def create_user(self, actor: Actor, request: CreateUser) -> User:
        """Adds a user, who belongs to no workspace yet. `AlreadyExists`, `InvalidInput`."""
        name, hashed = check_user_name(request.name), hash_password(check_password(request.password))
        try:
            with self._database.write() as connection:
                index.insert_user(connection, user_id := new_id(), name, admin=request.admin, now=now())
                index.put_password(connection, user_id, hashed, now())
                return _shown(_known(connection, user_id))
        except ConstraintViolated:
            raise AlreadyExists(f"a user '{name}' already exists", hint=f"change it with: strongroom user update {name}") from None

    def get_user(self, actor: Actor, request: GetUser) -> User:
        """The user of this exact name or id. `NotFound`."""
        with self._database.read() as connection:
            return _shown(_known(connection, request.name))

    def list_users(self, actor: Actor, request: ListUsers) -> Page[User]:
        """A page of users, by name."""
        check_page(request.page, request.size)
        name = None if request.name is None else parse_text_filter(request.name)
        with self._database.snapshot() as connection:
            rows, total = index.list_users(connection, name=name, offset=offset_of(request.page, request.size), size=request.size)
        return Page.of([_shown(row) for row in rows], total=total, page=request.page, size=request.size)

    def update_user(self, actor: Actor, request: UpdateUser) -> User:
        """Another password, or another say over the server; the user's tokens end. `NotFound`, `NothingToChange`, `InvalidInput`."""
        if request.password is UNSET and request.admin is UNSET:
            raise NothingToChange("there is nothing to change", hint="give a password, --admin or --no-admin")
        hashed = None if request.password is UNSET else hash_password(check_password(request.password))
        with self._database.write() as connection:
            known = _known(connection, request.id)
            if request.admin is False and known.admin:
                self._refuse_last_admin(connection, known)
            if request.admin is not UNSET:
                index.set_admin(connection, known.id, request.admin)
            if hashed is not None:
                index.put_password(connection, known.id, hashed, now())
            index.delete_tokens(connection, known.id, but=actor.token_id)
            return _shown(_known(connection, known.id))

    def deactivate_user(self, actor: Actor, request: DeactivateUser) -> None:
        """Takes the password and all tokens away. `NotFound`; `InvalidInput` for the last administrator."""
        with self._database.write() as connection:
            known = _known(connection, request.id)
            if known.admin:
                self._refuse_last_admin(connection, known)
            index.delete_password(connection, known.id)
            index.delete_tokens(connection, known.id)

    @staticmethod
    def _refuse_last_admin(connection: Connection, known: UserRow) -> None:
        if known.active and not index.other_active_admins(connection, known.id):
            raise InvalidInput(f"'{known.name}' is the last administrator of this server", hint="make another one first")


def _bearer(connection: Connection, proof: bytes, workspace: str, address: str) -> tuple[Actor | None, int | None]:
    """Whoever bears the token of this digest, and when it expires."""
    row = index.find_bearer(connection, proof, workspace)
    if row is None or row.kind == TokenKind.SETUP:
        return None, None
    if row.kind == TokenKind.RUN:
        return _in_run(connection, row, workspace, address), row.expires
    if row.role is None or row.workspace_id is None or row.workspace is None:
        place, role = ("", workspace or index.DEFAULT), Role.NONE
    else:
        place, role = (row.workspace_id, row.workspace), Role(row.role)
    return Actor(row.user_id, row.user, *place, role, row.admin, row.token_id, address), row.expires


def _in_run(connection: Connection, row: BearerRow, workspace: str, address: str) -> Actor | None:
    """The run's owner with the role that they have now, confined to what the run was granted."""
    found = find_run_token(connection, row.token_id)
    if found is None:
        return None
    access = RunAccess(found.run_id, found.run, found.stack, found.grants)
    if found.role is None or workspace not in ("", found.workspace):
        place, role = ("", workspace or found.workspace), Role.NONE
    else:
        place, role = (found.workspace_id, found.workspace), Role(found.role)
    return Actor(row.user_id, row.user, *place, role, token_id=row.token_id, address=address, run=access)


def _open_session(connection: Connection, user_id: str) -> AccessToken:
    """A new session of the user, whose row is locked; the oldest one ends where there would be too many."""
    index.end_oldest_tokens(connection, user_id, TokenKind.SESSION, MAX_SESSIONS - 1)
    token = new_token(TokenKind.SESSION)
    index.insert_token(
        connection,
        token_id=new_id(),
        digest=digest(token),
        kind=TokenKind.SESSION,
        user_id=user_id,
        name=None,
        expires=now() + SESSION_SECONDS * _SECOND,
        now=now(),
    )
    return AccessToken(access_token=SecretText(token), token_type="bearer", expires_in=SESSION_SECONDS)  # noqa: S106


def _known(connection: Connection, name_or_id: str) -> UserRow:
    row = index.find_user(connection, name_or_id)
    if row is None:
        raise NotFound(f"there is no user '{printable(name_or_id)}'", hint="see them with: strongroom user list")
    return row


def _shown(row: UserRow) -> User:
    return User(id=row.id, name=row.name, admin=row.admin, active=row.active, created=from_microseconds(row.created))
