"""`strongroom stack`: components that work together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from strongroom.cli.approval import account_option, yes_option
from strongroom.cli.client import open_client
from strongroom.cli.command import Group, HintedUsageError
from strongroom.cli.component import attributes_text, complete_component
from strongroom.cli.output import (
    count,
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
    from strongroom.models.stack import Stack

# The short options are those of the guide's system; -o names the orchestrator here, so --output has no short form.
_OPTIONS = {
    "orchestrator": "-o",
    "artifact-store": "-a",
    "alerter": "-al",
    "container-registry": "-c",
    "experiment-tracker": "-e",
    "model-deployer": "-d",
    "model-registry": "-r",
    "secrets-manager": "-x",
    "step-operator": "-s",
}
# click hands over the names of options without their hyphens
_UNDERSCORES = {"token_normalize_func": lambda token: token.replace("_", "-")}


class StackGroup(Group):
    """The group's help shows its commands in the order in which people meet them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group("stack", cls=StackGroup)
def stack() -> None:
    """Put components together, validate their references, choose.

    A pipeline runs on a stack: an orchestrator, an artifact store, and what else its steps use. The stack called 'default' is there
    from the start.
    """


def _component_options(command: Any) -> Any:
    for name, short in reversed(_OPTIONS.items()):

        def complete(ctx: click.Context, parameter: click.Parameter, incomplete: str, kind: str = name) -> list[CompletionItem]:
            return complete_component(kind.replace("-", "_"), incomplete)

        words = name.replace("-", " ")
        command = click.option(
            short, f"--{name}", name.replace("-", "_"), metavar="NAME", help=f"Its {words}.", shell_complete=complete
        )(command)
    return command


def _complete_stack(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from strongroom.errors import StrongroomError

    try:
        with open_client() as client:
            page = client.list_stacks(name=f"startswith:{incomplete}", size=100)
    except StrongroomError:
        return []
    return [CompletionItem(item.name) for item in page]


_name_argument: Callable[[Any], Any] = click.argument("name", shell_complete=_complete_stack)
_optional_name: Callable[[Any], Any] = click.argument("name", metavar="[STACK]", required=False, shell_complete=_complete_stack)
_output_long = click.option("--output", type=click.Choice(["table", "json", "yaml"]), help="Show the result.")


@stack.command("register", context_settings=_UNDERSCORES, short_help="Register a stack of existing components.")
@click.argument("name")
@_component_options
@click.option("--set", "activate", is_flag=True, help="Make it your active stack.")
@_output_long
def register(name: str, activate: bool, output: str | None, **components: str | None) -> None:
    """Register a stack of existing components; it needs an orchestrator and an artifact store."""
    _warn_of_secrets_manager(components)
    with open_client() as client:
        made = client.create_stack(name, {kind: part for kind, part in components.items() if part}, activate=activate)
    say(f"Registered stack '{made.name}'{', your active one now' if activate else ''}.")
    _show(made, output)


@stack.command("list")
@click.option("--name", "name_filter", metavar="FILTER", help="A name, or startswith:, contains:, endswith:, oneof: and a text.")
@paging_options
@output_option
def list_(name_filter: str | None, page: int, size: int, output: str | None) -> None:
    """List stacks with their components."""
    with open_client() as client:
        found = client.list_stacks(name=name_filter, page=page, size=size)
        overruling = client.settings.active_stack
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["name", "active", "components", "owner"],
        [
            [
                item.name,
                "yes" if (item.active if overruling is None else item.name == overruling) else "",
                ", ".join(f"{part.type.words} '{part.name}'" for part in item.components),
                item.owner,
            ]
            for item in found
        ],
    )
    say_page(found, "stack")


list_.name = "list"


@stack.command("describe", short_help="Show a stack with its components.")
@_optional_name
@output_option
def describe(name: str | None, output: str | None) -> None:
    """Show a stack (the active one unless named), with its components' attributes as they are written."""
    with open_client() as client:
        found = client.get_stack(name)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_fields(
        {"name": found.name, "active": "yes" if found.active else "no", "owner": found.owner, "updated": local_time(found.updated)},
        output,
    )
    click.echo()
    show_table(
        ["component", "name", "flavor", "attributes"],
        [[part.type.words, part.name, part.flavor, attributes_text(part)] for part in (*found.components, *found.connectors)],
    )


@stack.command("set", short_help="Make a stack your active one.")
@_name_argument
def set_(name: str) -> None:
    """Make a stack your active one: the one that pipelines run on."""
    with open_client() as client:
        chosen = client.activate_stack(name)
        overruled = client.settings.active_stack
    say(f"Your active stack is '{chosen.name}' now.")
    if overruled and overruled != chosen.name:
        say(f"warning: STRONGROOM_ACTIVE_STACK is set, so '{overruled}' is used here")


