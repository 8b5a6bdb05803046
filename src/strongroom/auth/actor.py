"""Whoever asks for an operation."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.auth.policy import Role


@dataclass(frozen=True)
class Actor:
    """A user at work in one workspace, with their role there."""

    user_id: str
    name: str
    workspace_id: str
    workspace: str
    role: Role
