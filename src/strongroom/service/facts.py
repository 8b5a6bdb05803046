"""The facts that the audit trail keeps of an event."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

import msgspec

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.errors import AlreadyExists, Forbidden, StaleVersion, StrongroomError
from strongroom.operations.operation import Operation

OK = "ok"
_TELLING = (OK, Forbidden.code, AlreadyExists.code, StaleVersion.code)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded of an event; the moment in microseconds since 1970."""

    moment: int
    workspace: str
    actor: str
    actor_id: str
    token_id: str | None
    operation: str
    target: str
    target_id: str
    version: int | None
    outcome: str
    address: str


decode_facts = msgspec.json.Decoder(Facts).decode


def facts_of_administration(operation: str, actor: Actor, target: str, target_id: str, outcome: str) -> Facts:
    """What is to be recorded of something that is no `Operation`: whoever holds database and key did it, without a server."""
    return Facts(
        moment=now(),
        workspace=_text(actor.workspace),
        actor=_text(actor.name),
        actor_id=actor.user_id,
        token_id=None,
        operation=operation,
        target=_text(target),
        target_id=target_id,
        version=None,
        outcome=outcome,
        address="",
    )


def facts_of(operation: Operation[Any, Any], actor: Actor, request: Any, outcome: Any) -> list[Facts]:
    """What is to be recorded of a call: one event, or one for each secret that was resolved. `outcome` is the response or the error.

    Only ids, names and versions are taken from requests and responses. A name that led nowhere is left out: it may be a value or a
    password that was typed in the wrong place. One that was there, or would have been looked up but for a missing right, is told.
    """
    if isinstance(outcome, BaseException):
        response, code = None, outcome.code if isinstance(outcome, StrongroomError) else "internal"
    else:
        response, code = outcome, OK
        if operation.name == "secret.resolve":
            read = {(each.name, each.secret_id, each.version): None for each in outcome.items if each.secret_id is not None}
            if read:
                return [_fact(operation, actor, OK, *each) for each in read]
    # In the path stands what a request is about; elsewhere a name may be a filter of a list.
    asked = _fields_in_path(operation)
    target = getattr(response, "name", None) or ("name" in asked and getattr(request, "name", None))
    target = target or getattr(request, "username", None) or ""
    target_id = getattr(response, "id", None) or ("id" in asked and getattr(request, "id", None)) or ""
    version = getattr(response, "version", None)
    return [_fact(operation, actor, code, str(target), str(target_id), version if isinstance(version, int) else None)]


def _fact(operation: Operation[Any, Any], actor: Actor, code: str, target: str, target_id: str, version: int | None) -> Facts:
    done = code == OK
    return Facts(
        moment=now(),
        workspace=_text(actor.workspace),
        actor=_text(actor.name),
        actor_id=actor.user_id,
        token_id=actor.token_id,
        operation=operation.name,
        target=_text(target) if code in _TELLING and (done or actor.user_id != "") else "",
        target_id=_text(target_id) if done or _ID.fullmatch(target_id) else "",
        version=version,
        outcome=code,
        address=_text(actor.address),
    )


@cache
def _fields_in_path(operation: Operation[Any, Any]) -> tuple[str, ...]:
    return tuple(field for field in ("id", "name") if f"{{{field}}}" in operation.path)


def _text(text: str) -> str:
    """Text as a column of names takes it."""
    return _printable(text[:255])


@lru_cache(1_024)
def _printable(text: str) -> str:
    """Most of it is the same each time."""
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1][:255]
