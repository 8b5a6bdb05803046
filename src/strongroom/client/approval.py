"""The client's methods on approvals."""

from __future__ import annotations

from strongroom.client.transports.base import Transport
from strongroom.config import Settings
from strongroom.models.approval import Approve, GetReview, Review
from strongroom.operations import approval as operations


class ApprovalClient:
    """What components of other users take of one: review it, approve it."""

    _transport: Transport
    settings: Settings

    def review(self, *, stack: str | None = None, connector: str | None = None, account: str | None = None) -> Review:
        """What the stack of this name (else the active one) or the service connector takes of the caller, or of a service account.

        `NotFound`; `Forbidden` for an account where one does not administer the workspace.
        """
        if stack is None and connector is None:
            stack = self.settings.active_stack
        return self._transport.call(operations.REVIEW, GetReview(stack=stack, connector=connector, account=account))

    def approve(self, review: Review, *, connector: bool = False) -> Review:
        """Approves all that waits in a review of a stack, or with `connector` of a service connector; the review as it is then.

        `StaleVersion` when something was changed since.
        """
        named = {"connector": review.name} if connector else {"stack": review.name}
        return self._transport.call(operations.APPROVE, Approve(seen=review.seen, account=review.account, **named))
