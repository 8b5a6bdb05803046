"""What an operation is."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

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
class Audited:
    """What the audit trail keeps of the requests for an operation: the names of their fields, and of few of them what they hold.

    `target` and `target_id` are the fields that say what a request is about, unless its response does; `workspace` is the field that
    names another workspace than the actor's. Of `shown` the contents are kept: fields of few possible contents, or names; never one
    that may hold a value. `summary` makes a text of the response. The names of all other fields that a change sets are kept anyway.
    """

    target: str | None = None
    target_id: str | None = None
    workspace: str | None = None
    shown: tuple[str, ...] = ()
    summary: Callable[[Any], str] | None = None
    about_actor: bool = False


@dataclass(frozen=True, eq=False)
class Operation(Generic[Request, Response]):
    """One thing that can be asked for, as a row of data.

    From these rows come the permission check, both transports' calls and the event of the audit trail. `path` is relative to the
    API's root; its `{parameters}` are fields of the request. Without a `permission` nobody needs to prove who they are. `creates` is
    the path of what it makes, whose parameters are fields of the response. `repeat` is worked out from the method unless it is given.
    `audited` says what the audit trail keeps; `id` and `name` in the path need no declaration. Those `for_runs` are open to run
    tokens, within what the run was granted; all others are closed to them.
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
    audited: Audited = Audited()

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET" or (self.method == "POST" and self.repeat is Repeat.HARMLESS)

    @property
    def repeatable(self) -> Repeat:
        """What happens when one request arrives twice."""
        return self.repeat or (Repeat.WITH_KEY if self.method in ("POST", "PATCH") else Repeat.HARMLESS)
