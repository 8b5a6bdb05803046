"""Workspaces, members, service accounts and API keys, on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.db.tables import tokens
from strongroom.errors import AlreadyExists, Forbidden, InvalidInput, NotFound, Unauthenticated
from strongroom.models.secret import CreateSecret, GetSecretByName, ListSecrets, Scope
from strongroom.models.service_account import (
    CreateApiKey,
    CreateServiceAccount,
    DeleteApiKey,
    DeleteServiceAccount,
    ListApiKeys,
    ListServiceAccounts,
)
from strongroom.models.stack import GetStack
from strongroom.models.user import CreateUser
from strongroom.models.workspace import (
    ActivateWorkspace,
    CreateWorkspace,
    ListMembers,
    ListWorkspaces,
    PutMember,
    RemoveMember,
)
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as accounts
from strongroom.operations import stack as of_stack
from strongroom.operations import workspace as operations
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.accounts import PASSWORD, add_user, call, log_in
from tests.canary import CANARY


def secret(name: str = "s") -> CreateSecret:
    return CreateSecret(name=name, values={"k": SecretText(f"{CANARY}-value")})


def members(service: Service, actor: Actor, workspace: str = "default") -> dict[str, str]:
    return {member.name: member.role for member in call(service, operations.LIST_MEMBERS, ListMembers(name=workspace), actor)}


def test_the_order_of_workspaces(service: Service, root: Actor) -> None:
    """One's own come first, and then, for administrators of the server, all others; each of the two by name."""
    boss = add_user(service, root, "boss", admin=True)
    for name in ("b", "a", "z"):
        call(service, operations.CREATE, CreateWorkspace(name=name), boss if name == "z" else root)
    call(service, operations.PUT_MEMBER, PutMember(name="b", user="boss", role="viewer"), root)

    def listed(actor: Actor) -> list[str]:
        return [each.name for each in call(service, operations.LIST, ListWorkspaces(), actor)]

    assert listed(boss) == ["b", "z", "a", "default"]
    assert listed(root) == ["a", "b", "default", "z"]
    first, last = (call(service, operations.LIST, ListWorkspaces(page=page, size=2), boss) for page in (1, 2))
    assert [each.name for each in (*first, *last)] == listed(boss)


def test_a_new_workspace_is_ready_to_use(service: Service, root: Actor) -> None:
    """Whoever makes it administers it; it has a default stack, no secrets of others, and a name of its own."""
    made = call(service, operations.CREATE, CreateWorkspace(name="vision"), root)
    assert (made.name, made.role, made.active) == ("vision", "admin", False)
    call(service, of_secret.CREATE, secret(), root)
    there = service.identities.authenticate(log_in(service, "root"), "vision")
    assert call(service, of_secret.LIST, ListSecrets(), there).total == 0
    assert call(service, of_stack.GET, GetStack(), there).workspace == "vision"
    with pytest.raises(AlreadyExists):
        call(service, operations.CREATE, CreateWorkspace(name="vision"), root)


def test_only_administrators_of_the_server_make_workspaces(service: Service, root: Actor) -> None:
    """An administrator of a workspace may not."""
    alice = add_user(service, root, "alice", "admin")
    with pytest.raises(Forbidden):
        call(service, operations.CREATE, CreateWorkspace(name="vision"), alice)


def test_a_chosen_workspace_stays_chosen(service: Service, root: Actor) -> None:
    """Tokens work in the workspace that their user has chosen, wherever they were logged in; a request may name another."""
    call(service, operations.CREATE, CreateWorkspace(name="vision"), root)
    token = log_in(service, "root")
    assert call(service, operations.ACTIVATE, ActivateWorkspace(name="vision"), root).active
    assert service.identities.authenticate(token).workspace == "vision"
    assert service.identities.authenticate(token, "default").workspace == "default"
    page = call(service, operations.LIST, ListWorkspaces(), service.identities.authenticate(token))
    assert [(item.name, item.active, item.role) for item in page] == [("default", False, "admin"), ("vision", True, "admin")]


