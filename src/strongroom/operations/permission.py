"""Everything that can be allowed or refused."""

from __future__ import annotations

import enum


class Permission(enum.StrEnum):
    """In alphabetical order. Reading metadata and reading values are different things."""

    AUDIT_MANAGE = "audit:manage"
    AUDIT_READ = "audit:read"
    MEMBER_MANAGE = "member:manage"
    RUN_READ = "run:read"
    RUN_WRITE = "run:write"
    SECRET_CREATE = "secret:create"
    SECRET_DELETE = "secret:delete"
    SECRET_READ_METADATA = "secret:read-metadata"
    SECRET_READ_VALUES = "secret:read-values"
    SECRET_UPDATE = "secret:update"
    SELF = "self"
    STACK_READ = "stack:read"
    STACK_USE = "stack:use"
    STACK_WRITE = "stack:write"
    STORE_MANAGE = "store:manage"
    USER_MANAGE = "user:manage"
    WORKSPACE_MANAGE = "workspace:manage"
