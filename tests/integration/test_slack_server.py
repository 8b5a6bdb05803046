"""The fake of Slack, as the official client sees it."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from tests.canary import CANARY
from tests.fakes.slack import SlackServer


def failure_of(call: Callable[[], object]) -> SlackApiError:
    """The error of a call, which does not hold the token."""
    with pytest.raises(SlackApiError) as caught:
        call()
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize("channel", [SlackServer.channel, f"#{SlackServer.channel_name}"])
def test_a_message_is_posted(slack_server: SlackServer, channel: str) -> None:
    """With the right token the client says who it is, and posts to a channel by its id or its name."""
    client = WebClient(slack_server.token, base_url=slack_server.url)
    assert client.auth_test()["user"] == "bot"
    posted = client.chat_postMessage(channel=channel, text="The training is done.")
    assert posted["channel"] == slack_server.channel
    assert [(message["channel"], message["text"]) for message in slack_server.messages] == [(channel, "The training is done.")]


@pytest.mark.parametrize(("token", "code"), [(f"{CANARY}-wrong", "invalid_auth"), (None, "not_authed")], ids=["wrong", "none"])
def test_a_wrong_token_is_refused(slack_server: SlackServer, token: str | None, code: str) -> None:
    """A wrong token and a missing one have codes of their own, and nothing is posted."""
    client = WebClient(token, base_url=slack_server.url)
    assert failure_of(client.auth_test).response["error"] == code
    assert failure_of(lambda: client.chat_postMessage(channel=slack_server.channel, text="x")).response["error"] == code
    assert slack_server.messages == []


def test_an_unknown_channel_is_refused(slack_server: SlackServer) -> None:
    """A channel that the workspace does not have is `channel_not_found`."""
    client = WebClient(slack_server.token, base_url=slack_server.url)
    assert failure_of(lambda: client.chat_postMessage(channel="#nowhere", text="x")).response["error"] == "channel_not_found"


def test_too_many_requests_are_refused(slack_server: SlackServer) -> None:
    """A limited request is a 429 that says how long to wait; the next one passes."""
    slack_server.limit_next(30)
    client = WebClient(slack_server.token, base_url=slack_server.url)
    response = failure_of(client.auth_test).response
    assert (response.status_code, response["error"], response.headers["Retry-After"]) == (429, "ratelimited", "30")
    client.auth_test()
