"""`strongroom secrets-manager`: the group of a component, the secrets that such a component keeps, and the way out of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from strongroom import changes
from strongroom.cli.client import open_client
from strongroom.cli.command import Group, HintedUsageError, KeyValueCommand
from strongroom.cli.component import ComponentGroup, component_group
from strongroom.cli.output import count, on_terminal, output_option, plain, say, show_data, show_fields, show_table, write
from strongroom.cli.prompts import confirm
from strongroom.cli.secret_options import (
    VALUES_HELP,
    UpdateCommand,
    env_file_option,
    interactive_option,
    keys_to_remove,
    read_values,
    values_option,
)
from strongroom.cli.secret_prompts import ask_changed_keys, ask_new_keys, secret_texts
from strongroom.cli.secrets_manager_migration import migrate

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.stacks.secrets_manager import SecretsManager

_KIND = "secrets_manager"
_NO_COMPONENT = "strongroom secret needs no component, and strongroom secrets-manager secret migrate moves there what you have"

secrets_manager = component_group("secrets-manager")
secrets_manager.help = "Deprecated: keep secrets in a component of the stack, and move them to where 'secret' keeps them."


@secrets_manager.command("get")
@output_option
def get_active(output: str | None) -> None:
    """Show the secrets manager of the active stack."""
    with active_manager() as (client, manager):
        found = client.get_component(_KIND, manager.name)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
    else:
        show_fields({"name": found.name, "flavor": found.flavor, "id": found.id}, output)


class SecretGroup(Group):
    """The group's help shows its commands in the order in which people meet them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group("secret", cls=SecretGroup)
def secret() -> None:
    """Deprecated: the secrets in the secrets manager of the active stack."""


