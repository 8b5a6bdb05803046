"""Users of a server at work: logging in and asking for operations."""

from __future__ import annotations

from typing import Any

from strongroom.auth.actor import Actor
from strongroom.models.user import CreateUser, Login
from strongroom.models.workspace import PutMember
from strongroom.operations import user as operations
from strongroom.operations import workspace as of_workspace
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.canary import CANARY

PASSWORD = f"{CANARY}-password"
OTHER = f"{CANARY}-another"


def call(service: Service, operation: Any, request: Any, actor: Actor | None = None) -> Any:
    return service.dispatcher.call(operation, request, actor or Actor.anonymous())


def log_in(service: Service, name: str, password: str = PASSWORD, address: str = "") -> str:
    request = Login(username=name, password=SecretText(password))
    token: str = call(service, operations.LOGIN, request, Actor.anonymous(address)).access_token.reveal()
    return token


def add_user(service: Service, root: Actor, name: str, role: str | None = None, *, admin: bool = False) -> Actor:
    call(service, operations.CREATE, CreateUser(name=name, password=SecretText(PASSWORD), admin=admin), root)
    if role:
        call(service, of_workspace.PUT_MEMBER, PutMember(name="default", user=name, role=role), root)
    return service.identities.authenticate(log_in(service, name))
