"""Who may do what."""

from __future__ import annotations

import itertools

import pytest

from strongroom.auth.policy import PERMISSIONS, Role, authorise
from strongroom.errors import Forbidden
from strongroom.operations.component import COMPONENT_OPERATIONS
from strongroom.operations.permission import Permission
from strongroom.operations.run import RUN_OPERATIONS
from strongroom.operations.secret import SECRET_OPERATIONS
from strongroom.operations.stack import STACK_OPERATIONS

OPERATIONS = (*COMPONENT_OPERATIONS, *RUN_OPERATIONS, *SECRET_OPERATIONS, *STACK_OPERATIONS)


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
    assert PERMISSIONS[Role.VIEWER] == {Permission.RUN_READ, Permission.SECRET_READ_METADATA, Permission.STACK_READ}


def test_readers_run_pipelines_and_change_no_stack() -> None:
    """A reader may use stacks and record runs; components and stacks are changed by editors."""
    assert {Permission.RUN_WRITE, Permission.STACK_USE} <= PERMISSIONS[Role.READER]
    assert Permission.STACK_WRITE not in PERMISSIONS[Role.READER]
    assert Permission.STACK_WRITE in PERMISSIONS[Role.EDITOR]


def test_operations_are_named_once() -> None:
    """Names of operations, and pairs of method and path, are unique over all nouns."""
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)


def test_every_permission_is_asked_for() -> None:
    """No permission stands in the list without an operation that needs it."""
    assert {operation.permission for operation in OPERATIONS} == set(Permission)
