"""Which role allows what."""

from __future__ import annotations

import enum

from strongroom.errors import Forbidden
from strongroom.operations.permission import Permission


class Role(enum.StrEnum):
    """What somebody is in a workspace. Each role includes the ones below it: viewer, reader, editor, admin."""

    ADMIN = "admin"
    EDITOR = "editor"
    READER = "reader"
    VIEWER = "viewer"


_VIEWER = frozenset({Permission.RUN_READ, Permission.SECRET_READ_METADATA, Permission.STACK_READ})
_READER = _VIEWER | {Permission.RUN_WRITE, Permission.SECRET_READ_VALUES, Permission.STACK_USE}
_EDITOR = _READER | {Permission.SECRET_CREATE, Permission.SECRET_DELETE, Permission.SECRET_UPDATE, Permission.STACK_WRITE}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.READER: _READER,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _EDITOR,
}


def allows(role: Role, permission: Permission) -> bool:
    """Whether the role has the permission."""
    return permission in PERMISSIONS[role]


def authorise(role: Role, permission: Permission) -> None:
    """Returns if the role allows it, else raises `Forbidden`."""
    if not allows(role, permission):
        raise Forbidden(
            f"this needs the permission {permission}",
            hint="ask an administrator of the workspace for a role that has it",
        )
