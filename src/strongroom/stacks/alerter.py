"""Alerters: messages to people."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from strongroom.errors import NotFound, StrongroomError, Unauthenticated, Unavailable
from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


class Alerter(Component):
    """Sends messages."""

    type = ComponentType.ALERTER

    @abstractmethod
    def post(self, message: str) -> None:
        """Sends the message. `Unauthenticated`, `Unavailable`, `NotFound` for whom it was meant."""


class SlackAlerter(Alerter):
    """Posts to a Slack channel."""

    flavor = "slack"

    def post(self, message: str) -> None:
        """Posts the message to the channel."""
        web, errors = self.needed("slack_sdk.web"), self.needed("slack_sdk.errors")
        given = {"base_url": f"{self.config.base_url.rstrip('/')}/"} if self.config.base_url else {}
        client = web.WebClient(token=self.config.slack_token, timeout=30, **given)
        try:
            client.chat_postMessage(channel=self.config.channel, text=message)
        except errors.SlackApiError as error:
            raise self._error(error.response) from error
        except OSError as error:
            raise Unavailable(f"{self.title}: Slack does not answer", hint="check base_url and the network") from error

    def _error(self, response: Any) -> StrongroomError:
        code = str(response.get("error", "unknown")) if hasattr(response, "get") else "unknown"
        if code in ("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"):
            return Unauthenticated(f"{self.title}: Slack refused the token", hint="check slack_token and the secret it refers to")
        if code in ("channel_not_found", "not_in_channel", "is_archived"):
            return NotFound(f"{self.title}: Slack says {code}", hint="check the channel, and invite the bot to it")
        return Unavailable(f"{self.title}: Slack says {code}", hint="try again later")
