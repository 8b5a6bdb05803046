"""Whoever asks for an operation."""

from __future__ import annotations

import msgspec

from strongroom.auth.policy import Role
from strongroom.auth.run_access import RunAccess


class Actor(msgspec.Struct, frozen=True):
    """A user or service account at work in one workspace, with its role there.

    `admin` administers the server. `token_id` is what it proved itself by; None for whoever holds the embedded store. With a `run`
    it acts for that run alone: for the user who began it, and with no more rights than the run was granted.
    """

    user_id: str
    name: str
    workspace_id: str
    workspace: str
    role: Role
    admin: bool = False
    token_id: str | None = None
    address: str = ""
    run: RunAccess | None = None

    @classmethod
    def anonymous(cls, address: str = "") -> Actor:
        """Somebody who has not proved who they are, at this network address."""
        return cls("", "", "", "", Role.NONE, address=address)
