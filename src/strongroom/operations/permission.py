"""Everything that can be allowed or refused."""

from __future__ import annotations

import enum


class Permission(enum.StrEnum):
    """In alphabetical order. Reading metadata and reading values are different things."""

    SECRET_CREATE = "secret:create"
    SECRET_DELETE = "secret:delete"
    SECRET_READ_METADATA = "secret:read-metadata"
    SECRET_READ_VALUES = "secret:read-values"
    SECRET_UPDATE = "secret:update"