set_.name = "set"


@stack.command("update", context_settings=_UNDERSCORES)
@_optional_name
@_component_options
@click.option(
    "--remove",
    "removed",
    multiple=True,
    type=click.Choice(list(_OPTIONS)),
    metavar="TYPE",
    help="Take the component of this type out; may be repeated.",
)
@_output_long
def update(name: str | None, removed: tuple[str, ...], output: str | None, **components: str | None) -> None:
    """Put components into a stack (the active one unless named), or take them out."""
    changes = {kind: part for kind, part in components.items() if part}
    for kind in removed:
        if kind.replace("-", "_") in changes:
            raise HintedUsageError("a component is both put in and taken out", "give its type once")
    if not changes and not removed:
        raise HintedUsageError("there is nothing to change", "give -o, -a, -e, ... or --remove")
    _warn_of_secrets_manager(components)
    with open_client() as client:
        changed = client.update_stack(name or client.get_stack().name, components={**changes, **dict.fromkeys(removed)})
    say(f"Updated stack '{changed.name}'.")
    _show(changed, output)


def _component_flags(command: Any) -> Any:
    for name, short in reversed(_OPTIONS.items()):
        words = name.replace("-", " ")
        command = click.option(short, f"--{name}", name.replace("-", "_"), is_flag=True, help=f"Its {words}.")(command)
    return command


@stack.command("remove-component", context_settings=_UNDERSCORES, short_help="Take components out of a stack.")
@_optional_name
@_component_flags
@_output_long
def remove_component(name: str | None, output: str | None, **types: bool) -> None:
    """Take components out of a stack (the active one unless named): `remove-component training -e -c`. They stay as they are."""
    removed = [kind for kind, given in types.items() if given]
    if not removed:
        raise HintedUsageError("there is nothing to take out", "give -e, -c, -x, ... for what to take out")
    with open_client() as client:
        changed = client.update_stack(name or client.get_stack().name, components=dict.fromkeys(removed))
    say(f"Updated stack '{changed.name}'.")
    _show(changed, output)


@stack.command("rename")
@_name_argument
@click.argument("new_name", metavar="NEW")
def rename(name: str, new_name: str) -> None:
    """Give a stack another name."""
    with open_client() as client:
        changed = client.update_stack(name, new_name=new_name)
    say(f"The stack is now called '{changed.name}'.")


