"""The API: one endpoint for each row of the table of operations."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints
from urllib.parse import quote, unquote

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope

from strongroom.auth.access import check_access
from strongroom.auth.actor import Actor
from strongroom.db.engine import Unanswered
from strongroom.errors import (
    ConfigurationError,
    InvalidInput,
    StaleVersion,
    StrongroomError,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
)
from strongroom.models.near import NotHere
from strongroom.models.secret import Secret
from strongroom.models.user import WhoAmI
from strongroom.operations import audit as of_audit
from strongroom.operations import component as of_component
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import stack as of_stack
from strongroom.operations import user as of_user
from strongroom.operations.operation import NONE_IN_PATH, Operation, Repeat
from strongroom.operations.permission import Permission
from strongroom.server import ROOT
from strongroom.server.admission import Admission
from strongroom.server.answer import Answer
from strongroom.server.encoding import (
    fields_of_form,
    fields_of_json,
    metadata_to_json,
    request_of_body,
    request_of_query,
    to_json,
    workspace_of,
)
from strongroom.server.group_commit import GroupCommit
from strongroom.server.middleware import client_address, describe
from strongroom.server.pulse import Pulse, no_answer
from strongroom.server.refusal import Refusal, error_answer
from strongroom.server.refusals import Refusals
from strongroom.service.facts import Facts, facts_of
from strongroom.service.reply import Reply
from strongroom.service.wiring import Service

if TYPE_CHECKING:
    from sqlalchemy import Connection

MAX_BODY_BYTES = 1_048_576
MAX_ANONYMOUS_BODY_BYTES = 16_384
"""The same for whoever has no token: anybody can make the server hold that much, for as long as it waits."""

KNOWN_PATHS, KNOWN_LENGTH = 256, 512
"""Of so many paths it is remembered what they lead to, unless one is longer: anybody could fill the memory with those."""

HASHING = frozenset(
    operation.name for operation in (of_user.CHANGE_PASSWORD, of_user.CREATE, of_user.LOGIN, of_user.SET_UP, of_user.UPDATE)
)
"""Operations that hash a password, which takes 64 MiB each: they have a small pool of their own, so that logins starve nobody."""

JOINED = frozenset(
    operation.name for operation in (of_secret.CREATE, of_secret.DELETE, of_secret.REPLACE, of_secret.ROLLBACK, of_secret.UPDATE)
)
"""Changes that take a moment where values lie in the database: those of many requests share a transaction there, if it can be."""

_LONG = (of_audit.LIST, of_component.LIST, of_run.GET, of_run.LIST, of_stack.LIST)
_FILTERS = ("id", "name", "owner", "label", "created", "updated")
_ETAG = re.compile(r'"([0-9]{1,9})"')
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_JSON_TYPE = (b"content-type", _JSON.encode())

Row = Operation[Any, Any]
Outcome = tuple[Any, list[Facts]]
T = TypeVar("T")


@dataclass(frozen=True)
class Pools:
    """Threads for what writes, for what hashes passwords, and for reads that take too long for the event loop.

    `fetching` is for reads of values that wait for a secrets store outside of the database.
    """

    writing: Executor
    hashing: Executor
    reading: Executor
    fetching: Executor


class PathTable:
    """Finds operations by path. Segments are compared before they are decoded, so that a name with a slash in it is one segment."""

    def __init__(self, operations: Sequence[Row]) -> None:
        grouped: dict[str, dict[str, Row]] = {}
        for operation in operations:
            grouped.setdefault(operation.path, {})[operation.method] = operation
        self._by_length: dict[int, list[tuple[list[str | None], list[str], dict[str, Row]]]] = {}
        for path, methods in grouped.items():
            segments = path.strip("/").split("/")
            fixed = [None if segment.startswith("{") else segment for segment in segments]
            names = [segment.strip("{}") for segment in segments]
            self._by_length.setdefault(len(segments), []).append((fixed, names, methods))
        for rows in self._by_length.values():  # what is written out comes before what is open
            rows.sort(key=lambda row: [segment is None for segment in row[0]])

    def find(self, method: str, raw_path: bytes) -> tuple[Row, Mapping[str, str | None]]:
        """The operation and the parameters in its path, or a `Refusal`: 404, or 405 with the methods that there are."""
        segments = raw_path.decode("ascii", "replace").removeprefix(f"{ROOT}/").split("/")
        allowed: set[str] = set()
        for fixed, names, methods in self._by_length.get(len(segments), ()):
            if all(wanted is None or wanted == given for wanted, given in zip(fixed, segments, strict=True)):
                operation = methods.get("GET" if method == "HEAD" else method)
                if operation is not None:
                    parts = zip(fixed, names, segments, strict=True)
                    return operation, {name: _parameter(operation, name, given) for wanted, name, given in parts if wanted is None}
                allowed |= set(methods)
        if allowed:
            names_of_methods = ", ".join(sorted(allowed))
            raise Refusal(405, "method_not_allowed", "this path does not take this method", None, {"Allow": names_of_methods})
        raise Refusal(404, "no_such_operation", "there is no such path here", "see /docs")


def _parameter(operation: Row, name: str, segment: str) -> str | None:
    if segment == NONE_IN_PATH and type(None) in get_args(get_type_hints(operation.request)[name]):
        return None
    return unquote(segment)


class Api:
    """The API: what lies below its root.

    Operations that read run at once, on the event loop: they take less than a change of thread would. All others run in threads, and
    so do reads that turn out to take long; see `Pulse`.
    """

    def __init__(self, service: Service, operations: Sequence[Row], pools: Pools, trail: GroupCommit, pulse: Pulse, log: Any) -> None:
        self._service, self._pools, self._trail, self._pulse, self._log = service, pools, trail, pulse, log
        self._find_anew = PathTable(operations).find
        self._find_known = functools.lru_cache(KNOWN_PATHS)(self._find_anew)
        self._wanted_known = functools.lru_cache(KNOWN_PATHS)(self._wanted_anew)
        self._consistently = service.deployment.database.consistently
        self._under_way: set[asyncio.Future[Any]] = set()
        self._admission = Admission()
        self._refusals = Refusals(
            trail.record, lambda error: log.warning("refusals of strangers wait to go on record", reason=describe(error))
        )

    async def close(self) -> None:
        """Ends when all that was begun is done and on record."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self._refusals.flush()
        await self._trail.close()

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """Answers one request, by an error's answer, too."""
        try:
            return await self._answer(scope, receive)
        except StrongroomError as error:
            if isinstance(error, ConfigurationError):
                self._log.error("misconfigured", error=describe(error))
            if isinstance(error, Unanswered):
                self._pulse.lost()
            return error_answer(error)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        raw_path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = scope["query_string"].decode("ascii", "replace")
        operation, path = self._find(scope["method"], raw_path)
        scope["strongroom.operation"] = operation.name
        if self._pulse.doubted:
            await self._pulse.steady()
        wanted = done = None
        reads = operation.method == "GET"

        def begin() -> tuple[Actor, Any, tuple[Any, list[Facts]] | None]:
            actor = self._actor(scope, operation, query)
            if not reads:
                return actor, None, None
            wanted = self._wanted(operation, raw_path, query)
            return actor, wanted, self._read_now(operation, wanted, actor)

        try:
            try:
                actor, wanted, done = self._consistently(begin)
            except Unanswered:
                actor = await self._in_thread(lambda: self._actor(scope, operation, query))
        except Unauthenticated as error:
            await self._record(facts_of(operation, Actor.anonymous(client_address(scope)), None, error))
            raise
        if reads:
            wanted = wanted or self._wanted(operation, raw_path, query)
            return _response(operation, await self._read(operation, wanted, actor, done), to_json)
        request = Request(scope, receive)
        if operation.method == "DELETE":
            _refuse_if_match(request)
            body, wanted = b"", request_of_query(operation, path, query)
        else:
            limit = MAX_ANONYMOUS_BODY_BYTES if operation.permission is None else MAX_BODY_BYTES
            body = await read_body(request, limit, self._service.deployment.settings.client_timeout)
            wanted = request_of_body(operation, path, query, _guarded(request, operation, _fields(request, operation, body)))
        key = _idempotency_key(request, operation)
        if key is None:
            return _response(operation, await self._change(operation, wanted, actor), to_json)
        content = b"\0".join((request.method.encode(), raw_path, body))
        reply = await self._change(operation, wanted, actor, lambda: self._once(operation, wanted, actor, key, content))
        return _response(operation, reply, metadata_to_json)

    def _find(self, method: str, raw_path: bytes) -> tuple[Row, Mapping[str, str | None]]:
        """The operation, and the parameters in the path."""
        return (self._find_known if len(raw_path) <= KNOWN_LENGTH else self._find_anew)(method, raw_path)

    def _wanted(self, operation: Row, raw_path: bytes, query: str) -> Any:
        """What a request without a body wants."""
        known = len(raw_path) + len(query) <= KNOWN_LENGTH
        return (self._wanted_known if known else self._wanted_anew)(operation, raw_path, query)

    def _wanted_anew(self, operation: Row, raw_path: bytes, query: str) -> Any:
        return request_of_query(operation, self._find(operation.method, raw_path)[1], query)

    async def perform(self, operation: Operation[Any, T], wanted: Any, actor: Actor) -> T:
        """Does what a request for the operation does, and is on record when it returns. Raises the operation's error."""
        if self._pulse.doubted:
            await self._pulse.steady()
        reads = operation.method == "GET"
        reply: T = await (self._read(operation, wanted, actor) if reads else self._change(operation, wanted, actor))
        return reply

    async def authenticate(self, token: str | None, workspace: str, request: Request) -> Actor:
        """Whoever bears the token, working in this workspace ('' for their own); a stranger without one.

        `Unauthenticated`, which is on record then.
        """
        address = client_address(request.scope)
        if token is None:
            return Actor.anonymous(address)

        def find() -> Actor:
            return self._service.identities.authenticate(token, workspace, address)

        if self._pulse.doubted:
            await self._pulse.steady()
        try:
            try:
                actor = find()
            except Unanswered:
                actor = await self._in_thread(find)
        except Unauthenticated as error:
            await self._record(facts_of(of_user.WHO_AM_I, Actor.anonymous(address), WhoAmI(), error))
            raise
        request.scope["strongroom.actor"] = actor.user_id
        return actor

    def _read_now(self, operation: Row, wanted: Any, actor: Actor) -> tuple[Any, list[Facts]] | None:
        """What the operation answers, and what is to be on record of it; None if it may take too long for the event loop."""
        return None if self._pool_for(operation, wanted) else self._service.dispatcher.perform(operation, wanted, actor)

    async def _read(self, operation: Row, wanted: Any, actor: Actor, done: tuple[Any, list[Facts]] | None = None) -> Any:
        """What the operation answers, which may be `done` already; it is on record."""
        if operation is of_audit.LIST:
            await self._refusals.flush()
        done = done or self._read_now(operation, wanted, actor)
        if done is None or isinstance(done[0], Unanswered | NotHere):
            perform = functools.partial(self._service.dispatcher.perform, operation, wanted, actor)
            if done is not None and isinstance(done[0], Unanswered):
                done = await self._in_thread(perform)
            else:
                pool = self._pool_for(operation, wanted) or self._pools.reading
                done = await asyncio.get_running_loop().run_in_executor(pool, perform)
        outcome, facts = done
        await self._record(facts)
        if isinstance(outcome, StrongroomError):
            raise outcome
        return outcome

    async def _change(
        self, operation: Row, wanted: Any, actor: Actor, perform: Callable[[], tuple[Any, list[Facts]]] | None = None
    ) -> Any:
        """The same in a thread; `perform` does it in another way than the dispatcher alone."""

        def work() -> tuple[Any, list[Facts]]:
            self._pulse.check()
            return perform() if perform is not None else self._service.dispatcher.perform(operation, wanted, actor)

        if operation.name in JOINED and self._trail.takes_changes and self._service.placements.are_local:
            outcome = await self._trail.perform(work)
            if isinstance(outcome, StrongroomError):
                raise outcome
            return outcome
        pool = self._pool_for(operation, wanted) or self._pools.writing

        async def finish() -> Any:
            if operation.name in HASHING:
                outcome, facts = await self._hash(operation, wanted, actor, work)
            else:
                outcome, facts = await asyncio.get_running_loop().run_in_executor(pool, work)
            if facts:
                await self._record(facts)
            return outcome

        # What is begun gets on record, even if nobody waits for the answer any more.
        task = asyncio.ensure_future(finish())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        outcome = await asyncio.shield(task)
        if isinstance(outcome, StrongroomError):
            raise outcome
        return outcome

    async def _hash(self, operation: Row, wanted: Any, actor: Actor, work: Callable[[], Outcome]) -> Outcome:
        """Does what takes a hash of a password, one after the other for each user, and for each name and address of a stranger."""
        user = actor.user_id or (getattr(wanted, "username", ""), actor.address)
        try:
            async with self._admission.turn(user):
                return await asyncio.get_running_loop().run_in_executor(self._pools.hashing, work)
        except TooManyRequests as error:
            return error, facts_of(operation, actor, wanted, error)

    async def _record(self, facts: Sequence[Facts]) -> None:
        """Returns when the events are on record, or counted as refusals of strangers."""
        if not self._refusals.takes(facts):
            await self._trail.record(facts)

    def _pool_for(self, operation: Row, wanted: Any) -> Executor | None:
        """Threads for reads that may keep their thread for long."""
        if operation.permission is Permission.SECRET_READ_VALUES and not self._service.placements.are_local:
            return self._pools.fetching
        return self._pools.reading if _may_look_at_much(operation, wanted) else None

    def _actor(self, scope: Scope, operation: Row, query: str) -> Actor:
        """Whoever is asking: one query, for every request."""
        address = client_address(scope)
        if operation.permission is None:
            return Actor.anonymous(address)
        actor = self._service.identities.authenticate(_token(scope), workspace_of(query), address)
        scope["strongroom.actor"] = actor.user_id
        return actor

    async def _in_thread(self, read: Callable[[], T]) -> T:
        """Makes a read again that took too long for the event loop, unless the database answers nobody."""
        if not await asyncio.wrap_future(self._pulse.lost()):
            raise no_answer()
        return await asyncio.get_running_loop().run_in_executor(self._pools.reading, read)

    def _once(self, operation: Row, wanted: Any, actor: Actor, key: str, content: bytes) -> tuple[Any, list[Facts]]:
        """Does what is wanted unless it was done before under the same key; then the outcome is the one of that time."""
        try:
            check_access(actor, operation)
        except StrongroomError as error:
            return error, facts_of(operation, actor, wanted, error)
        replies = self._service.replies
        ticket = replies.ticket(actor, operation.name, key)
        try:
            known = replies.find(ticket, content)
            if known is None:

                def keep(connection: Connection, outcome: Any) -> None:
                    replies.keep(connection, ticket, content, _reply(operation, outcome))

                outcome, facts = self._service.dispatcher.perform(operation, wanted, actor, keep)
                # When it failed, another request under this key may have been faster, and be the reason.
                known = replies.find(ticket, content) if isinstance(outcome, StrongroomError) else None
                if known is None:
                    return outcome, facts
        except StrongroomError as error:
            return error, facts_of(operation, actor, wanted, error)
        reply = None if known.status == 204 else _decoded(operation, known.body)
        return reply, facts_of(operation, actor, wanted, reply)


