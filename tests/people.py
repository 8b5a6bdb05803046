"""Users at work on a service, each as themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import insert

from strongroom.auth.actor import Actor
from strongroom.auth.policy import Role
from strongroom.db.clock import now
from strongroom.db.identifiers import new_id
from strongroom.db.tables import users, workspaces
from strongroom.errors import StrongroomError
from strongroom.models.page import Page
from strongroom.models.secret import (
    CreateSecret,
    DeleteSecret,
    GetSecret,
    GetSecretByName,
    ListSecrets,
    ListSecretVersions,
    RollbackSecret,
    Scope,
    Secret,
    SecretVersion,
    UpdateSecret,
)
from strongroom.operations import secret as operations
from strongroom.operations.operation import Operation, Request, Response
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service


@dataclass(frozen=True)
class Person:
    """Asks the service's dispatcher for operations as one actor."""

    service: Service
    actor: Actor

    def ask(self, operation: Operation[Request, Response], request: Request) -> Response:
        """Any operation."""
        return self.service.dispatcher.call(operation, request, self.actor)

    def create(self, name: str, values: Mapping[str, str], scope: Scope = Scope.WORKSPACE, **fields: Any) -> Secret:
        request = CreateSecret(name=name, values={key: SecretText(value) for key, value in values.items()}, scope=scope, **fields)
        return self.service.dispatcher.call(operations.CREATE, request, self.actor)

    def get(self, secret_id: str, version: int | None = None) -> Secret:
        return self.service.dispatcher.call(operations.GET, GetSecret(id=secret_id, version=version), self.actor)

    def get_by_name(self, name: str, scope: Scope | None = None, version: int | None = None) -> Secret:
        request = GetSecretByName(name=name, scope=scope, version=version)
        return self.service.dispatcher.call(operations.GET_BY_NAME, request, self.actor)

    def get_metadata(self, secret_id: str, version: int | None = None) -> Secret:
        return self.service.dispatcher.call(operations.GET_METADATA, GetSecret(id=secret_id, version=version), self.actor)

    def get_metadata_by_name(self, name: str, scope: Scope | None = None) -> Secret:
        return self.service.dispatcher.call(operations.GET_METADATA_BY_NAME, GetSecretByName(name=name, scope=scope), self.actor)

    def list(self, **filters: Any) -> Page[Secret]:
        return self.service.dispatcher.call(operations.LIST, ListSecrets(**filters), self.actor)

    def update(self, secret_id: str, values: Mapping[str, str | None] | None = None, **fields: Any) -> Secret:
        changes = UNSET if values is None else {key: None if text is None else SecretText(text) for key, text in values.items()}
        return self.service.dispatcher.call(operations.UPDATE, UpdateSecret(id=secret_id, values=changes, **fields), self.actor)

    def delete(self, secret_id: str) -> None:
        self.service.dispatcher.call(operations.DELETE, DeleteSecret(id=secret_id), self.actor)

    def versions(self, secret_id: str) -> Page[SecretVersion]:
        return self.service.dispatcher.call(operations.LIST_VERSIONS, ListSecretVersions(id=secret_id), self.actor)

    def rollback(self, secret_id: str, version: int) -> Secret:
        return self.service.dispatcher.call(operations.ROLLBACK, RollbackSecret(id=secret_id, version=version), self.actor)

    def as_role(self, role: Role) -> Person:
        """The same person with another role."""
        return replace(self, actor=msgspec.structs.replace(self.actor, role=role))


def together(count: int, attempt: Callable[[int], object]) -> list[object]:
    """What each of so many threads gets that begin at once: a result, or the class of the error."""
    ready = threading.Barrier(count)

    def one(number: int) -> object:
        ready.wait(60)
        try:
            return attempt(number)
        except StrongroomError as error:
            return type(error)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def add_person(service: Service, name: str, *, role: Role = Role.EDITOR, workspace: str | None = None) -> Person:
    """Adds a user, in the default workspace or in a new one, and gives them to work with."""
    local = service.deployment.local_actor
    user_id, workspace_id = new_id(), local.workspace_id
    with service.deployment.database.write() as connection:
        connection.execute(insert(users).values(id=user_id, name=name, admin=False, created=now()))
        if workspace is not None:
            workspace_id = new_id()
            connection.execute(insert(workspaces).values(id=workspace_id, name=workspace, created=now()))
    return Person(service, Actor(user_id, name, workspace_id, workspace or local.workspace, role))