def test_a_workspace_of_others_does_not_exist(service: Service, root: Actor) -> None:
    """Whoever does not belong to a workspace cannot tell it from one that is not there."""
    call(service, operations.CREATE, CreateWorkspace(name="vision"), root)
    alice = add_user(service, root, "alice", "editor")
    said = set()
    for name in ("vision", "absent"):
        for operation, request in (
            (operations.ACTIVATE, ActivateWorkspace(name=name)),
            (operations.LIST_MEMBERS, ListMembers(name=name)),
            (operations.PUT_MEMBER, PutMember(name=name, user="alice", role="admin")),
            (operations.REMOVE_MEMBER, RemoveMember(name=name, user="root")),
        ):
            with pytest.raises(NotFound) as caught:
                call(service, operation, request, alice)
            said.add(caught.value.message.replace(name, "?"))
    assert len(said) == 1
    assert [item.name for item in call(service, operations.LIST, ListWorkspaces(), alice)] == ["default"]
    token = log_in(service, "alice")
    for name in ("vision", "absent"):
        there = service.identities.authenticate(token, name)
        assert (there.role, there.workspace_id) == (Role.NONE, "")
        with pytest.raises(Forbidden):
            call(service, of_secret.LIST, ListSecrets(), there)


def test_members_get_and_change_roles(service: Service, root: Actor) -> None:
    """A role holds from the next request on, and is gone with the membership."""
    alice = add_user(service, root, "alice", "viewer")
    token = log_in(service, "alice")
    with pytest.raises(Forbidden):
        call(service, of_secret.CREATE, secret(), alice)
    call(service, operations.PUT_MEMBER, PutMember(name="default", user="alice", role="editor"), root)
    call(service, of_secret.CREATE, secret(), service.identities.authenticate(token))
    assert members(service, root)["alice"] == "editor"
    call(service, operations.REMOVE_MEMBER, RemoveMember(name="default", user="alice"), root)
    assert service.identities.authenticate(token).role is Role.NONE
    with pytest.raises(NotFound):
        call(service, operations.REMOVE_MEMBER, RemoveMember(name="default", user="alice"), root)


@pytest.mark.parametrize("role", ["", "none", "owner", "Admin"])
def test_only_four_roles_are_given(service: Service, root: Actor, role: str) -> None:
    """Anything else is refused, and changes nothing."""
    add_user(service, root, "alice")
    with pytest.raises(InvalidInput):
        call(service, operations.PUT_MEMBER, PutMember(name="default", user="alice", role=role), root)
    with pytest.raises(InvalidInput):
        call(service, accounts.CREATE, CreateServiceAccount(name="ci", role=role), root)
    assert "alice" not in members(service, root)


def test_members_are_for_administrators_of_the_workspace(service: Service, root: Actor) -> None:
    """An editor sees the members and changes none; an administrator of the workspace does."""
    editor = add_user(service, root, "editor", "editor")
    chief = add_user(service, root, "chief", "admin")
    assert members(service, editor)["chief"] == "admin"
    for request, operation in (
        (PutMember(name="default", user="editor", role="admin"), operations.PUT_MEMBER),
        (RemoveMember(name="default", user="chief"), operations.REMOVE_MEMBER),
    ):
        with pytest.raises(Forbidden):
            call(service, operation, request, editor)
    call(service, operations.PUT_MEMBER, PutMember(name="default", user="editor", role="reader"), chief)
    assert members(service, root)["editor"] == "reader"


def test_a_workspace_keeps_an_administrator(service: Service, root: Actor) -> None:
    """The last one is neither removed nor given another role."""
    call(service, operations.CREATE, CreateWorkspace(name="vision"), root)
    for operation, request in (
        (operations.REMOVE_MEMBER, RemoveMember(name="vision", user="root")),
        (operations.PUT_MEMBER, PutMember(name="vision", user="root", role="viewer")),
    ):
        with pytest.raises(InvalidInput, match="last administrator"):
            call(service, operation, request, root)
    add_user(service, root, "second")
    call(service, operations.PUT_MEMBER, PutMember(name="vision", user="second", role="admin"), root)
    call(service, operations.REMOVE_MEMBER, RemoveMember(name="vision", user="root"), root)
    assert members(service, root, "vision") == {"second": "admin"}