def _reply(operation: Row, outcome: Any) -> Reply:
    response = _response(operation, outcome, metadata_to_json)
    return Reply(response.status, response.body.decode())


def _token(scope: Scope) -> str:
    """The token that the request comes with."""
    for name, text in scope["headers"]:
        if name == b"authorization":
            if text[:7].lower() == b"bearer " and (token := text[7:].strip()):
                return str(token, "latin-1")
            break
    raise Unauthenticated("this needs a token", hint="log in: strongroom login URL")


def _may_look_at_much(operation: Row, wanted: Any) -> bool:
    """Whether a read may look at, or give back, so much that it would hold up the event loop."""
    return operation in _LONG or (operation is of_secret.LIST and any(getattr(wanted, each) for each in _FILTERS))


def _response(operation: Row, reply: Any, encode: Callable[[Any], bytes]) -> Answer:
    """What an operation answers when it succeeds."""
    if reply is None:
        return Answer(204, [], b"")
    body = encode(reply)
    headers = [(b"content-length", b"%d" % len(body)), _JSON_TYPE]
    if operation.creates is not None:
        path = re.sub(r"{(\w+)}", lambda found: quote(str(getattr(reply, found[1])), ""), operation.creates)
        headers.append((b"location", f"{ROOT}{path}".encode()))
    if isinstance(reply, Secret):
        headers.append((b"etag", b'"%d"' % reply.version))
    return Answer(202 if operation.begins_job else 200 if operation.creates is None else 201, headers, body)


