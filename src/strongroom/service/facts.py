"""The facts that the audit trail keeps of an event."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from strongroom.auth.actor import Actor
from strongroom.db.clock import now
from strongroom.errors import (
    AlreadyExists,
    ApprovalNeeded,
    Forbidden,
    NotFound,
    StaleVersion,
    StrongroomError,
    Unauthenticated,
    Unavailable,
)
from strongroom.models.secret import Scope
from strongroom.operations.operation import Operation
from strongroom.operations.secret import SECRET_OPERATIONS

OK = "ok"
MOST_DETAIL = 4_000
_OF_SECRETS = frozenset(each.name for each in SECRET_OPERATIONS)
_TELLING = (OK, ApprovalNeeded.code, Forbidden.code, AlreadyExists.code, StaleVersion.code)
_RESOLUTION = {
    "no_key": NotFound.code,
    "no_secret": NotFound.code,
    "not_granted": Forbidden.code,
    "unreadable": Unavailable.code,
}
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is recorded of an event; the moment in microseconds since 1970.

    `changed` names the fields that the request set; `detail` says more where the operation declares it. `scope` is that of a secret,
    if it is known. `entry` is what the event
    was called before it was in the chain: the id in the outbox, or a journal's name and a number. It is the last field.
    """

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
    changed: tuple[str, ...] = ()
    detail: str = ""
    scope: str = ""
    entry: str = ""

    @property
    def is_private(self) -> bool:
        """Whether the target is a secret of the actor that nobody else may see."""
        return self.scope == Scope.USER


decode_facts = msgspec.json.Decoder(Facts).decode


def facts_of_administration(operation: str, actor: Actor, target: str, target_id: str, outcome: str, detail: str = "") -> Facts:
    """Returns the facts of something that is no `Operation`: it was done with the database and its key, without a server."""
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
        detail=detail,
    )


def facts_of(operation: Operation[Any, Any], actor: Actor, request: Any, outcome: Any) -> list[Facts]:
    """Returns the facts of a call: one event, or one for each secret that was resolved. `outcome` is the response or the error.

    Only ids, names, versions and what the operation declares are taken from requests and responses. A name that led nowhere is left
    out: it may be a value or a password that was typed in the wrong place. One that was there, or would have been looked up but for
    a missing right, is told. Of a failed login the user's id is told, if there is such a user.
    """
    if isinstance(outcome, BaseException):
        response, code = None, outcome.code if isinstance(outcome, StrongroomError) else "internal"
    else:
        response, code = outcome, OK
        if operation.name == "secret.resolve":
            return _facts_of_resolution(operation, actor, outcome.items)
    declared = _declared(operation)
    target = getattr(response, "name", None) or (declared.target and getattr(request, declared.target, None)) or ""
    target_id = getattr(response, "id", None) or (declared.target_id and getattr(request, declared.target_id, None)) or ""
    if declared.about_actor:
        target, target_id = actor.name, actor.user_id
    if response is None and isinstance(outcome, Unauthenticated):
        target_id = outcome.user_id
    version = getattr(response, "version", None)
    version = version if isinstance(version, int) else None
    scope = (getattr(response, "scope", None) or getattr(request, "scope", None) or "") if operation.name in _OF_SECRETS else ""
    scope = "" if scope is UNSET else str(scope)
    if operation.method == "GET" or request is None:
        return [_fact(operation, actor, code, str(target), str(target_id), version, scope=scope)]
    is_told = code in _TELLING and (code == OK or actor.user_id != "")
    workspace = (is_told and declared.workspace and getattr(request, declared.workspace, None)) or actor.workspace
    changed = () if operation.reads else tuple(name for name in declared.others if _is_set(request, name))
    shown = [f"{name}={_shown(getattr(request, name))}" for name in declared.shown if _is_set(request, name)] if is_told else []
    if declared.summary is not None and response is not None:
        shown.append(declared.summary(response))
    return [_fact(operation, actor, code, str(target), str(target_id), version, workspace, changed, ", ".join(shown), scope)]


def _facts_of_resolution(operation: Operation[Any, Any], actor: Actor, items: Sequence[Any]) -> list[Facts]:
    """An event for each secret that was found, and one for each reason why others were not, with their number."""
    facts: list[Facts] = []
    secrets: dict[tuple[str, str, int, str], set[str]] = {}
    missing: Counter[str] = Counter()
    for item in items:
        if item.secret_id is None:
            missing[str(item.status)] += 1
        else:
            about = (item.name, item.secret_id, item.version, str(item.scope or ""))
            secrets.setdefault(about, set()).add(str(item.status))
    for (name, secret_id, version, scope), statuses in secrets.items():
        code = OK if OK in statuses else _RESOLUTION[min(statuses)]
        facts.append(_fact(operation, actor, code, name, secret_id, version, scope=scope))
    for status, count in missing.items():
        detail = f"{count} {'reference' if count == 1 else 'references'}: {status}"
        facts.append(_fact(operation, actor, _RESOLUTION[status], "", "", None, detail=detail))
    return facts or [_fact(operation, actor, OK, "", "", None)]


def _fact(
    operation: Operation[Any, Any],
    actor: Actor,
    code: str,
    target: str,
    target_id: str,
    version: int | None,
    workspace: str | None = None,
    changed: tuple[str, ...] = (),
    detail: str = "",
    scope: str = "",
) -> Facts:
    done = code == OK
    return Facts(
        moment=now(),
        workspace=_text(workspace or actor.workspace),
        actor=_text(actor.name),
        actor_id=actor.user_id,
        token_id=actor.token_id,
        operation=operation.name,
        target=_text(target) if code in _TELLING and (done or actor.user_id != "") else "",
        target_id=_text(target_id) if done or _ID.fullmatch(target_id) else "",
        version=version,
        outcome=code,
        address=_text(actor.address),
        changed=changed,
        detail=detail and _printable(detail[:MOST_DETAIL], MOST_DETAIL),
        scope=scope,
    )


class _Declared(NamedTuple):
    target: str | None
    target_id: str | None
    workspace: str | None
    shown: tuple[str, ...]
    others: tuple[str, ...]
    summary: Callable[[Any], str] | None
    about_actor: bool


@cache
def _declared(operation: Operation[Any, Any]) -> _Declared:
    audited, path = operation.audited, operation.path
    target = audited.target or ("name" if "{name}" in path and audited.workspace != "name" else None)
    others = tuple(
        sorted(name for name in operation.request.__struct_fields__ if f"{{{name}}}" not in path and name not in (target, "former"))
    )
    return _Declared(
        target,
        audited.target_id or ("id" if "{id}" in path else None),
        audited.workspace,
        audited.shown,
        others,
        audited.summary,
        audited.about_actor,
    )


def _is_set(request: Any, name: str) -> bool:
    """Whether a request says something about this field. An empty text or collection says something only if it is no default."""
    value = getattr(request, name, UNSET)
    return value is not UNSET and value is not None and value not in ({}, [])


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:255]


def _text(text: str) -> str:
    """Text as a column of names takes it."""
    return _printable(text[:255])


@lru_cache(1_024)
def _printable(text: str, most: int = 255) -> str:
    """Most of it is the same each time."""
    return text if text.isascii() and text.isprintable() else ascii(text)[1:-1][:most]
