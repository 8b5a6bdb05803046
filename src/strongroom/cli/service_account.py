"""`strongroom service-account` and `strongroom api-key`: identities of machines."""

from __future__ import annotations

import click

from strongroom.cli.client import open_client
from strongroom.cli.command import Group
from strongroom.cli.output import (
    local_time,
    output_option,
    paging_options,
    plain,
    say,
    say_page,
    show_data,
    show_fields,
    show_table,
    write,
)
from strongroom.cli.prompts import confirm
from strongroom.cli.workspace import ROLES


@click.group("service-account", cls=Group, short_help="Add and end identities of machines.")
def service_account() -> None:
    """Add and end identities of machines in the active workspace. For its administrators."""


@service_account.command("create")
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help="What it may do in the workspace.")
@output_option
def create(name: str, role: str, output: str | None) -> None:
    """Add a service account to the active workspace."""
    with open_client() as client:
        made = client.create_service_account(name, role)
    say(f"Created service account '{made.name}' in workspace '{made.workspace}'.")
    say(f"Make a key for it with: strongroom api-key create {made.name} NAME")
    if output:
        show_fields(plain(made), output)


@service_account.command("list")
@paging_options
@output_option
def list_(page: int, size: int, output: str | None) -> None:
    """List the service accounts of the active workspace."""
    with open_client() as client:
        found = client.list_service_accounts(page=page, size=size)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(["name", "role", "created"], [[item.name, item.role, local_time(item.created)] for item in found])
    say_page(found, "service account")


list_.name = "list"


@service_account.command("delete")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """End a service account and all its API keys, at once. Its name stays taken."""
    with open_client() as client:
        if not yes and not confirm(f"End service account '{name}' with all its API keys?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        client.delete_service_account(name)
    say(f"Deleted service account '{name}'.")


@click.group("api-key", cls=Group, short_help="Make and end the API keys of service accounts.")
def api_key() -> None:
    """Make and end the API keys of service accounts. For administrators of the workspace."""


@api_key.command("create")
@click.argument("account", metavar="SERVICE_ACCOUNT")
@click.argument("name")
@click.option("--expires-at", metavar="TIME", help="When it ends, in ISO 8601 with a zone.")
@output_option
def create_key(account: str, name: str, expires_at: str | None, output: str | None) -> None:
    """Make an API key and print it, this once. Use it as STRONGROOM_API_KEY."""
    from strongroom.models.filter import parse_time

    with open_client() as client:
        made = client.create_api_key(account, name, expires_at=None if expires_at is None else parse_time("--expires-at", expires_at))
    key = made.key.reveal() if made.key else ""
    if output in ("json", "yaml"):
        show_data({**plain(made), "key": key}, output)
    else:
        write(key + "\n")
    say(f"Created API key '{made.name}' of '{made.service_account}'. It is shown this once: keep it where it is safe.")


@api_key.command("list")
@click.argument("account", metavar="SERVICE_ACCOUNT")
@output_option
def list_keys(account: str, output: str | None) -> None:
    """List the API keys of a service account, without what is secret of them."""
    with open_client() as client:
        found = client.list_api_keys(account)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    rows = [[item.name, local_time(item.created), local_time(item.expires_at) if item.expires_at else "never"] for item in found]
    show_table(["name", "created", "expires"], rows)


@api_key.command("delete")
@click.argument("account", metavar="SERVICE_ACCOUNT")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete_key(account: str, name: str, yes: bool) -> None:
    """End an API key, at once and everywhere."""
    with open_client() as client:
        if not yes and not confirm(f"End the API key '{name}' of '{account}'?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        client.delete_api_key(account, name)
    say(f"Deleted API key '{name}' of '{account}'.")
