"""Who may do what."""

from __future__ import annotations

import itertools

import pytest

from strongroom.auth.policy import PERMISSIONS, Role, authorise
from strongroom.errors import Forbidden
from strongroom.operations.permission import Permission
from strongroom.operations.secret import SECRET_OPERATIONS


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


def test_operations_are_named_once() -> None:
    """Names of operations, and pairs of method and path, are unique."""
    assert len({operation.name for operation in SECRET_OPERATIONS}) == len(SECRET_OPERATIONS)
    assert len({(operation.method, operation.path) for operation in SECRET_OPERATIONS}) == len(SECRET_OPERATIONS)
