"""Example requests of every operation, made from the fields that it declares, and the two doors through which they are asked.

A field without an example is an error of the tests that use these: whoever adds one says here what it may hold.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from strongroom.auth.policy import Role
from strongroom.errors import StrongroomError
from strongroom.metadata.identity import put_member, remove_member
from strongroom.models.flavor import ComponentType, Flavor
from strongroom.models.reference import Need, Reference
from strongroom.models.run import PlannedStep, RunStatus, SecretRead
from strongroom.models.secret import Scope
from strongroom.operations import approval as of_approval
from strongroom.operations import component as of_component
from strongroom.operations import job as of_job
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as of_service_account
from strongroom.operations import stack as of_stack
from strongroom.operations import user as of_user
from strongroom.operations.operation import NONE_IN_PATH, Operation
from strongroom.redaction import SecretText
from strongroom.server.encoding import to_json
from strongroom.service.wiring import Service
from tests.accounts import PASSWORD, add_user
from tests.callers import Caller
from tests.canary import CANARY

VALUE = f"{CANARY}-value"
PLAIN = "plain-password-of-a-component"
"""In a sensitive attribute, which is stored as it is: so it is no canary."""

Row = Operation[Any, Any]
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """What came of a request, whichever way it went. The body may hold values, so it does not show itself."""

    status: int
    code: str = ""
    message: str = ""
    hint: str | None = None
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Somebody:
    """Who asks: a role in the workspace and perhaps the administration of the server. `handle` is the door's own."""

    name: str
    role: Role
    admin: bool
    handle: Any = field(repr=False)


@dataclass(frozen=True)
class Thing:
    """What a request is about."""

    id: str
    name: str


class Door(Protocol):
    """A way in. `root` administers the server and the workspace."""

    root: Somebody
    workspace: str

    def ask(self, operation: Row, fields: dict[str, Any], who: Somebody) -> Outcome:
        """Asks for an operation with these fields."""

    def add(self, role: Role, *, admin: bool = False) -> Somebody:
        """Somebody new."""

    def setup_token(self) -> str:
        """A token that makes the first administrator, as far as there can be one."""

    def as_editor(self, who: Somebody) -> Any:
        """A context in which somebody is at least an editor of the workspace."""

    def bearer(self, who: Somebody, token: str) -> Somebody:
        """Whoever bears a run token of somebody."""


class Dispatching:
    """The service's dispatcher."""

    def __init__(self, service: Service) -> None:
        self.service, local = service, service.local_actor
        self.workspace = local.workspace
        self.root = Somebody(local.name, Role.ADMIN, True, local)

    def ask(self, operation: Row, fields: dict[str, Any], who: Somebody) -> Outcome:
        try:
            reply = self.service.dispatcher.call(operation, operation.request(**fields), who.handle)
        except StrongroomError as error:
            return Outcome(error.status, error.code, error.message, error.hint)
        if operation.begins_job:  # what it does is not to be counted among what the next one does
            self.service.jobs.wait()
        return Outcome(200, body=b"" if reply is None else to_json(reply))

    def add(self, role: Role, *, admin: bool = False) -> Somebody:
        actor = add_user(self.service, self.root.handle, name := unused(), None if role is Role.NONE else role, admin=admin)
        if role is not Role.NONE:  # of all the workspaces, the user has chosen none yet
            actor = msgspec.structs.replace(actor, workspace_id=self.root.handle.workspace_id, workspace=self.workspace, role=role)
        return Somebody(name, role, admin, actor)

    def setup_token(self) -> str:
        return self.service.identities.make_setup_token().reveal()

    @contextmanager
    def as_editor(self, who: Somebody) -> Iterator[Somebody]:
        actor, workspace_id = who.handle, self.root.handle.workspace_id
        if who.role in (Role.EDITOR, Role.ADMIN) or actor.token_id is None:
            yield replace(who, handle=msgspec.structs.replace(actor, workspace_id=workspace_id))
            return
        with self.service.deployment.database.write() as connection:  # rights are looked at again when they are used
            put_member(connection, workspace_id, actor.user_id, Role.EDITOR)
        yield replace(who, handle=msgspec.structs.replace(actor, workspace_id=workspace_id, role=Role.EDITOR))
        with self.service.deployment.database.write() as connection:
            if who.role is Role.NONE:
                remove_member(connection, workspace_id, actor.user_id)
            else:
                put_member(connection, workspace_id, actor.user_id, who.role)

    def bearer(self, who: Somebody, token: str) -> Somebody:
        return replace(who, handle=self.service.identities.authenticate(token))


