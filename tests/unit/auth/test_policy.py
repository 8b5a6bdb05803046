"""Who may do what."""

from __future__ import annotations

import itertools

import pytest

from strongroom.auth.policy import PERMISSIONS, SERVER_PERMISSIONS, Role, authorise
from strongroom.errors import Forbidden
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.operations.permission import Permission


def test_permissions_are_in_alphabetical_order() -> None:
    """The list stays easy to read."""
    assert [each.name for each in Permission] == sorted(each.name for each in Permission)
    assert [each.value for each in Permission] == sorted(each.value for each in Permission)


def test_each_role_includes_the_ones_below() -> None:
    """Viewer, reader, editor, admin: each may do what the former may."""
    for lower, higher in itertools.pairwise([Role.VIEWER, Role.READER, Role.EDITOR, Role.ADMIN]):
        assert PERMISSIONS[lower] <= PERMISSIONS[higher]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_what_is_not_allowed_is_forbidden(role: Role, permission: Permission) -> None:
    """A role may do exactly what its row says."""
    if permission in PERMISSIONS[role]:
        authorise(role, permission)
    else:
        with pytest.raises(Forbidden, match=permission):
            authorise(role, permission)


def test_viewers_read_no_values() -> None:
    """Reading metadata does not include reading values."""
    assert Permission.SECRET_READ_VALUES not in PERMISSIONS[Role.VIEWER]
    assert Permission.SECRET_READ_METADATA in PERMISSIONS[Role.VIEWER]


def test_viewers_change_nothing_and_use_no_stack() -> None:
    """What a viewer may do shows metadata: no stack as it is stored, no record of a run, no write."""
    assert PERMISSIONS[Role.VIEWER] == {
        Permission.RUN_READ,
        Permission.SECRET_READ_METADATA,
        Permission.SELF,
        Permission.STACK_READ,
    }


def test_the_administration_of_the_server_is_no_role() -> None:
    """What administrators of the server may do belongs to no role in a workspace; and a role is not had by being one of them."""
    for role in Role:
        assert not SERVER_PERMISSIONS & PERMISSIONS[role]
        for permission in SERVER_PERMISSIONS:
            authorise(role, permission, server_admin=True)
    with pytest.raises(Forbidden):
        authorise(Role.NONE, Permission.SECRET_READ_VALUES, server_admin=True)


def test_whoever_belongs_to_no_workspace_may_say_who_they_are() -> None:
    """And nothing else."""
    assert PERMISSIONS[Role.NONE] == {Permission.SELF}


def test_readers_run_pipelines_and_change_no_stack() -> None:
    """A reader may use stacks and record runs; components and stacks are changed by editors."""
    assert {Permission.RUN_WRITE, Permission.STACK_USE} <= PERMISSIONS[Role.READER]
    assert Permission.STACK_WRITE not in PERMISSIONS[Role.READER]
    assert Permission.STACK_WRITE in PERMISSIONS[Role.EDITOR]


def test_operations_are_named_once() -> None:
    """Names of operations, and pairs of method and path, are unique over all nouns."""
    assert len({operation.name for operation in ALL_OPERATIONS}) == len(ALL_OPERATIONS)
    assert len({(operation.method, operation.path) for operation in ALL_OPERATIONS}) == len(ALL_OPERATIONS)


def test_every_permission_is_asked_for() -> None:
    """No permission stands in the list without an operation that needs it."""
    assert {operation.permission for operation in ALL_OPERATIONS} - {None} == set(Permission)
