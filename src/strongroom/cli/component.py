"""`strongroom TYPE`, one group per type of component: register, list, describe, update, rename, delete, and flavors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from strongroom.cli.client import open_client
from strongroom.cli.command import Command, Group, HintedUsageError, KeyValueCommand
from strongroom.cli.main import COMPONENT_GROUPS
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
)
from strongroom.cli.prompts import confirm

if TYPE_CHECKING:
    from strongroom.models.component import Component

ATTRIBUTES_HELP = """
    \b
    --ATTRIBUTE=VALUE            text, or JSON for lists and mappings
    --ATTRIBUTE={{name.key}}     a reference to a key of a secret
    --ATTRIBUTE=@PATH            the content of a file
    --ATTRIBUTE=@@TEXT           a value that starts with @

    In some shells references need quotes: '--ATTRIBUTE={{name.key}}'.
"""


class ComponentGroup(Group):
    """The group's help shows its commands in the order in which people meet them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def component_group(name: str) -> click.Group:
    """The group of commands for one type; `name` is the type with hyphens."""
    words, kind = name.replace("-", " "), name.replace("-", "_")

    @click.group(name, cls=ComponentGroup, help=f"Register and change {COMPONENT_GROUPS[name]}.")
    def group() -> None:
        pass

    def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return complete_component(kind, incomplete)

    name_argument: Callable[[Any], Any] = click.argument("name", shell_complete=complete)
    values_option = click.option("-v", "--values", "document", metavar="JSON|YAML|@FILE|-", help="Attributes as a mapping.")

    @group.command(
        "register",
        cls=KeyValueCommand,
        help=f"Register a component under a name. The flavors that it can have: strongroom {name} flavor list.\n{ATTRIBUTES_HELP}",
        short_help="Register a component under a name.",
    )
    @click.argument("name")
    @click.option("-f", "--flavor", metavar="FLAVOR", required=True, help="What kind it is.")
    @values_option
    @output_option
    def register(name: str, flavor: str, document: str | None, output: str | None, pairs: list[tuple[str, str]]) -> None:
        from strongroom.client.component import component_type
        from strongroom.stacks.custom import ensure_flavor

        attributes = read_attributes(pairs, document)
        with open_client() as client, working_folder():
            ensure_flavor(client, component_type(kind), flavor)
            made = client.create_component(name, type=kind, flavor=flavor, configuration=attributes)
        say(f"Registered {words} '{made.name}' of the flavor '{made.flavor}'.")
        if output:
            show_fields(plain(made), output)

    @group.command("list", help=f"List {COMPONENT_GROUPS[name]}.")
    @click.option("--name", "name_filter", metavar="FILTER", help="A name, or startswith:, contains:, endswith:, oneof: and a text.")
    @click.option("--flavor", metavar="FLAVOR", help="Only those of this flavor.")
    @paging_options
    @output_option
    def list_(name_filter: str | None, flavor: str | None, page: int, size: int, output: str | None) -> None:
        with open_client() as client:
            found = client.list_components(kind, name=name_filter, flavor=flavor, page=page, size=size)
        if output in ("json", "yaml"):
            show_data(plain(found), output)
            return
        show_table(
            ["name", "flavor", "attributes", "owner", "updated"],
            [[item.name, item.flavor, attributes_text(item), item.owner, local_time(item.updated)] for item in found],
        )
        say_page(found, "component")

    @group.command(
        "describe",
        help="Show a component; references as they are written, plain text in sensitive attributes masked.",
        short_help="Show a component with its attributes.",
    )
    @name_argument
    @output_option
    def describe(name: str, output: str | None) -> None:
        with open_client() as client:
            found = client.get_component(kind, name)
        if output in ("json", "yaml"):
            show_data(plain(found), output)
            return
        fields = plain(found)
        attributes = fields.pop("configuration")
        show_fields(fields, output)
        if attributes:
            click.echo()
            show_table(["attribute", "value"], [[key, _text(value)] for key, value in attributes.items()])

    @group.command(
        "update",
        cls=KeyValueCommand,
        help=f"Change attributes of a component; the others stay.\n{ATTRIBUTES_HELP}",
        short_help="Change attributes of a component.",
    )
    @name_argument
    @click.option("-r", "--remove", "removed", multiple=True, metavar="ATTRIBUTE", help="Remove an attribute; may be repeated.")
    @values_option
    @output_option
    def update(name: str, removed: tuple[str, ...], document: str | None, output: str | None, pairs: list[tuple[str, str]]) -> None:
        if not (pairs or document or removed):
            raise HintedUsageError("there is nothing to change", "give --ATTRIBUTE=VALUE, -v or -r")
        attributes = read_attributes(pairs, document)
        with open_client() as client:
            changed = client.update_component(
                kind, name, configuration=attributes, remove=[attribute.replace("-", "_") for attribute in removed]
            )
        say(f"Updated {words} '{changed.name}'.")
        if output:
            show_fields(plain(changed), output)

    @group.command("rename", help="Give a component another name. Stacks that have it keep it.")
    @name_argument
    @click.argument("new_name", metavar="NEW")
    @output_option
    def rename(name: str, new_name: str, output: str | None) -> None:
        with open_client() as client:
            changed = client.update_component(kind, name, new_name=new_name)
        say(f"The {words} is now called '{changed.name}'.")
        if output:
            show_fields(plain(changed), output)

    @group.command("delete", help="Delete a component that is in no stack.")
    @name_argument
    @click.option("-y", "--yes", is_flag=True, help="Do not ask.")
    def delete(name: str, yes: bool) -> None:
        with open_client() as client:
            found = client.get_component(kind, name)
            if not yes and not confirm(f"Delete {words} '{found.name}' of the flavor '{found.flavor}', id {found.id}?"):
                say("Nothing was deleted.")
                raise click.exceptions.Exit(1)
            client.delete_component(kind, found.id)
        say(f"Deleted {words} '{found.name}'.")

    group.add_command(_flavor_group(name, kind, words))
    return group