class OverHttp:
    """A server's API."""

    def __init__(self, admin: Caller) -> None:
        self.workspace = admin.workspace
        self.root = Somebody("default", Role.ADMIN, True, admin)

    def ask(self, operation: Row, fields: dict[str, Any], who: Somebody) -> Outcome:
        path, left = operation.path, msgspec.to_builtins(fields, enc_hook=SecretText.reveal)
        for name in operation.request.__struct_fields__:
            if f"{{{name}}}" in path:
                given = left.pop(name, None)
                path = path.replace(f"{{{name}}}", NONE_IN_PATH if given is None else quote(given, safe=""))
        if operation.method in ("GET", "DELETE"):
            left = {name: value for name, value in left.items() if value is not None}
            answer = who.handle.call(operation.method, path + (f"?{urlencode(left, doseq=True)}" if left else ""))
        else:
            answer = who.handle.call(operation.method, path, left)
        if answer.status < 400:
            return Outcome(answer.status, body=answer.body)
        error = answer.error
        return Outcome(answer.status, error["code"], error["message"], error.get("hint"), answer.body)

    def add(self, role: Role, *, admin: bool = False) -> Somebody:
        caller: Caller = self.root.handle
        fields = {"name": (name := unused(self.workspace)), "password": PASSWORD, "admin": admin}
        assert caller.call("POST", "/users", fields).status == 201
        somebody = Somebody(name, role, admin, replace(caller, token=None).log_in(name, PASSWORD))
        self._put(somebody, role)
        return somebody

    def setup_token(self) -> str:
        return "of-another-server"

    @contextmanager
    def as_editor(self, who: Somebody) -> Iterator[Somebody]:
        if who.role in (Role.EDITOR, Role.ADMIN):
            yield who
            return
        self._put(who, Role.EDITOR)
        yield who
        self._put(who, who.role)

    def bearer(self, who: Somebody, token: str) -> Somebody:
        return replace(who, handle=replace(who.handle, token=token))

    def _put(self, who: Somebody, role: Role) -> None:
        caller: Caller = self.root.handle
        path = f"/workspaces/{self.workspace}/members/{who.name}"
        if role is Role.NONE:
            assert caller.call("DELETE", path).status in (204, 404)
        else:
            assert caller.call("PUT", path, {"role": role}).status == 200


def unused(stem: str = "x") -> str:
    """A name that nothing has yet."""
    return f"{stem}-{next(_numbers)}"


class Example:
    """An example of an operation's request, as somebody would send it. What it needs to be about is made when it is asked for."""

    def __init__(
        self,
        door: Door,
        who: Somebody,
        operation: Row,
        secret: Thing | None = None,
        user: str | None = None,
        run: Thing | None = None,
    ) -> None:
        self.door, self.who, self.operation = door, who, operation
        self.noun = operation.name.partition(".")[0]
        self.about_secret = False
        self._secret, self._user, self._run = secret, user, run

    def fields(self, *, everything: bool) -> dict[str, Any]:
        """The fields that have to be there, or all that there are."""
        known = msgspec.structs.fields(self.operation.request)
        return {each.name: self._value(each.name) for each in known if everything or each.required}

    def _value(self, name: str) -> Any:
        find = EXAMPLES.get(f"{self.operation.name}.{name}") or EXAMPLES.get(name)
        if find is None:
            raise LookupError(f"no example for the field '{name}' of {self.operation.name}: add it to tests/example_requests.py")
        return find(self)

    @cached_property
    def thing(self) -> Thing:
        """What the operation is about."""
        if self.noun not in THINGS:
            raise LookupError(f"no example of '{self.noun}': add it to tests/example_requests.py")
        return self.secret if self.noun == "secret" else THINGS[self.noun](self)

    @cached_property
    def secret(self) -> Thing:
        """The secret that the request speaks of."""
        self.about_secret = True
        return self._secret or THINGS["secret"](self)

    @cached_property
    def run(self) -> Thing:
        """A run of whoever asks."""
        if self._run is not None:
            return self._run
        with self.door.as_editor(self.who) as editor:
            steps = [PlannedStep(name="load")]
            return made(self.door, of_run.CREATE, {"pipeline": "training", "stack": "default", "steps": steps}, editor)

    @cached_property
    def account(self) -> str:
        """A service account with an API key `key`."""
        fields = {"name": (name := unused(self.door.workspace)), "role": "viewer"}
        made(self.door, of_service_account.CREATE, fields, self.door.root)
        made(self.door, of_service_account.CREATE_KEY, {"service_account": name, "name": "key"}, self.door.root)
        return name

    @cached_property
    def user(self) -> str:
        """Somebody else."""
        return self._user or self.door.add(Role.VIEWER).name


