"""The Slack alerter, with a token from a secret."""

from __future__ import annotations

import pytest

from strongroom.client import Client
from strongroom.errors import NotFound, Unauthenticated, Unavailable
from strongroom.pipelines import pipeline
from strongroom.steps import StepContext, step
from tests.canary import CANARY
from tests.fakes.slack import SlackServer
from tests.integration.stack import add_to_stack, failing


def register(client: Client, server: SlackServer, *, token: str | None = None, **changes: str) -> None:
    """A stack with an alerter for the fake's channel."""
    client.create_secret("slack", {"token": token or server.token})
    configuration = {"slack_token": "{{slack.token}}", "channel": server.channel, "base_url": server.url, **changes}
    add_to_stack(client, "alerter", "slack", configuration)


@step
def alert(context: StepContext) -> None:
    context.stack.alerter.post("The training is done.")


@pipeline
def alerting() -> None:
    alert()


@pytest.mark.parametrize("channel", [SlackServer.channel, f"#{SlackServer.channel_name}"])
def test_a_step_posts(client: Client, slack_server: SlackServer, channel: str) -> None:
    """A step posts to the channel, by id or name; the record says that it read the token."""
    register(client, slack_server, channel=channel)
    run = alerting()
    assert [(message["channel"], message["text"]) for message in slack_server.messages] == [(channel, "The training is done.")]
    assert [(read.secret, read.key, read.step) for read in run.record.reads] == [("slack", "token", "alert")]


def test_outside_of_a_step(client: Client, slack_server: SlackServer) -> None:
    """`Client().active_stack.alerter` posts as well; an address without a slash at its end will do."""
    register(client, slack_server, base_url=slack_server.url.rstrip("/"))
    Client().active_stack.alerter.post("hello")
    assert [message["text"] for message in slack_server.messages] == ["hello"]


def test_a_wrong_token(client: Client, slack_server: SlackServer) -> None:
    """A wrong token is told from everything else, with what to look at, and not shown."""
    register(client, slack_server, token=f"{CANARY}-wrong")
    with failing(Unauthenticated, "alerter 'slack': Slack refused the token", "slack_token"):
        alerting()
    assert slack_server.messages == []


def test_an_unknown_channel(client: Client, slack_server: SlackServer) -> None:
    """A channel that is not there is `NotFound`, with Slack's word for it."""
    register(client, slack_server, channel="#nowhere")
    with failing(NotFound, "alerter 'slack': Slack says channel_not_found", "check the channel"):
        alerting()


def test_a_slack_that_is_down(client: Client, slack_server: SlackServer) -> None:
    """A Slack that nobody reaches is `Unavailable`."""
    register(client, slack_server)
    slack_server.stop()
    with failing(Unavailable, "alerter 'slack': Slack does not answer", "base_url"):
        alerting()


def test_too_many_messages(client: Client, slack_server: SlackServer) -> None:
    """A limited request is `Unavailable`, and says that it is worth trying again."""
    register(client, slack_server)
    slack_server.limit_next(30)
    with failing(Unavailable, "alerter 'slack': Slack says ratelimited", "try again"):
        alerting()
    alerting()
    assert len(slack_server.messages) == 1


def test_an_address_that_is_none(client: Client, slack_server: SlackServer) -> None:
    """Something else than Slack at the address is `Unavailable`, not an error of a JSON parser."""
    register(client, slack_server, base_url=slack_server.url.replace("/api/", "/elsewhere/"))
    with failing(Unavailable, "alerter 'slack': Slack "):
        alerting()
