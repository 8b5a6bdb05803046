"""`strongroom workspace`: teams and who belongs to them."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from strongroom.cli.client import open_client
from strongroom.cli.command import Group
from strongroom.cli.output import local_time, output_option, paging_options, plain, say, say_page, show_data, show_fields, show_table
from strongroom.cli.prompts import confirm

ROLES = click.Choice(["viewer", "reader", "editor", "admin"])


@click.group("workspace", cls=Group)
def workspace() -> None:
    """Make workspaces, choose one, say who belongs to them.

    Secrets, stacks and runs belong to a workspace. Its members see them by their roles: a viewer sees metadata, a reader also values,
    an editor also changes them, an admin also says who belongs to it.
    """


def _complete_workspace(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from strongroom.errors import StrongroomError

    try:
        with open_client() as client:
            page = client.list_workspaces(size=1000)
    except StrongroomError:
        return []
    return [CompletionItem(item.name) for item in page if item.name.startswith(incomplete)]


@workspace.command("create")
@click.argument("name")
@click.option("--set", "activate", is_flag=True, help="Make it your active workspace.")
@output_option
def create(name: str, activate: bool, output: str | None) -> None:
    """Make a workspace, which you administer. For administrators of the server."""
    with open_client() as client:
        made = client.create_workspace(name)
        if activate:
            made = client.activate_workspace(name)
    say(f"Created workspace '{made.name}'{', your active one now' if activate else ''}.")
    if output:
        show_fields(plain(made), output)


@workspace.command("list")
@paging_options
@output_option
def list_(page: int, size: int, output: str | None) -> None:
    """List the workspaces that you belong to."""
    with open_client() as client:
        found = client.list_workspaces(page=page, size=size)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["name", "active", "your role", "created"],
        [[item.name, "yes" if item.active else "", item.role or "", local_time(item.created)] for item in found],
    )
    say_page(found, "workspace")


list_.name = "list"


@workspace.command("set", short_help="Choose the workspace to work in.")
@click.argument("name", shell_complete=_complete_workspace)
def set_(name: str) -> None:
    """Choose the workspace to work in, here and wherever else you are logged in."""
    with open_client() as client:
        chosen = client.activate_workspace(name)
        overruled = client.settings.active_workspace
    say(f"Your active workspace is '{chosen.name}' now.")
    if overruled and overruled != chosen.name:
        say(f"warning: STRONGROOM_ACTIVE_WORKSPACE is set, so '{overruled}' is used here")


set_.name = "set"


@workspace.command("update", short_help="Change the settings of a workspace.")
@click.argument("name", shell_complete=_complete_workspace)
@click.option("--shared-cache/--no-shared-cache", default=None, help="Take over results from the cache of each other's runs.")
@click.option(
    "--trust-administrators/--no-trust-administrators",
    "trusts_administrators",
    default=None,
    help="Use what administrators of the workspace write without approving it.",
)
@output_option
def update(name: str, shared_cache: bool | None, trusts_administrators: bool | None, output: str | None) -> None:
    """Change the settings of a workspace. For its administrators.

    With a shared cache, whoever may run pipelines in the workspace decides what the steps of all its members load, pickled objects
    included: share it only among people who may run code as each other.

    Members approve what components of others take of theirs: their own secrets, files and the like. With trusted administrators that
    does not go for what an administrator of the workspace wrote last.
    """
    if shared_cache is None and trusts_administrators is None:
        raise click.UsageError("there is nothing to change: give --shared-cache, --trust-administrators, or --no- and one of these")
    with open_client() as client:
        changed = client.update_workspace(name, shared_cache=shared_cache, trusts_administrators=trusts_administrators)
    if shared_cache is not None:
        say(f"Members of workspace '{changed.name}' {'share' if changed.shared_cache else 'do not share'} their cache now.")
    if trusts_administrators is not None:
        trust = "use what its administrators write" if changed.trusts_administrators else "approve what its administrators write"
        say(f"Members of workspace '{changed.name}' {trust} from now on.")
    if output:
        show_fields(plain(changed), output)


@workspace.group("member", cls=Group)
def member() -> None:
    """Say who belongs to a workspace, and as what. For its administrators."""


_in_option = click.option(
    "--workspace", "place", metavar="NAME", shell_complete=_complete_workspace, help="Which one.  [default: the active one]"
)


@member.command("add")
@click.argument("name", metavar="USER")
@click.option("--role", type=ROLES, required=True, help="What they may do there.")
@_in_option
def add(name: str, role: str, place: str | None) -> None:
    """Add somebody to a workspace, or give them another role there."""
    with open_client() as client:
        place = place or client.who_am_i().workspace
        added = client.put_member(place, name, role)
    say(f"'{added.name}' is {'an' if added.role[0] in 'ae' else 'a'} {added.role} of workspace '{place}' now.")


@member.command("list")
@_in_option
@paging_options
@output_option
def list_members(place: str | None, page: int, size: int, output: str | None) -> None:
    """List the members of a workspace."""
    with open_client() as client:
        found = client.list_members(place or client.who_am_i().workspace, page=page, size=size)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["name", "role", "kind"], [[item.name, item.role, "service account" if item.service_account else "user"] for item in found]
    )
    say_page(found, "member")


@member.command("remove")
@click.argument("name", metavar="USER")
@_in_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def remove(name: str, place: str | None, yes: bool) -> None:
    """Take somebody out of a workspace. Their own secrets there stay, unseen."""
    with open_client() as client:
        place = place or client.who_am_i().workspace
        if not yes and not confirm(f"Take '{name}' out of workspace '{place}'?"):
            say("Nothing was changed.")
            raise click.exceptions.Exit(1)
        client.remove_member(place, name)
    say(f"'{name}' does not belong to workspace '{place}' any more.")