def made(door: Door, operation: Row, fields: dict[str, Any], who: Somebody) -> Thing:
    """What an operation has made."""
    outcome = door.ask(operation, fields, who)
    assert outcome.status < 300, outcome
    reply = json.loads(outcome.body)
    return Thing(reply.get("id", ""), reply["name"])


def begin_run(door: Door, who: Somebody, *needs: Need) -> tuple[Thing, Somebody]:
    """A run of somebody on the default stack, and the bearer of its token."""
    steps = [PlannedStep(name="load")]
    fields = {"pipeline": "training", "stack": "default", "steps": steps, "needs": list(needs)}
    outcome = door.ask(of_run.CREATE, fields, who)
    assert outcome.status < 300, outcome
    reply = json.loads(outcome.body)
    return Thing(reply["id"], reply["name"]), door.bearer(who, reply["token"])


def make_secret(door: Door, who: Somebody, scope: Scope, name: str = "") -> Thing:
    """A secret of somebody, of two versions, with a value under `k`."""
    with door.as_editor(who) as editor:
        return _secret(door, editor, scope, name or unused("s"))


def _secret(door: Door, who: Somebody, scope: Scope, name: str) -> Thing:
    fields = {"name": name, "values": {"k": SecretText(f"{VALUE}-1")}, "scope": scope}
    thing = made(door, of_secret.CREATE, fields, who)
    return made(door, of_secret.REPLACE, {"id": thing.id, "values": {"k": SecretText(VALUE)}}, who)


def _component(case: Example) -> Thing:
    fields = {"name": unused("c"), "type": KIND, "flavor": "mlflow", "configuration": CONFIGURATION | {"tracking_username": PLAIN}}
    return made(case.door, of_component.CREATE, fields, case.door.root)


def _stack(case: Example) -> Thing:
    parts = {**PARTS, KIND: _component(case).name}
    return made(case.door, of_stack.CREATE, {"name": unused("t"), "components": parts}, case.door.root)


def _flavor(case: Example) -> Thing:
    return made(case.door, of_component.REGISTER_FLAVOR, {"flavor": _new_flavor()}, case.door.root)


def _job(case: Example) -> Thing:
    """One that was just begun, or the one that was in its way."""
    case.door.ask(of_job.VERIFY, {}, case.door.root)
    return Thing(json.loads(case.door.ask(of_job.LIST, {}, case.door.root).body)["items"][0]["id"], "")


def _known_user(case: Example) -> Thing:
    outcome = case.door.ask(of_user.GET, {"name": case.user}, case.door.root)
    return Thing(json.loads(outcome.body)["id"], case.user)


def _seen(case: Example) -> str:
    """What stands for the default stack as the caller sees it."""
    outcome = case.door.ask(of_approval.REVIEW, {"stack": "default"}, case.who)
    return str(json.loads(outcome.body)["seen"]) if outcome.status == 200 else "0" * 64


def _new_flavor() -> Flavor:
    return Flavor(name=unused("f"), type=KIND, source="flavors:Own")


CONFIGURATION = {"tracking_password": PLAIN}
KIND = ComponentType.EXPERIMENT_TRACKER
PARTS = {ComponentType.ORCHESTRATOR: "default", ComponentType.ARTIFACT_STORE: "default"}

THINGS: dict[str, Callable[[Example], Thing]] = {
    "api-key": lambda case: Thing("", "key"),
    "component": _component,
    "flavor": _flavor,
    "job": _job,
    "run": lambda case: case.run,
    "secret": lambda case: _secret(case.door, case.door.root, Scope.WORKSPACE, unused("s")),
    "service-account": lambda case: Thing("", case.account),
    "stack": _stack,
    "user": _known_user,
    "workspace": lambda case: Thing("", case.door.workspace),
}
"""What operations are about, by the first word of their names."""

