"""Whether an actor may ask for an operation at all."""

from __future__ import annotations

from typing import Any

from strongroom.auth.actor import Actor
from strongroom.auth.policy import authorise
from strongroom.errors import Forbidden
from strongroom.operations.operation import Operation


def check_access(actor: Actor, operation: Operation[Any, Any]) -> None:
    """Returns if the actor's role allows it and, for an actor with a run token, the operation is open to runs; else `Forbidden`."""
    if operation.permission is None:
        return
    if actor.run is not None and not operation.for_runs:
        raise Forbidden(
            f"'{operation.name}' is not open to run tokens: they read what their run was granted, and write its record",
            hint="do this outside of the run, as yourself",
        )
    authorise(actor.role, operation.permission, server_admin=actor.admin)