def _decoded(operation: Row, body: str) -> Any:
    return msgspec.json.decode(body, type=operation.response)


async def read_body(request: Request, limit: int, seconds: float = 20) -> bytes:
    """The body, read up to the limit and the deadline."""
    too_large = TooLarge(f"this request has at most {limit} bytes")
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:12]) > limit:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, "timeout", "the body of the request took too long", None, {"Connection": "close"}) from None
    except ClientDisconnect:  # or the pieces were not as HTTP has them; then there is still somebody to tell
        raise Refusal(400, "bad_request", "the body of the request broke off", None, {"Connection": "close"}) from None
    return b"".join(parts)


def _fields(request: Request, operation: Row, body: bytes) -> dict[str, Any]:
    kind = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if kind == _FORM and operation is of_user.LOGIN:
        return fields_of_form(body)
    if kind != _JSON and body:
        raise Refusal(415, "unsupported_media_type", "the body of a request is JSON", "send Content-Type: application/json")
    return fields_of_json(operation, body)


def _guarded(request: Request, operation: Row, fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields with the version of the header `If-Match`."""
    given = request.headers.get("if-match")
    if given is None or given.strip() == "*":
        return fields
    if "if_version" not in operation.request.__struct_fields__:
        _refuse_if_match(request)
    if "if_version" in fields:
        raise InvalidInput("give the version in If-Match or in 'if_version', not in both")
    tag = _ETAG.fullmatch(given.strip())
    if tag is None:
        raise StaleVersion("the header If-Match is not the ETag of a version", hint='send one tag, for example: "3"')
    return {**fields, "if_version": int(tag[1])}


def _refuse_if_match(request: Request) -> None:
    if request.headers.get("if-match", "*").strip() != "*":
        raise InvalidInput("this operation does not take If-Match")


def _idempotency_key(request: Request, operation: Row) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is None or operation.repeatable is Repeat.HARMLESS:
        return None
    if operation.repeatable is Repeat.NEVER:
        raise InvalidInput("this operation does not take an Idempotency-Key", hint="its reply holds a secret, which is kept nowhere")
    if not _KEY.fullmatch(key):
        raise InvalidInput("an Idempotency-Key has 1 to 255 visible ASCII characters")
    return key
