"""What the event of each operation tells: generated from the table of operations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import asdict

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.config import Settings
from strongroom.errors import StrongroomError
from strongroom.models.audit_event import AuditEvent, ListAuditEvents
from strongroom.models.reference import Need, Reference, ResolveReferences
from strongroom.models.secret import Scope
from strongroom.models.user import Login
from strongroom.operations import audit as of_audit
from strongroom.operations import run as of_run
from strongroom.operations import secret as of_secret
from strongroom.operations import service_account as of_service_account
from strongroom.operations import user as of_user
from strongroom.operations import workspace as of_workspace
from strongroom.operations.all import ALL_OPERATIONS
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.accounts import PASSWORD
from tests.canary import CANARY
from tests.example_requests import Dispatching, Example, begin_run, make_secret

ABOUT_MANY = {"audit.verify", "info.get", "secret.check", "user.who-am-i", "workspace.list"}
"""Operations that are about nothing by name, beside all lists."""

WITHOUT_ACTOR = {of_user.LOGIN, of_user.SET_UP}


def newest(service: Service, operation: str, count: int = 1) -> list[AuditEvent]:
    page = service.dispatcher.call(of_audit.LIST, ListAuditEvents(operation=operation, size=count), service.local_actor)
    return list(page)


@pytest.mark.parametrize("operation", [row for row in ALL_OPERATIONS if row is not of_user.SET_UP], ids=lambda row: row.name)
def test_every_event_tells_who_where_what_and_how(local_settings: Settings, operation: Any) -> None:
    """Actor, workspace, target, the names of the fields that were set, and the outcome; and no value."""
    service = Service(replace(local_settings, audit="all"))
    try:
        door = Dispatching(service)
        who, other = door.add(Role.ADMIN, admin=True), door.add(Role.VIEWER).name
        secret = make_secret(door, who, Scope.WORKSPACE) if operation in (of_secret.UPDATE, of_secret.GET_BY_NAME) else None
        fields = Example(door, who, operation, secret, other).fields(everything=operation.method in ("PATCH", "POST"))
        if operation is of_secret.CREATE:
            fields["name"] = "fresh"
        outcome = door.ask(operation, fields, who)
        events = newest(service, operation.name, 2)
        [event, *_] = [each for each in events if each.outcome == "ok"] or events
        if operation not in WITHOUT_ACTOR:
            assert (event.actor, event.workspace != "", event.actor_id != "") == (who.name, True, True)
        assert event.outcome == ("ok" if outcome.status < 300 else outcome.code)
        assert outcome.status < 300 or operation.name.startswith(("audit.acknowledge", "store.", "job.", "user.login", "stack."))
        about_many = operation.name in ABOUT_MANY or operation.response.__name__ == "Page"
        if outcome.status < 300 and not about_many:
            assert event.target or event.target_id
        in_path = [name for name in fields if f"{{{name}}}" in operation.path]
        if not operation.reads and outcome.status < 300:
            about = {operation.audited.target, operation.audited.target_id, "former", *in_path}
            told = {name for name in fields if fields[name] not in (None, UNSET, {}, []) and name not in about}
            assert set(event.changed) == told
        assert CANARY not in repr(asdict(event))
    finally:
        service.close()


def test_events_about_members_and_accounts(local_service: Service) -> None:
    """Members: their workspace, user and role. API keys: their account. Users: what was changed."""
    door = Dispatching(local_service)
    root, user = door.root, door.add(Role.VIEWER).name
    door.ask(of_workspace.CREATE, {"name": "vision"}, root)
    door.ask(of_workspace.PUT_MEMBER, {"name": "vision", "user": user, "role": "editor"}, root)
    [event] = newest(local_service, "workspace.put-member")
    assert (event.workspace, event.target, event.detail, event.changed) == ("vision", user, "role=editor", ("role",))
    door.ask(of_workspace.REMOVE_MEMBER, {"name": "vision", "user": user}, root)
    [event] = newest(local_service, "workspace.remove-member")
    assert (event.workspace, event.target) == ("vision", user)
    door.ask(of_service_account.CREATE, {"name": "robot", "role": "viewer"}, root)
    for operation in (of_service_account.CREATE_KEY, of_service_account.DELETE_KEY):
        door.ask(operation, {"service_account": "robot", "name": "key"}, root)
        [event] = newest(local_service, operation.name)
        assert (event.target, event.detail) == ("key", "service_account=robot")
    [user_id] = [row.id for row in local_service.dispatcher.call(of_user.LIST, of_user.LIST.request(name=user), root.handle)]
    door.ask(of_user.UPDATE, {"id": user_id, "password": SecretText(PASSWORD), "admin": True}, root)
    [event] = newest(local_service, "user.update")
    assert (event.target, event.changed, event.detail) == (user, ("admin", "password"), "admin=true")


def test_failed_logins_tell_the_user_if_there_is_one(local_service: Service) -> None:
    """By id; what was typed in the place of a name is not told."""
    door = Dispatching(local_service)
    name = door.add(Role.VIEWER).name
    for typed, known in ((name, True), (f"{CANARY}-typed", False)):
        request = Login(username=typed, password=SecretText("wrong"))
        with pytest.raises(StrongroomError):
            local_service.dispatcher.call(of_user.LOGIN, request, Actor.anonymous("192.0.2.7"))
        [event] = newest(local_service, "user.login")
        assert (event.target, event.target_id != "", event.outcome) == ("", known, "unauthenticated")


def test_a_refused_resolution_is_no_success(local_settings: Settings) -> None:
    """What a run token asks for and was not granted is forbidden; what is not there is not found."""
    service = Service(replace(local_settings, audit="all"))
    try:
        door = Dispatching(service)
        granted, other = (make_secret(door, door.root, Scope.WORKSPACE) for _ in range(2))
        _, bearer = begin_run(door, door.root, Need(granted.name, "k"))
        references = [Reference(granted.name, "k"), Reference(other.name, "k")]
        service.dispatcher.call(of_secret.RESOLVE, ResolveReferences(references=references), bearer.handle)
        refused, read = newest(service, "secret.resolve", 2)
        assert (read.outcome, read.target) == ("ok", granted.name)
        assert (refused.outcome, refused.target, refused.detail) == ("forbidden", "", "1 reference: not_granted")
        assert newest(service, of_run.CREATE.name)[0].detail == "pipeline=training, stack=default"
    finally:
        service.close()
