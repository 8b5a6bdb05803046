"""What an operation is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from strongroom.operations.permission import Permission

Request = TypeVar("Request")
Response = TypeVar("Response")


@dataclass(frozen=True)
class Operation(Generic[Request, Response]):
    """One thing that can be asked for, as a row of data.

    From these rows come the permission check and both transports' calls. `path` is relative to the API's root; its
    `{parameters}` are fields of the request. Without a `permission` nobody needs to prove who they are.
    """

    name: str
    method: Literal["GET", "POST", "PATCH", "PUT", "DELETE"]
    path: str
    permission: Permission | None
    request: type[Request]
    response: type[Response]
