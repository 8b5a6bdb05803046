"""`strongroom service-connector`: the group of a component, with credentials that become secrets, and `verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from strongroom.cli.approval import account_option, yes_option
from strongroom.cli.client import open_client
from strongroom.cli.command import HintedUsageError, KeyValueCommand
from strongroom.cli.component import ATTRIBUTES_HELP, complete_component, component_group, read_attributes, working_folder
from strongroom.cli.output import output_option, plain, say, show_fields, show_line
from strongroom.cli.prompts import ask, confirm

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.models.component import Component

_KIND = "service_connector"
_CREDENTIALS_HELP = """
    Credentials in clear are put into the secret NAME-credentials, and the connector refers to it. Better let strongroom ask for
    them (-i), or hand them over in a file (--ATTRIBUTE=@PATH) or a pipe (--ATTRIBUTE=-).
"""

service_connector = component_group("service-connector")
service_connector.help = "Register and try out logins to services that others run."


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Any:
    return complete_component(_KIND, incomplete)


_name_argument = click.argument("name", shell_complete=_complete)
_values_option = click.option("-v", "--values", "document", metavar="JSON|YAML|@FILE|-", help="Attributes as a mapping.")


@service_connector.command(
    "register",
    cls=KeyValueCommand,
    help=f"Register a service connector under a name. What each type takes: strongroom service-connector flavor describe TYPE.\n"
    f"{_CREDENTIALS_HELP}{ATTRIBUTES_HELP}",
    short_help="Register a service connector under a name.",
)
@click.argument("name")
@click.option("-t", "--type", "-f", "--flavor", "flavor", metavar="TYPE", help="aws, azure, gcp or vault.")
@click.option("--auth-method", metavar="METHOD", help="How to log in.  [default: as the type says]")
@click.option("-i", "--interactive", is_flag=True, help="Ask for the credentials, hidden.")
@_values_option
@output_option
def register(
    name: str,
    flavor: str | None,
    auth_method: str | None,
    interactive: bool,
    document: str | None,
    output: str | None,
    pairs: list[tuple[str, str]],
) -> None:
    """Make the secret and the connector, or neither."""
    from strongroom.client.component import component_type
    from strongroom.stacks.custom import ensure_flavor

    if flavor is None:
        raise HintedUsageError("--type is missing", "one of: aws, azure, gcp, vault")
    attributes = read_attributes(pairs, document)
    if auth_method is not None:
        if "auth_method" in attributes:
            raise HintedUsageError("--auth-method is given twice", "give it once")
        attributes["auth_method"] = auth_method
    with open_client() as client, working_folder():
        ensure_flavor(client, component_type(_KIND), flavor)
        if interactive:
            _ask_attributes(client, flavor, attributes)
        made = client.register_service_connector(name, type=flavor, configuration=attributes)
        secret = client.find_credentials(made)
    kept = f" Its credentials are in secret '{secret.name}'." if secret else ""
    say(f"Registered service connector '{made.name}' of the type '{made.flavor}'.{kept}")
    _show(made, output)


@service_connector.command(
    "update",
    cls=KeyValueCommand,
    help=f"Change attributes of a service connector; the others stay.\n{_CREDENTIALS_HELP}{ATTRIBUTES_HELP}",
    short_help="Change attributes of a service connector.",
)
@_name_argument
@click.option("--auth-method", metavar="METHOD", help="How to log in from now on.")
@click.option("-i", "--interactive", is_flag=True, help="Ask for new credentials, hidden; Enter keeps one.")
@click.option("-r", "--remove", "removed", multiple=True, metavar="ATTRIBUTE", help="Remove an attribute; may be repeated.")
@_values_option
@output_option
def update(
    name: str,
    auth_method: str | None,
    interactive: bool,
    removed: tuple[str, ...],
    document: str | None,
    output: str | None,
    pairs: list[tuple[str, str]],
) -> None:
    """Change the secret and the connector, or neither."""
    if not (pairs or document or removed or auth_method or interactive):
        raise HintedUsageError("there is nothing to change", "give --ATTRIBUTE=VALUE, --auth-method, -i, -v or -r")
    attributes = read_attributes(pairs, document)
    if auth_method is not None:
        attributes["auth_method"] = auth_method
    with open_client() as client:
        if interactive:
            found = client.get_component(_KIND, name)
            known = {**found.configuration, **attributes}
            _ask_attributes(client, found.flavor, known, existing=set(found.configuration) - set(attributes) - set(removed))
            attributes |= {key: value for key, value in known.items() if found.configuration.get(key) != value}
        changed = client.update_service_connector(
            name, configuration=attributes, remove=[attribute.replace("-", "_") for attribute in removed]
        )
    say(f"Updated service connector '{changed.name}'.")
    _show(changed, output)


@service_connector.command("rename")
@_name_argument
@click.argument("new_name", metavar="NEW")
@output_option
def rename(name: str, new_name: str, output: str | None) -> None:
    """Give a service connector another name. No component may name it."""
    with open_client() as client:
        changed = client.update_service_connector(name, new_name=new_name)
    say(f"The service connector is now called '{changed.name}'.")
    _show(changed, output)


@service_connector.command("delete")
@_name_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--with-credentials", is_flag=True, help="Delete the secret that was made for its credentials, too.")
def delete(name: str, yes: bool, with_credentials: bool) -> None:
    """Delete a service connector that no component names."""
    from strongroom.stacks.usage import references_to

    with open_client() as client:
        found = client.get_component(_KIND, name)
        secret = client.find_credentials(found)
        if not yes and not confirm(f"Delete service connector '{found.name}' of the type '{found.flavor}', id {found.id}?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        if secret is not None:
            mine = f"service connector '{found.name}'"
            others = sorted({place.owner for place in references_to(client, secret.name)} - {mine})
            if others:
                say(f"The secret '{secret.name}' stays: {', '.join(others)} refers to it.")
                with_credentials = False
            elif not yes and not with_credentials:
                with_credentials = confirm(f"Delete the secret '{secret.name}' with its credentials, too?")
        client.delete_service_connector(found.id, with_credentials=with_credentials)
    say(f"Deleted service connector '{found.name}'.")
    if secret is not None and with_credentials:
        say(f"Deleted secret '{secret.name}'.")
    elif secret is not None:
        say(f"Its credentials are still there: strongroom secret delete {secret.name}")


@service_connector.command("verify", short_help="Log in, and say as whom.")
@_name_argument
@output_option
def verify(name: str, output: str | None) -> None:
    """Log in from here with the connector's credentials, and say whom the service takes us for.

    Ends with 1 when a secret is missing, the service refuses, or nobody answers.
    """
    with open_client() as client:
        connector = client.service_connector(name)
        try:
            identity = connector.identity()
        finally:
            connector.close()
    if output:
        show_fields({"name": connector.name, "type": connector.flavor, "identity": identity}, output)
    else:
        show_line(identity)


@service_connector.command("approve", short_help="Approve what a connector of another user takes of you.")
@_name_argument
@account_option
@yes_option
@output_option
def approve_(name: str, account: str | None, yes: bool, output: str | None) -> None:
    """Approve a connector that another user wrote and that takes something of yours, such as a file of your machine.

    It shows what that is, and what changed since you approved it last. Until then it is not used for you. For a service account an
    administrator of the workspace approves.
    """
    from strongroom.cli.approval import approve

    with open_client() as client:
        approve(client, client.review(connector=name, account=account), connector=True, yes=yes, output=output)


approve_.name = "approve"


def _ask_attributes(client: Client, flavor: str, attributes: dict[str, Any], existing: set[str] | None = None) -> None:
    """Asks for the authentication method, and for what it takes and is not given: credentials hidden, the rest only if needed."""
    from strongroom.cli.secret_prompts import ask_value
    from strongroom.stacks.service_connector import attributes_of_method, methods_of

    existing = existing or set()
    described = client.get_flavor(_KIND, flavor)
    methods = methods_of(described)
    if methods and "auth_method" not in attributes:
        answer = ask(f"Authentication method: {', '.join(methods)} [{methods[0]}]").strip()
        attributes["auth_method"] = answer or methods[0]
    for attribute, needed in attributes_of_method(described, attributes.get("auth_method")):
        if attribute.name in attributes and attribute.name not in existing:
            continue
        if not (attribute.sensitive or needed) or (attribute.name in existing and not attribute.sensitive):
            continue
        note = ", Enter keeps it" if attribute.name in existing else "" if needed else ", Enter leaves it out"
        while True:
            if attribute.sensitive:
                answer = ask_value(f"Value of '{attribute.name}' (hidden{note})")
            else:
                answer = ask(f"Value of '{attribute.name}'").strip()
            if answer or not needed or attribute.name in existing:
                break
            say("  it is needed")
        if answer:
            attributes[attribute.name] = answer


def _show(shown: Component, output: str | None) -> None:
    if output:
        show_fields(plain(shown), output)
