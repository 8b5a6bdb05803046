"""What an operation is."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from strongroom.operations.permission import Permission

Request = TypeVar("Request")
Response = TypeVar("Response")

NONE_IN_PATH = "~"
"""How a path says that a parameter is None; a text that looks so is percent-encoded."""


class Repeat(enum.Enum):
    """What happens when one request arrives twice, because the first answer got lost."""

    HARMLESS = enum.auto()  # it reads, or ends in the same state
    NEVER = enum.auto()  # the answer holds a fresh secret, which is kept nowhere
    WITH_KEY = enum.auto()  # an `Idempotency-Key` gives the first answer again


@dataclass(frozen=True, eq=False)
class Operation(Generic[Request, Response]):
    """One thing that can be asked for, as a row of data.

    From these rows come the permission check and both transports' calls. `path` is relative to the API's root; its
    `{parameters}` are fields of the request. Without a `permission` nobody needs to prove who they are. `creates` is the path of
    what it makes, whose parameters are fields of the response. `repeat` is worked out from the method unless it is given. Those
    `for_runs` are open to run tokens, within what the run was granted; all others are closed to them.
    """

    name: str
    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: str
    permission: Permission | None
    request: type[Request]
    response: type[Response]
    creates: str | None = None
    repeat: Repeat | None = None
    for_runs: bool = False
    begins_job: bool = False

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET" or (self.method == "POST" and self.repeat is Repeat.HARMLESS)

    @property
    def repeatable(self) -> Repeat:
        """What happens when one request arrives twice."""
        return self.repeat or (Repeat.WITH_KEY if self.method in ("POST", "PATCH") else Repeat.HARMLESS)
