"""Approvals: users, and administrators for service accounts, look at what components of others take, and agree to it."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection

from strongroom.auth.actor import Actor
from strongroom.auth.policy import allows
from strongroom.db.clock import now
from strongroom.errors import Forbidden, InvalidInput, NotFound, StaleVersion, printable
from strongroom.metadata import approval as index
from strongroom.metadata import identity
from strongroom.metadata.approval import ApprovalRow
from strongroom.models.approval import Approve, GetReview, Review
from strongroom.models.component import GetComponent
from strongroom.models.flavor import ComponentType
from strongroom.models.stack import ComponentUse
from strongroom.operations.permission import Permission
from strongroom.service.component import named_component
from strongroom.service.deployment import Deployment
from strongroom.service.revision import Document, Reviewed, Revisions
from strongroom.service.stack import component_use, named_stack


class ApprovalService:
    """Reviews stacks and service connectors, approves what waits, and hands out components that may be used. Thread-safe."""

    def __init__(self, deployment: Deployment, revisions: Revisions) -> None:
        self._database, self._revisions = deployment.database, revisions

    def review(self, actor: Actor, request: GetReview) -> Review:
        """What the stack or connector takes of the actor, or of a service account. `NotFound`, `Forbidden`, `InvalidInput`."""
        with self._database.snapshot() as connection:
            user = _user(connection, actor, request.account)
            reviewed = self._reviewed(connection, user, request)
            return reviewed.shown(user.user_id, request.account)

    def approve(self, actor: Actor, request: Approve) -> Review:
        """Approves all that waits in the review that was seen, in one transaction; the review as it is then.

        `StaleVersion` when something is not as it was seen. `Forbidden` for service accounts, and for others than administrators of
        the workspace who approve for one. `NotFound`, `InvalidInput`.
        """
        wanted = GetReview(stack=request.stack, connector=request.connector, account=request.account)
        with self._database.write() as connection:
            user = _user(connection, actor, request.account)
            reviewed = self._reviewed(connection, user, wanted)
            if request.account is None and index.is_service_account(connection, actor.user_id):
                command = "stack" if reviewed.is_stack else "service-connector"
                raise Forbidden(
                    "an administrator of the workspace approves for a service account",
                    hint=f"strongroom {command} approve {reviewed.name} --for {actor.name}",
                )
            if reviewed.shown(user.user_id, request.account).seen != request.seen:
                raise StaleVersion("what is approved was changed since it was looked at", hint="look at it again")
            for subject in reviewed.waiting:
                document = msgspec.json.encode(Document(subject.revision.takes, subject.shown)).decode()
                row = ApprovalRow(subject.revision.id, subject.state, document)
                index.put_approval(connection, user.user_id, row, actor.user_id, now())
            return self._reviewed(connection, user, wanted).shown(user.user_id, request.account)

    def use_component(self, actor: Actor, request: GetComponent) -> ComponentUse:
        """What it takes to use a component by itself: its attributes as stored, and its flavor. `NotFound`, `ApprovalNeeded`."""
        with self._database.snapshot() as connection:
            row = named_component(connection, actor, request.type, request.name)
            reviewed = self._revisions.review_component(connection, actor, row)
            self._revisions.require(connection, actor, reviewed)
            return msgspec.structs.replace(component_use(connection, actor, row), state=reviewed.state)

    def _reviewed(self, connection: Connection, user: Actor, request: GetReview) -> Reviewed:
        if request.stack is not None and request.connector is not None:
            raise InvalidInput("a review is of a stack or of a service connector", hint="give one of the names")
        if request.connector is not None:
            row = named_component(connection, user, ComponentType.SERVICE_CONNECTOR, request.connector)
            return self._revisions.review_component(connection, user, row)
        return self._revisions.review_stack(connection, user, named_stack(connection, user, request.stack))


def _user(connection: Connection, actor: Actor, account: str | None) -> Actor:
    """The actor, or a service account of the workspace for one who administers that. `Forbidden`, `NotFound`."""
    if account is None:
        return actor
    if not allows(actor.role, Permission.MEMBER_MANAGE):
        raise Forbidden("this needs the administration of the workspace", hint="ask an administrator of the workspace")
    row = identity.find_service_account(connection, actor.workspace_id, account)
    if row is None:
        raise NotFound(f"there is no service account '{printable(account)}'", hint="see them with: strongroom service-account list")
    return msgspec.structs.replace(actor, user_id=row.id, name=row.name)
