"""Users, logins and tokens, on every database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from msgspec import UNSET
from sqlalchemy import select, update

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.db.tables import passwords, tokens
from strongroom.errors import (
    AlreadyExists,
    Forbidden,
    InvalidInput,
    NotFound,
    NothingToChange,
    StrongroomError,
    Unauthenticated,
)
from strongroom.models.secret import ListSecrets
from strongroom.models.user import (
    ChangePassword,
    CreateUser,
    DeactivateUser,
    GetUser,
    ListUsers,
    Logout,
    SetUp,
    UpdateUser,
    WhoAmI,
)
from strongroom.operations import secret as of_secret
from strongroom.operations import user as operations
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.accounts import OTHER, PASSWORD, add_user, call, log_in

pytestmark = pytest.mark.usefixtures("quick_passwords")


def test_a_new_deployment_lets_nobody_in(service: Service) -> None:
    """There is no default password: the user of the embedded store cannot log in with any."""
    assert service.identities.needs_set_up()
    for password in ("", "default", "admin", "password"):
        with pytest.raises(Unauthenticated):
            log_in(service, "default", password)


def test_the_set_up_token_makes_one_administrator_once(service: Service) -> None:
    """It makes an administrator of the server and of the default workspace, and is dead afterwards, whoever raced for it."""
    token = service.identities.make_setup_token()

    def set_up(number: int) -> str | StrongroomError:
        try:
            request = SetUp(token=token, username=f"root{number}", password=SecretText(PASSWORD))
            return str(call(service, operations.SET_UP, request).access_token.reveal())
        except StrongroomError as error:
            return error

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(set_up, range(4)))
    won = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert len(won) == 1
    actor = service.identities.authenticate(won[0])
    assert (actor.admin, actor.role, actor.workspace) == (True, Role.ADMIN, "default")
    assert not service.identities.needs_set_up()
    assert not service.identities.ensure_admin("mallory", SecretText(PASSWORD))


def test_a_newer_set_up_token_ends_the_former(service: Service) -> None:
    """A server that is started again prints a token of its own; the one in the old log is dead, and so is a wrong one."""
    former = service.identities.make_setup_token()
    service.identities.make_setup_token()
    for token in (former, SecretText("sru_wrong")):
        with pytest.raises(Unauthenticated):
            call(service, operations.SET_UP, SetUp(token=token, username="root", password=SecretText(PASSWORD)))
    with pytest.raises(Unauthenticated):  # it is no login either
        service.identities.authenticate(former.reveal())


def test_the_settings_make_the_first_administrator(service: Service) -> None:
    """User name and password of the settings work when nobody can log in yet, also for a name that is there already."""
    assert service.identities.ensure_admin("default", SecretText(PASSWORD))
    assert service.identities.authenticate(log_in(service, "default")).admin
    assert not service.identities.ensure_admin("default", SecretText(OTHER))
    with pytest.raises(Unauthenticated):
        log_in(service, "default", OTHER)


def test_wrong_names_and_wrong_passwords_read_alike(service: Service, root: Actor) -> None:
    """Nobody learns from the answer who can log in."""
    said = set()
    for name, password in (("root", OTHER), ("nobody", OTHER), ("", ""), ("ro\0ot", PASSWORD), ("ROOT", PASSWORD), ("é" * 300, "x")):
        with pytest.raises(Unauthenticated) as caught:
            log_in(service, name, password)
        said.add((caught.value.message, caught.value.hint))
    assert len(said) == 1


def test_a_login_is_a_token_that_ends_at_logout(service: Service, root: Actor) -> None:
    """A token works until it is given back; another login of the same user goes on."""
    one, two = log_in(service, "root"), log_in(service, "root")
    assert one != two
    actor = service.identities.authenticate(one)
    assert call(service, operations.WHO_AM_I, WhoAmI(), actor).name == "root"
    call(service, operations.LOGOUT, Logout(), actor)
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(one)
    assert service.identities.authenticate(two).name == "root"


def test_a_token_is_nowhere_in_the_database(service: Service, root: Actor) -> None:
    """Whoever reads the database has no token, and no password."""
    token = log_in(service, "root")
    with service.deployment.database.read() as connection:
        rows = connection.execute(select(tokens)).all() + connection.execute(select(passwords)).all()
    assert not any(token.encode() in bytes(field) for row in rows for field in row if isinstance(field, bytes))
    assert not any(part in str(row) for row in rows for part in (token, PASSWORD))


def test_a_token_expires(service: Service, root: Actor) -> None:
    """After its time a token is refused, and it is cleared away at the next login."""
    token = log_in(service, "root")
    with service.deployment.database.write() as connection:
        connection.execute(update(tokens).values(expires=1))
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(token)
    log_in(service, "root")
    with service.deployment.database.read() as connection:
        assert len(connection.execute(select(tokens.c.id)).all()) == 1


@pytest.mark.parametrize("token", ["", "srs_", "x" * 10_000, "é\ud800", "srs_\0"])
def test_garbage_is_no_token(service: Service, token: str) -> None:
    """Whatever comes as a token is looked up and not found."""
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(token)


def test_a_changed_password_ends_other_logins(service: Service, root: Actor) -> None:
    """Whoever changes their password stays logged in here and nowhere else; the old password is dead."""
    elsewhere = log_in(service, "root")
    with pytest.raises(Unauthenticated):
        call(service, operations.CHANGE_PASSWORD, ChangePassword(current=SecretText(OTHER), new=SecretText(OTHER)), root)
    call(service, operations.CHANGE_PASSWORD, ChangePassword(current=SecretText(PASSWORD), new=SecretText(OTHER)), root)
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(elsewhere)
    with pytest.raises(Unauthenticated):
        log_in(service, "root")
    assert log_in(service, "root", OTHER)


@pytest.mark.parametrize("length", [0, 7, 1025])
def test_passwords_have_a_length(service: Service, root: Actor, length: int) -> None:
    """Too short and too long ones are refused, and nobody is added."""
    with pytest.raises(InvalidInput):
        call(service, operations.CREATE, CreateUser(name="x", password=SecretText("p" * length)), root)
    with pytest.raises(NotFound):
        call(service, operations.GET, GetUser(name="x"), root)


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 256, "{{a.b}}", "a\n"])
def test_bad_names_of_users_are_refused(service: Service, root: Actor, name: str) -> None:
    """A name is letters, digits and a few signs."""
    with pytest.raises(InvalidInput):
        call(service, operations.CREATE, CreateUser(name=name, password=SecretText(PASSWORD)), root)


def test_one_name_one_user(service: Service, root: Actor) -> None:
    """Of several who add a user of one name at once, one succeeds."""

    def create(_: int) -> bool:
        try:
            call(service, operations.CREATE, CreateUser(name="alice", password=SecretText(PASSWORD)), root)
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(create, range(4))) == [False, False, False, True]


def test_users_are_listed_and_found(service: Service, root: Actor) -> None:
    """By name and by id, with who is an administrator and who can log in; nothing of a password."""
    add_user(service, root, "alice")
    page = call(service, operations.LIST, ListUsers(name="startswith:a"), root)
    assert [(user.name, user.admin, user.active) for user in page] == [("alice", False, True)]
    assert call(service, operations.GET, GetUser(name=page.items[0].id), root) == page.items[0]
    names = [user.name for user in call(service, operations.LIST, ListUsers(), root)]
    assert names == ["alice", "default", "root"]


def test_a_deactivated_user_is_out_at_once(service: Service, root: Actor) -> None:
    """Tokens and password end; a new password lets the user in again."""
    token = log_in(service, add_user(service, root, "alice").name)
    alice = call(service, operations.GET, GetUser(name="alice"), root)
    call(service, operations.DEACTIVATE, DeactivateUser(id=alice.id), root)
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(token)
    with pytest.raises(Unauthenticated):
        log_in(service, "alice")
    assert not call(service, operations.GET, GetUser(name="alice"), root).active
    call(service, operations.UPDATE, UpdateUser(id=alice.id, password=SecretText(OTHER)), root)
    assert log_in(service, "alice", OTHER)


def test_the_last_administrator_stays(service: Service, root: Actor) -> None:
    """Neither by deactivation nor by update does a server lose its last administrator; with another one it may go."""
    for operation, request in (
        (operations.DEACTIVATE, DeactivateUser(id=root.user_id)),
        (operations.UPDATE, UpdateUser(id=root.user_id, admin=False)),
    ):
        with pytest.raises(InvalidInput, match="last administrator"):
            call(service, operation, request, root)
    second = add_user(service, root, "second", admin=True)
    call(service, operations.UPDATE, UpdateUser(id=root.user_id, admin=False), root)
    assert not call(service, operations.GET, GetUser(name="root"), second).admin


def test_an_update_says_something(service: Service, root: Actor) -> None:
    """An update without a change is refused."""
    with pytest.raises(NothingToChange):
        call(service, operations.UPDATE, UpdateUser(id=root.user_id, password=UNSET), root)


@pytest.mark.parametrize(
    ("operation", "request_of"),
    [
        (operations.CREATE, lambda: CreateUser(name="x", password=SecretText(PASSWORD))),
        (operations.LIST, ListUsers),
        (operations.GET, lambda: GetUser(name="root")),
        (operations.UPDATE, lambda: UpdateUser(id="x", admin=True)),
        (operations.DEACTIVATE, lambda: DeactivateUser(id="x")),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_users_are_for_administrators_of_the_server(
    service: Service, root: Actor, operation: Any, request_of: Callable[[], Any]
) -> None:
    """An administrator of a workspace is none of the server."""
    alice = add_user(service, root, "alice", "admin")
    assert alice.role is Role.ADMIN
    with pytest.raises(Forbidden):
        call(service, operation, request_of(), alice)


def test_whoever_belongs_to_no_workspace_sees_nothing(service: Service, root: Actor) -> None:
    """A user without a workspace can say who they are, and nothing else."""
    alice = add_user(service, root, "alice")
    assert call(service, operations.WHO_AM_I, WhoAmI(), alice).role == "none"
    with pytest.raises(Forbidden):
        call(service, of_secret.LIST, ListSecrets(), alice)
