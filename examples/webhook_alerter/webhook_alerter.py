"""A custom flavor: an alerter that posts messages to a webhook.

Register it by its import path, from this folder:

    strongroom alerter flavor register webhook_alerter:WebhookAlerter

or install this package (`pip install .`): then its entry point makes the flavor known by itself.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from strongroom.errors import Unauthenticated, Unavailable
from strongroom.stacks import Alerter, Attribute, AttributeKind


class WebhookAlerter(Alerter):
    """Posts messages to a webhook, as JSON."""

    flavor = "webhook"
    attributes = (
        Attribute("url", description="the address of the webhook"),
        Attribute("token", default=None, sensitive=True, description="a bearer token"),
        Attribute("timeout", AttributeKind.INTEGER, default=10, description="seconds to wait for an answer"),
    )

    def post(self, message: str) -> None:
        """Posts {"text": message}."""
        request = urllib.request.Request(self.config.url, json.dumps({"text": message}).encode())
        request.add_header("Content-Type", "application/json")
        if self.config.token:
            request.add_header("Authorization", f"Bearer {self.config.token}")
        try:
            with urllib.request.urlopen(request, timeout=self.config.timeout):
                pass
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise Unauthenticated(f"{self.title}: the webhook refused the token", hint="check the secret it refers to") from error
            raise Unavailable(f"{self.title}: the webhook answered {error.code}") from error
        except OSError as error:
            raise Unavailable(f"{self.title}: the webhook does not answer", hint="check its url") from error
