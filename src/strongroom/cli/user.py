"""`strongroom user`: who can log in to the server."""

from __future__ import annotations

import click

from strongroom.cli.client import open_client
from strongroom.cli.command import Group, HintedUsageError
from strongroom.cli.output import local_time, output_option, paging_options, plain, say, say_page, show_data, show_fields, show_table
from strongroom.cli.prompts import confirm, read_secret

password_option = click.option("--password", metavar="-", help="Read the password from standard input, instead of asking for it.")


@click.group("user", cls=Group, short_help="Add and change the people who can log in.")
def user() -> None:
    """Add and change the people who can log in. For administrators of the server."""


@user.command("create")
@click.argument("name")
@click.option("--admin", is_flag=True, help="They administer the server.")
@password_option
@output_option
def create(name: str, admin: bool, password: str | None, output: str | None) -> None:
    """Add a user, who can log in and belongs to no workspace yet."""
    with open_client() as client:
        made = client.create_user(name, read_secret("--password", password, f"Password of '{name}'", again=True), admin=admin)
    say(f"Created user '{made.name}'. Add them to a workspace with: strongroom workspace member add {made.name} --role ROLE")
    if output:
        show_fields(plain(made), output)


@user.command("list")
@click.option("--name", metavar="FILTER", help="A name, or startswith:, contains:, endswith:, oneof: and a text.")
@paging_options
@output_option
def list_(name: str | None, page: int, size: int, output: str | None) -> None:
    """List users."""
    with open_client() as client:
        found = client.list_users(name=name, page=page, size=size)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["name", "admin", "active", "created"],
        [[item.name, "yes" if item.admin else "", "yes" if item.active else "no", local_time(item.created)] for item in found],
    )
    say_page(found, "user")


list_.name = "list"


@user.command("describe")
@click.argument("name")
@output_option
def describe(name: str, output: str | None) -> None:
    """Show a user."""
    with open_client() as client:
        show_fields(plain(client.get_user(name)), output)


@user.command("update")
@click.argument("name")
@click.option("--admin/--no-admin", default=None, help="Whether they administer the server.")
@click.option("--new-password", "renew", is_flag=True, help="Ask for another password.")
@password_option
@output_option
def update(name: str, admin: bool | None, renew: bool, password: str | None, output: str | None) -> None:
    """Give a user another password, or another say over the server. All their logins end."""
    if admin is None and not renew and password is None:
        raise HintedUsageError("there is nothing to change", "give --new-password, --password=-, --admin or --no-admin")
    new = read_secret("--password", password, f"New password of '{name}'", again=True) if renew or password else None
    with open_client() as client:
        changed = client.update_user(name, password=new, admin=admin)
    say(f"Updated user '{changed.name}'; their logins have ended.")
    if output:
        show_fields(plain(changed), output)


@user.command("deactivate")
@click.argument("name")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def deactivate(name: str, yes: bool) -> None:
    """End all that a user can do. Their secrets stay; a new password (user update) lets them in again."""
    with open_client() as client:
        found = client.get_user(name)
        if not yes and not confirm(f"Deactivate user '{found.name}', id {found.id}?"):
            say("Nothing was changed.")
            raise click.exceptions.Exit(1)
        client.deactivate_user(found.name)
    say(f"Deactivated user '{found.name}'.")


@user.command("password")
def password() -> None:
    """Give yourself another password. Your other logins end."""
    current = read_secret("", None, "Current password")
    new = read_secret("", None, "New password", again=True)
    with open_client() as client:
        client.change_password(current, new)
    say("Your password is changed; your other logins have ended.")
