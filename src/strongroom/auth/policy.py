"""Which role allows what."""

from __future__ import annotations

import enum

from strongroom.errors import Forbidden
from strongroom.operations.permission import Permission


class Role(enum.StrEnum):
    """What somebody is in a workspace. Each role includes the ones below it: viewer, reader, editor, admin.

    `none` is for those who are signed in and do not belong to the workspace; it is never given.
    """

    ADMIN = "admin"
    EDITOR = "editor"
    NONE = "none"
    READER = "reader"
    VIEWER = "viewer"


_VIEWER = frozenset({Permission.RUN_READ, Permission.SECRET_READ_METADATA, Permission.SELF, Permission.STACK_READ})
_READER = _VIEWER | {Permission.RUN_WRITE, Permission.SECRET_READ_VALUES, Permission.STACK_USE}
_EDITOR = _READER | {Permission.SECRET_CREATE, Permission.SECRET_DELETE, Permission.SECRET_UPDATE, Permission.STACK_WRITE}

_ADMIN = _EDITOR | {Permission.MEMBER_MANAGE}

SERVER_PERMISSIONS = frozenset(
    {
        Permission.AUDIT_MANAGE,
        Permission.AUDIT_READ,
        Permission.STORE_MANAGE,
        Permission.USER_MANAGE,
        Permission.WORKSPACE_MANAGE,
    }
)
"""What administrators of the server may do, whatever their role in a workspace."""

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: _VIEWER,
    Role.NONE: frozenset({Permission.SELF}),
    Role.READER: _READER,
    Role.EDITOR: _EDITOR,
    Role.ADMIN: _ADMIN,
}


def allows(role: Role, permission: Permission, *, server_admin: bool = False) -> bool:
    """Whether the role, or being an administrator of the server, includes the permission."""
    return permission in PERMISSIONS[role] or (server_admin and permission in SERVER_PERMISSIONS)


def authorise(role: Role, permission: Permission, *, server_admin: bool = False) -> None:
    """Returns if the role, or being an administrator of the server, allows it, else raises `Forbidden`."""
    if allows(role, permission, server_admin=server_admin):
        return
    who = "the server" if permission in SERVER_PERMISSIONS else "the workspace"
    raise Forbidden(f"this needs the permission {permission}", hint=f"ask an administrator of {who}")