def test_service_accounts_work_with_api_keys(service: Service, root: Actor) -> None:
    """A key is shown once, stored as a digest, works in its workspace with its role, and is dead at once when it is ended."""
    made = call(service, accounts.CREATE, CreateServiceAccount(name="ci", role="reader"), root)
    assert (made.workspace, made.role) == ("default", "reader")
    call(service, of_secret.CREATE, secret(), root)
    key = call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="k"), root).key.reveal()
    machine = service.identities.authenticate(key)
    assert (machine.name, machine.role, machine.admin) == ("ci", Role.READER, False)
    assert call(service, of_secret.GET_BY_NAME, GetSecretByName(name="s"), machine).secret_values
    with pytest.raises(Forbidden):
        call(service, of_secret.CREATE, secret("t"), machine)
    listed = call(service, accounts.LIST_KEYS, ListApiKeys(service_account="ci"), root)
    assert [(item.name, bool(item.key)) for item in listed] == [("k", False)]
    with service.deployment.database.read() as connection:
        assert not any(key in str(row) or key.encode() in row.digest for row in connection.execute(select(tokens)))
    with pytest.raises(AlreadyExists):
        call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="k"), root)
    call(service, accounts.DELETE_KEY, DeleteApiKey(service_account="ci", name="k"), root)
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(key)
    with pytest.raises(NotFound):
        call(service, accounts.DELETE_KEY, DeleteApiKey(service_account="ci", name="k"), root)


def test_a_key_may_expire(service: Service, root: Actor) -> None:
    """A time to come is taken, a past one or one without a zone is refused."""
    call(service, accounts.CREATE, CreateServiceAccount(name="ci", role="reader"), root)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    made = call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="k", expires_at=tomorrow), root)
    assert made.expires_at == tomorrow
    for bad in (datetime.now(UTC) - timedelta(seconds=1), tomorrow.replace(tzinfo=None)):
        with pytest.raises(InvalidInput):
            call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="l", expires_at=bad), root)


def test_a_deleted_service_account_is_out_and_its_name_stays_taken(service: Service, root: Actor) -> None:
    """Its keys are dead, it is in no list; nobody takes its place under its name."""
    call(service, accounts.CREATE, CreateServiceAccount(name="ci", role="editor"), root)
    key = call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="k"), root).key.reveal()
    call(
        service,
        of_secret.CREATE,
        CreateSecret(name="own", values={"k": SecretText(CANARY)}, scope=Scope.USER),
        service.identities.authenticate(key),
    )
    call(service, accounts.DELETE, DeleteServiceAccount(name="ci"), root)
    with pytest.raises(Unauthenticated):
        service.identities.authenticate(key)
    assert call(service, accounts.LIST, ListServiceAccounts(), root).total == 0
    assert "ci" not in members(service, root)
    with pytest.raises(AlreadyExists):
        call(service, accounts.CREATE, CreateServiceAccount(name="ci", role="editor"), root)


def test_service_accounts_stay_in_their_workspace(service: Service, root: Actor) -> None:
    """They are no users, belong nowhere else, and are not seen from another workspace."""
    call(service, operations.CREATE, CreateWorkspace(name="vision"), root)
    call(service, accounts.CREATE, CreateServiceAccount(name="ci", role="editor"), root)
    key = call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="k"), root).key.reveal()
    with pytest.raises(InvalidInput, match="another workspace"):
        call(service, operations.PUT_MEMBER, PutMember(name="vision", user="ci", role="admin"), root)
    assert service.identities.authenticate(key, "vision").role is Role.NONE
    there = service.identities.authenticate(log_in(service, "root"), "vision")
    with pytest.raises(NotFound):
        call(service, accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="x"), there)
    with pytest.raises(InvalidInput, match="service account"):
        call(service, operations.REMOVE_MEMBER, RemoveMember(name="default", user="ci"), root)


def test_service_accounts_are_for_administrators_of_the_workspace(service: Service, root: Actor) -> None:
    """An editor makes neither accounts nor keys."""
    editor = add_user(service, root, "editor", "editor")
    requests: list[tuple[Any, Any]] = [
        (accounts.CREATE, CreateServiceAccount(name="ci", role="viewer")),
        (accounts.LIST, ListServiceAccounts()),
        (accounts.CREATE_KEY, CreateApiKey(service_account="ci", name="k")),
    ]
    for operation, request in requests:
        with pytest.raises(Forbidden):
            call(service, operation, request, editor)


def test_a_user_cannot_take_the_name_of_a_machine(service: Service, root: Actor) -> None:
    """Users and service accounts share one namespace, so that a name in a record means one of them."""
    from strongroom.operations import user as of_user

    call(service, accounts.CREATE, CreateServiceAccount(name="ci", role="viewer"), root)
    with pytest.raises(AlreadyExists):
        call(service, of_user.CREATE, CreateUser(name="ci", password=SecretText(PASSWORD)), root)