_NEW: Callable[[Example], Any] = lambda case: unused(case.door.workspace)  # noqa: E731

EXAMPLES: dict[str, Callable[[Example], Any]] = {
    "account": lambda case: None,  # that is an administrator's
    "activate": lambda case: False,
    "actor": lambda case: case.who.name,
    "admin": lambda case: False,
    "after": lambda case: 0,
    "api-key.create.name": _NEW,
    "cache_key": lambda case: "c" * 64,
    "cached_from": lambda case: case.run.id,
    "component.create.name": _NEW,
    "component.update.name": _NEW,
    "components": lambda case: PARTS,
    "configuration": lambda case: CONFIGURATION,
    "connector": lambda case: None,  # or a stack
    "created": lambda case: ["gt:2020-01-01T00:00:00Z"],
    "current": lambda case: SecretText(PASSWORD),
    "deep": lambda case: False,
    "delete_secrets": lambda case: False,
    "description": lambda case: "for the tests",
    "error": lambda case: "it failed",
    "expires_at": lambda case: datetime(2100, 1, 1, tzinfo=UTC),
    "flavor": lambda case: "mlflow",
    "flavor.register.flavor": lambda case: _new_flavor(),
    "id": lambda case: case.thing.id,
    "former": lambda case: RunStatus.PENDING,
    "if_version": lambda case: 2,
    "ignore_errors": lambda case: True,
    "label": lambda case: ["team=ml"],
    "labels": lambda case: {"team": "ml"},
    "mark": lambda case: "0" * 64,
    "metadata": lambda case: {"rows": 1},
    "name": lambda case: case.thing.name,
    "needs": lambda case: [Need(case.secret.name, "k"), Need("absent")],
    "new": lambda case: SecretText(PASSWORD),
    "number": lambda case: 0,
    "operation": lambda case: "secret.create",
    "outcome": lambda case: "ok",
    "outputs": lambda case: [],  # outputs belong to a step that has completed
    "owner": lambda case: case.who.name,
    "page": lambda case: 1,
    "parameters": lambda case: {"rows": 1},
    "password": lambda case: SecretText(PASSWORD),
    "pipeline": lambda case: "training",
    "reads": lambda case: [SecretRead(secret_id=case.secret.id, secret=case.secret.name, version=1, key="k")],
    "references": lambda case: [Reference(case.secret.name, "k"), Reference(case.secret.name, "absent")],
    "remove": lambda case: ["tracking_username"],
    "repair": lambda case: False,
    "role": lambda case: "viewer",
    "run.create.name": _NEW,
    "run.finish.status": lambda case: RunStatus.COMPLETED,
    "run_id": lambda case: case.run.id,
    "scope": lambda case: Scope.USER,
    "secret.create.name": lambda case: case.secret.name if case._secret else unused("s"),
    "secret.update.name": lambda case: unused("s"),
    "seen": _seen,
    "service-account.create.name": _NEW,
    "service_account": lambda case: case.account,
    "shared_cache": lambda case: True,
    "since": lambda case: datetime(2020, 1, 1, tzinfo=UTC),
    "size": lambda case: 5,
    "sort_by": lambda case: "desc:created",
    "stack": lambda case: "default",
    "stack.create.name": _NEW,
    "stack_state": lambda case: None,
    "stack.update.name": _NEW,
    "status": lambda case: RunStatus.RUNNING,
    "step": lambda case: "load",
    "steps": lambda case: [PlannedStep(name="load")],
    "target": lambda case: "s",
    "target_id": lambda case: case.who.name,
    "token": lambda case: SecretText(case.door.setup_token()),
    "trusts_administrators": lambda case: True,
    "type": lambda case: KIND,
    "until": lambda case: datetime(2100, 1, 1, tzinfo=UTC),
    "updated": lambda case: ["gt:2020-01-01T00:00:00Z"],
    "use": lambda case: None,
    "user": lambda case: case.user,
    "user.create.name": _NEW,
    "user.set-up.username": _NEW,
    "username": lambda case: case.who.name,
    "values": lambda case: {"k": SecretText(f"{VALUE}-2")},
    "version": lambda case: 1,
    "workspace.create.name": _NEW,
}
"""What a field holds in an example, by its name or by its operation's and its own."""