def _flavor_group(type_name: str, kind: str, words: str) -> click.Group:
    @click.group("flavor", cls=ComponentGroup, help=f"The kinds of {COMPONENT_GROUPS[type_name]} there are, and your own.")
    def flavor() -> None:
        pass

    @flavor.command(
        "list",
        cls=Command,
        help="List the flavors: built-in, registered, and those of installed packages.",
        short_help="List the flavors.",
    )
    @output_option
    def list_flavors(output: str | None) -> None:
        from strongroom.client.component import component_type
        from strongroom.stacks.custom import installed_flavors

        with open_client() as client:
            page = client.list_flavors(kind)
        found = list(page)
        names = {item.name for item in found}
        installed = [item for item in installed_flavors(component_type(kind)) if item.name not in names]
        if output in ("json", "yaml"):
            from strongroom.models.page import Page

            items = [*found, *installed]
            show_data(plain(Page.of(items, total=len(items), page=1, size=max(1, len(items)))), output)
            return
        rows = [(item, "built in" if item.builtin else item.source) for item in found]
        rows += [(item, f"{item.source} (installed)") for item in installed]
        show_table(["flavor", "from", "description"], [[item.name, source, item.description] for item, source in rows])

    @flavor.command("describe", cls=Command, help="Show the attributes that a flavor takes.")
    @click.argument("name")
    @output_option
    def describe_flavor(name: str, output: str | None) -> None:
        from strongroom.client.component import component_type
        from strongroom.stacks.custom import ensure_flavor

        with open_client() as client, working_folder():
            ensure_flavor(client, component_type(kind), name)
            found = client.get_flavor(kind, name)
        if output in ("json", "yaml"):
            show_data(plain(found), output)
            return
        needs = f"  Needs: pip install 'strongroom[{found.extra}]'" if found.extra else ""
        say(f"{found.description}{needs}")
        show_table(
            ["attribute", "takes", "required", "sensitive", "description"],
            [
                [item.name, item.kind, "yes" if item.required else "", "yes" if item.sensitive else "", item.description]
                for item in found.attributes
            ],
        )

    @flavor.command("register", cls=Command, help="Make a flavor of your own known, or renew its description.")
    @click.argument("source", metavar="MODULE:CLASS")
    @output_option
    def register_flavor(source: str, output: str | None) -> None:
        from strongroom.errors import InvalidInput
        from strongroom.stacks.custom import describe_class

        with open_client() as client, working_folder():
            described = describe_class(source)
            if described.type != kind:
                raise InvalidInput(
                    f"this class is a {described.type.words}, not a {words}",
                    hint=f"strongroom {described.type.command} flavor register MODULE:CLASS",
                )
            made = client.register_flavor(described)
        say(f"Registered the {words} flavor '{made.name}'.")
        if output:
            show_fields(plain(made), output)

    @flavor.command("delete", cls=Command, help="Forget a flavor of your own that no component uses.")
    @click.argument("name")
    @click.option("-y", "--yes", is_flag=True, help="Do not ask.")
    def delete_flavor(name: str, yes: bool) -> None:
        with open_client() as client:
            client.get_flavor(kind, name)
            if not yes and not confirm(f"Forget the {words} flavor '{name}'?"):
                say("Nothing was deleted.")
                raise click.exceptions.Exit(1)
            client.delete_flavor(kind, name)
        say(f"Deleted the {words} flavor '{name}'.")

    return flavor


def complete_component(kind: str, incomplete: str) -> list[CompletionItem]:
    """The names of components of a type that start so. Silent when the store does not answer."""
    from strongroom.errors import StrongroomError

    try:
        with open_client() as client:
            page = client.list_components(kind, name=f"startswith:{incomplete}", size=100)
    except StrongroomError:
        return []
    return [CompletionItem(item.name, help=item.flavor) for item in page]


def attributes_text(item: Component) -> str:
    """A component's attributes in one line."""
    return ", ".join(f"{key}={_text(value)}" for key, value in item.configuration.items())


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_attributes(pairs: list[tuple[str, str]], document: str | None) -> dict[str, Any]:
    """Attributes from the command line; hyphens in their names are underscores."""
    from strongroom.cli.values import AttributeReader

    reader = AttributeReader()
    if document is not None:
        reader.add_document(document)
    reader.add_pairs([(key.replace("-", "_"), text) for key, text in pairs])
    return reader.values


@contextmanager
def working_folder() -> Iterator[None]:
    """Within the block, modules of the working folder can be imported, as with `python -m`."""
    sys.path.insert(0, "")
    try:
        yield
    finally:
        sys.path.remove("")


alerter = component_group("alerter")
artifact_store = component_group("artifact-store")
container_registry = component_group("container-registry")
experiment_tracker = component_group("experiment-tracker")
model_deployer = component_group("model-deployer")
model_registry = component_group("model-registry")
orchestrator = component_group("orchestrator")
step_operator = component_group("step-operator")