@stack.command("delete")
@_name_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-r", "--recursive", is_flag=True, help="Delete its components, too, but for those that something else uses.")
def delete(name: str, yes: bool, recursive: bool) -> None:
    """Delete a stack. Its components stay, unless --recursive."""
    from strongroom.errors import InvalidInput

    with open_client() as client:
        found = client.get_stack(name)
        with_them = f" with {count(len(found.components), 'component')}" if recursive else ""
        if not yes and not confirm(f"Delete stack '{found.name}', id {found.id}{with_them}?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        client.delete_stack(found.name)
        if not recursive:
            say(f"Deleted stack '{found.name}'. Its components stay.")
            return
        say(f"Deleted stack '{found.name}'.")
        for part in found.components:
            title = f"{part.type.words} '{part.name}'"
            try:
                client.delete_component(part.type, part.name)
            except InvalidInput as error:  # another stack has it, or it is one that stays
                say(f"{title[0].upper()}{title[1:]} stays: {error.message}.")
            else:
                say(f"Deleted {title}.")


@stack.command("validate", short_help="Check that all references of a stack resolve.")
@_optional_name
@click.option(
    "--level",
    type=click.Choice(["NONE", "SECRET_EXISTS", "SECRET_AND_KEY_EXISTS"], case_sensitive=False),
    help="What to check.  [default: STRONGROOM_SECRET_VALIDATION_LEVEL, else SECRET_AND_KEY_EXISTS]",
)
@output_option
def validate(name: str | None, level: str | None, output: str | None) -> None:
    """Check that all references of a stack resolve and that nothing of it waits for your approval, as before each run.

    Reads no value. Ends with 1 when something is in the way; all of it is listed.
    """
    from strongroom.config import ValidationLevel
    from strongroom.models.approval import one_line
    from strongroom.stacks.resolution import places_in_stack
    from strongroom.stacks.stack import find_manager
    from strongroom.stacks.validation import unresolved
    from strongroom.stacks.validation import validate as find_problems

    with open_client() as client:
        found = client.get_stack(name)
        places = places_in_stack(found)
        chosen = client.settings.secret_validation_level if level is None else ValidationLevel(level)
        waiting = client.review(stack=found.name).waiting
        manager = None if waiting else lambda: find_manager(client, found)
        problems = find_problems(client, places, chosen, open_manager=manager)
    rows = [
        {"owner": problem.owner, "attribute": problem.attribute, "reference": problem.reference, "reason": problem.reason}
        for problem in problems
    ]
    if output in ("json", "yaml"):
        report = {
            "stack": found.name,
            "level": chosen.value,
            "references": len(places),
            "valid": not problems and not waiting,
            "problems": rows,
            **({"waiting": plain(waiting)} if waiting else {}),
        }
        show_data(report, output)
    elif rows:
        show_table(["component", "attribute", "reference", "problem"], [list(row.values()) for row in rows])
    for revision in waiting:
        takes = ", ".join(one_line(str(taking)) for taking in revision.takes)
        say(f"Error: {revision.title} (revision {revision.number} by {revision.by}) waits for your approval: it would take {takes}")
    if waiting:
        say(f"hint: look at it and approve it: strongroom stack approve {found.name}")
    if waiting and not problems:
        raise click.exceptions.Exit(1)
    if problems:
        missing = unresolved(found.name, problems)
        say(f"Error: {count(len(problems), 'reference')} of stack '{found.name}' cannot be resolved")
        say(f"hint: {missing.hint}")
        raise click.exceptions.Exit(1)
    if chosen is ValidationLevel.NONE:
        say(f"Nothing was checked: the level is NONE. Stack '{found.name}' has {count(len(places), 'reference')}.")
    else:
        say(f"Stack '{found.name}' is valid: {count(len(places), 'reference')} checked ({chosen}).")


@stack.command("approve", short_help="Approve what components of other users take of you.")
@_optional_name
@account_option
@yes_option
@_output_long
def approve_(name: str | None, account: str | None, yes: bool, output: str | None) -> None:
    """Approve the components of a stack (the active one unless named) that other users wrote and that take something of yours.

    That is your own user-scoped secrets, files and logins of your machine, code that is imported there, and places that the outputs
    of steps come from. It shows what each would take and what changed since you approved it last. Until then nothing runs on the
    stack for you. For a service account an administrator of the workspace approves.
    """
    from strongroom.cli.approval import approve

    with open_client() as client:
        approve(client, client.review(stack=name, account=account), connector=False, yes=yes, output=output)


approve_.name = "approve"


@stack.command("register-secrets", short_help="Ask for the secrets that a stack refers to.")
@_optional_name
@click.option("--skip-existing", is_flag=True, help="Ask for what is missing only.")
def register_secrets(name: str | None, skip_existing: bool) -> None:
    """Ask for the values of all secrets that a stack refers to (Enter keeps one that exists), then store them.

    Nothing is stored before all questions are answered. New secrets are visible in the workspace; if the stack has a secrets
    manager, they go there.
    """
    from strongroom.cli.secret_prompts import ask_value
    from strongroom.stacks.registration import register_answers, wanted_secrets
    from strongroom.stacks.stack import find_manager

    with open_client() as client:
        found = client.get_stack(name)
        manager = find_manager(client, found)
        wanted = wanted_secrets(client, found, manager)
        if not wanted:
            say(f"Stack '{found.name}' refers to no secret.")
            return
        for secret in wanted:
            for key in secret.keys:
                exists = key in secret.existing
                if exists and skip_existing:
                    continue
                question = f"Value of '{key}' of secret '{secret.name}' (hidden{', Enter keeps it' if exists else ''})"
                answer = ask_value(question)
                while not answer and not exists:
                    say("  it is missing, so a value is needed")
                    answer = ask_value(question)
                if answer:
                    secret.answers[key] = answer
        stored = 0
        try:
            for line in register_answers(client, wanted, manager):
                say(line)
                stored += 1
        except KeyboardInterrupt:
            from strongroom.changes import Outcome, outcome

            more = ", and perhaps the next secret" if outcome()[0] is Outcome.UNKNOWN else ""
            raise click.ClickException(f"interrupted; only what is said above was stored{more}") from None
    if not stored:
        say(f"Nothing was changed: stack '{found.name}' has all the secrets that it refers to.")


def _warn_of_secrets_manager(components: dict[str, str | None]) -> None:
    if components.get("secrets_manager"):
        say("warning: secrets managers are deprecated; strongroom secret works without one in the stack")


def _show(shown: Stack, output: str | None) -> None:
    if output:
        show_fields(plain(shown), output)
