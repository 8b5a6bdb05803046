"""Slack's Web API, as far as an alerter needs it."""

from __future__ import annotations

import itertools
from typing import Any

from tests.fakes.loopback import Answer, LoopbackServer, Request


class SlackServer(LoopbackServer):
    """A workspace with one channel and one bot, for `slack_sdk.WebClient(token, base_url=server.url)`.

    As with Slack, failures are answers with the status 200, `"ok": false` and a code, except for too many requests.
    """

    channel = "C0123456789"
    channel_name = "alerts"

    def __init__(self, token: str) -> None:
        self.token = token
        self._times = itertools.count(1)
        self._refusals: list[int] = []
        self.messages: list[dict[str, Any]] = []
        """What was posted: the fields of each accepted `chat.postMessage`, without the token."""
        super().__init__()
        self.url = f"http://{self.address}/api/"

    def limit_next(self, *seconds: int) -> None:
        """Refuses the next requests, one for each number, and tells the client to wait so many seconds."""
        self._refusals += seconds

    def answer(self, request: Request) -> Answer:
        """The answer of Slack."""
        fields = request.form()
        token_in_body = fields.pop("token", None)
        token = request.bearer_token() or token_in_body
        if self._refusals:
            return Answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(self._refusals.pop(0))})
        if token != self.token:
            return _failure("invalid_auth" if token else "not_authed")
        match request.path:
            case "/api/auth.test":
                return Answer(200, {"ok": True, "url": self.url, "team": "tests", "user": "bot", "team_id": "T0123456789",
                                    "user_id": "U0123456789", "bot_id": "B0123456789"})  # fmt: skip
            case "/api/chat.postMessage":
                return self._post(fields)
            case _:
                return _failure("unknown_method")

    def _post(self, fields: dict[str, Any]) -> Answer:
        if str(fields.get("channel", "")).removeprefix("#") not in (self.channel, self.channel_name):
            return _failure("channel_not_found")
        if not (fields.get("text") or fields.get("blocks") or fields.get("attachments")):
            return _failure("no_text")
        self.messages.append(fields)
        time = f"1700000000.{next(self._times):06}"
        message = {"type": "message", "user": "U0123456789", "ts": time, "text": fields.get("text", "")}
        return Answer(200, {"ok": True, "channel": self.channel, "ts": time, "message": message})


def _failure(code: str) -> Answer:
    return Answer(200, {"ok": False, "error": code})
