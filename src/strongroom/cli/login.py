"""`strongroom login`, `logout` and `status`: which server the commands work with."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command, HintedUsageError
from strongroom.cli.output import local_time, output_option, plain, say, show_data, show_fields
from strongroom.cli.prompts import ask, ask_hidden, read_credential
from strongroom.credential_text import strip_credential

if TYPE_CHECKING:
    from strongroom.redaction import SecretText


@click.command("login", cls=Command)
@click.argument("url", metavar="URL")
@click.option("--username", metavar="NAME", help="Who you are.  [default: asked]")
@click.option("--password", metavar="-", help="`-` reads the password from standard input.  [default: asked, hidden]")
@click.option("--api-key", metavar="-", help="`-` reads an API key of a service account from standard input, instead of a password.")
@click.option("--setup-token", metavar="-", help="`-` reads the token that a new server shows, to make its first administrator.")
def login(url: str, username: str | None, password: str | None, api_key: str | None, setup_token: str | None) -> None:
    """Log in to a server, for this and all later commands.

    The token is kept in a file that only you can read. A secret on the command line would be seen by others, so these options take
    `-` alone: a line of standard input each, the set-up token before the password.
    """
    ctx = click.get_current_context()
    for name, given in (("--password", password), ("--api-key", api_key), ("--setup-token", setup_token)):
        if given not in (None, "-"):
            raise HintedUsageError(f"{name} takes - alone", "the process list shows what stands here; it is read from stdin", ctx)
    if api_key and (username or password or setup_token):
        raise HintedUsageError("an API key says who you are", "leave the other options out", ctx)
    from strongroom.client.login import log_in, log_in_with_key, set_up
    from strongroom.client.transports.remote import check_url
    from strongroom.config import read_settings
    from strongroom.redaction import SecretText

    settings = read_settings()
    check_url(url, insecure=settings.insecure)
    if api_key:
        identity = log_in_with_key(settings, url, _line("API key", api_key))
    else:
        token = _line("Set-up token", setup_token) if setup_token else None
        username = username or ask("User name")
        if token is not None:
            chosen = _line("New password", password)
            if password is None and sys.stdin.isatty() and chosen != SecretText(ask_hidden("The same again")):
                raise click.ClickException("the passwords differ; nothing was changed")
            identity = set_up(settings, url, token, username, chosen)
        else:
            identity = log_in(settings, url, username, _line("Password", password))
    say(f"Logged in at {url} as '{identity.name}', in workspace '{identity.workspace}'.")
    if settings.server_url or settings.api_key:
        say("warning: STRONGROOM_SERVER_URL and STRONGROOM_API_KEY, where they are set, come before this login")


@click.command("logout", cls=Command)
def logout() -> None:
    """End the login: its token is dead, and commands work with the embedded store again."""
    from strongroom.client.login import log_out
    from strongroom.config import read_settings

    url = log_out(read_settings())
    say("You were not logged in." if url is None else f"Logged out of {url}.")


@click.command("status", cls=Command)
@output_option
def status(output: str | None) -> None:
    """Show which server or store commands work with, as whom, and whether it answers."""
    from strongroom.client.login import status as ask_status
    from strongroom.config import read_settings

    found = ask_status(read_settings())
    if output in ("json", "yaml"):
        show_data(plain(found), output)
    else:
        fields = {name: value for name, value in plain(found).items() if value is not None}
        if found.expires:
            fields["expires"] = local_time(found.expires)
        show_fields({"server": "none: the embedded store of this machine"} | fields, output)
    if found.problem:
        raise click.exceptions.Exit(1)


def _line(question: str, given: str | None) -> SecretText:
    """A secret line, from standard input or asked hidden."""
    from strongroom.redaction import SecretText

    if given is None:
        answer = ask_hidden(question)
        return SecretText(answer if sys.stdin.isatty() else strip_credential(answer))
    return SecretText(read_credential(question))