@contextmanager
def active_manager() -> Iterator[tuple[Client, SecretsManager]]:
    """A client, and the secrets manager of the active stack. `NotFound` if that has none."""
    from strongroom.errors import NotFound

    with open_client() as client:
        stack = client.active_stack
        manager = stack.secrets_manager
        if manager is None:
            raise NotFound(
                f"the active stack '{stack.name}' has no secrets manager",
                hint="strongroom secret works without one; or: strongroom secrets-manager register NAME --flavor=local, "
                "strongroom stack update STACK -x NAME",
            )
        yield client, manager


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names that start so. Silent when nobody answers."""
    from strongroom.errors import StrongroomError

    try:
        with active_manager() as (_, manager):
            return [CompletionItem(name) for name in manager.list_secrets() if name.startswith(incomplete)]
    except StrongroomError:
        return []


_name_argument: Callable[[Any], Any] = click.argument("name", shell_complete=_complete)


@secret.command("register", cls=KeyValueCommand)
@click.argument("name")
@interactive_option
@values_option
@env_file_option
def register(name: str, interactive: bool, document: str | None, env_file: str | None, pairs: list[tuple[str, str]]) -> None:
    """Register a secret with the given keys and values."""
    if not (pairs or document or env_file or interactive):
        raise HintedUsageError("a secret needs at least one key", "give --KEY=VALUE, -v, --from-env-file or -i")
    from strongroom.errors import AlreadyExists
    from strongroom.models.secret import check_name, check_values

    check_name(name)
    values = read_values(pairs, document, env_file)
    for key, value in values.items():
        if value is None:
            raise HintedUsageError(f"the value of '{key}' is null", "give a value, or leave the key out")
    with active_manager() as (_, manager):
        if interactive:
            if manager.find_secret(name) is not None:
                raise AlreadyExists(
                    f"{manager.title} has a secret '{name}' already", hint=f"strongroom secrets-manager secret update {name} -i"
                )
            ask_new_keys(values)
        texts = {key: value for key, value in values.items() if value is not None}
        check_values(secret_texts(texts))
        with changes.changing():
            manager.register_secret(name, texts)
    say(f"Registered secret '{name}' in {manager.title} with {count(len(texts), 'key')}: {', '.join(texts)}.")


register.help = f"{register.help}\n{VALUES_HELP}"


@secret.command("get")
@_name_argument
@click.option("--key", help="Print the value of this key alone, as it is.")
@output_option
def get(name: str, key: str | None, output: str | None) -> None:
    """Show a secret with its values in clear."""
    with active_manager() as (_, manager):
        content = manager.get_secret(name).content
    if key is not None:
        from strongroom.errors import NotFound

        if key not in content:
            raise NotFound(f"secret '{name}' has no such key", hint=f"its keys are: {', '.join(content)}")
        if output in ("json", "yaml"):
            show_data({key: content[key]}, output)
        else:
            write(content[key] + ("\n" if on_terminal() else ""))
    elif output in ("json", "yaml"):
        show_data({"name": name, "keys": sorted(content), "values": content}, output)
    else:
        show_table(["key", "value"], list(content.items()))


@secret.command("list")
@output_option
def list_(output: str | None) -> None:
    """List the names of all secrets."""
    with active_manager() as (_, manager):
        names = manager.list_secrets()
    if output in ("json", "yaml"):
        from strongroom.models.page import Page

        shown = [{"name": name} for name in names]
        show_data(plain(Page.of(shown, total=len(names), page=1, size=max(1, len(names)))), output)
        return
    show_table(["name"], [[name] for name in names])
    say(f"{count(len(names), 'secret')} in {manager.title}.")


list_.name = "list"


@secret.command("update", cls=UpdateCommand)
@_name_argument
@interactive_option
@click.option("-r", "--remove-keys", "removed", multiple=True, metavar="KEY ...", help="Remove these keys.")
@values_option
@env_file_option
def update(
    name: str,
    interactive: bool,
    removed: tuple[str, ...],
    document: str | None,
    env_file: str | None,
    pairs: list[tuple[str, str]],
) -> None:
    """Change a secret: keys are added or overwritten, the others stay.

    With -i, asks for each key (Enter keeps its value) and then for new ones. With -v, null removes a key.
    """
    if not (pairs or document or env_file or interactive or removed):
        raise HintedUsageError("there is nothing to change", "give --KEY=VALUE, -v, --from-env-file, -i or -r")
    from strongroom.models.secret import check_values

    values = read_values(pairs, document, env_file)
    to_remove = keys_to_remove(removed, values)
    with active_manager() as (_, manager):
        if interactive:
            ask_changed_keys(list(manager.get_secret(name).values), values, to_remove)
        texts = {key: value for key, value in values.items() if value is not None}
        if not (texts or to_remove):
            raise HintedUsageError("there is nothing to change", "answer with a new value")
        if texts:
            check_values(secret_texts(texts))
        with changes.changing():
            keys = manager.change_secret(name, texts, to_remove)
    say(f"Updated secret '{name}' in {manager.title}; its keys are: {', '.join(keys)}.")


update.help = f"{update.help}\n{VALUES_HELP}"


@secret.command("delete")
@_name_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, yes: bool) -> None:
    """Delete a secret."""
    with active_manager() as (_, manager):
        if manager.find_secret(name) is None:
            raise manager.no_secret(name)
        if not yes and not confirm(f"Delete secret '{name}' of {manager.title}?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        with changes.changing():
            manager.delete_secret(name)
    say(f"Deleted secret '{name}' of {manager.title}.")


@secret.command("cleanup", short_help="Delete all secrets.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def cleanup(yes: bool) -> None:
    """Delete all secrets of the secrets manager of the active stack, in its scope."""
    from strongroom.errors import NotFound

    with active_manager() as (_, manager):
        names = manager.list_secrets()
        if not names:
            say(f"There are no secrets in {manager.title}.")
            return
        if not yes and not confirm(f"Delete {count(len(names), 'secret')} of {manager.title}: {', '.join(names)}?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        for number, name in enumerate(names):
            try:
                with changes.changing():
                    manager.delete_secret(name)
            except NotFound:
                continue  # somebody else was faster
            except KeyboardInterrupt:
                more = ", and perhaps one more" if changes.outcome()[0] is changes.Outcome.UNKNOWN else ""
                raise click.ClickException(f"interrupted; {number} of {len(names)} were deleted{more}") from None
    say(f"Deleted {count(len(names), 'secret')} of {manager.title}.")


def _deprecated(command: click.Command, instead: str) -> click.Command:
    """The command, which says first what to use instead."""
    callback = command.callback
    assert callback is not None

    @functools.wraps(callback)
    def warned(*arguments: Any, **named: Any) -> Any:
        say(f"warning: secrets managers are deprecated; {instead}")
        return callback(*arguments, **named)

    command.callback = warned
    return command


_INSTEAD = {
    "register": "use: strongroom secret create",
    "get": "use: strongroom secret get",
    "list": "use: strongroom secret list",
    "update": "use: strongroom secret update",
    "delete": "use: strongroom secret delete",
    "cleanup": "use: strongroom secret delete",
}
for _name, _instead in _INSTEAD.items():
    _deprecated(secret.commands[_name], _instead)
for _command in (*secrets_manager.commands.values(), *secrets_manager.commands["flavor"].commands.values()):  # type: ignore[attr-defined]
    if not isinstance(_command, click.Group):
        _deprecated(_command, _NO_COMPONENT)
secret.add_command(_deprecated(migrate, "afterwards: strongroom secret list"))

secrets_manager.add_command(secret)
# The guide calls the same group so.
secrets_manager.add_command(ComponentGroup("secrets", commands=secret.commands, help="The same as 'secret'.", hidden=True))
