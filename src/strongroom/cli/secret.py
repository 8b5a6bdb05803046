"""`strongroom secret`: create, read, change and delete secrets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli.client import open_client
from strongroom.cli.command import Group, HintedUsageError
from strongroom.cli.completion import complete_key, complete_secret
from strongroom.cli.output import (
    count,
    local_time,
    on_terminal,
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
from strongroom.cli.secret_options import (
    VALUES_HELP,
    CreateCommand,
    SecretCommand,
    UpdateCommand,
    env_file_option,
    interactive_option,
    keys_to_remove,
    read_values,
    values_option,
)
from strongroom.cli.secret_prompts import ask_changed_keys, ask_new_keys, refuse_taken, secret_texts
from strongroom.cli.transfer import backup, restore, verify

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.models.secret import Secret, SecretVersion

NAME_OR_ID = "NAME|ID"
_SCOPES = click.Choice(["workspace", "user"])


class SecretGroup(Group):
    """The group's help shows its commands in the order in which people meet them."""

    command_class = SecretCommand

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group("secret", cls=SecretGroup)
def secret() -> None:
    """Create, read, change and delete secrets.

    A secret is a named group of keys and values. It is visible in its workspace, or with --scope user to its owner alone.
    A name is looked up in your user scope first, then in the workspace.
    """


def _name_argument(completes: bool = True) -> Callable[[Any], Any]:
    return click.argument("name", metavar=NAME_OR_ID, shell_complete=complete_secret if completes else None)


_scope_option = click.option("--scope", type=_SCOPES, help="Look in this scope only; --private stands for --scope user.")
_description_option = click.option("--description", help="A text that says what the secret is for.")
_expires_option = click.option("--expires-at", metavar="TIME", help="When it stops being valid, in ISO 8601 with a zone.")


@secret.command("create", cls=CreateCommand)
@click.argument("name")
@click.option("--scope", type=_SCOPES, help="Who sees it: the workspace, or you alone (--private).  [default: workspace]")
@interactive_option
@values_option
@env_file_option
@_description_option
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label to find it by; may be repeated.")
@_expires_option
@output_option
def create(
    name: str,
    scope: str | None,
    interactive: bool,
    document: str | None,
    env_file: str | None,
    description: str | None,
    labels: tuple[str, ...],
    expires_at: str | None,
    output: str | None,
    pairs: list[tuple[str, str]],
) -> None:
    """Create a secret with the given keys and values."""
    scope = scope or "workspace"
    if not (pairs or document or env_file or interactive):
        raise HintedUsageError("a secret needs at least one key", "give --KEY=VALUE, -v, --from-env-file or -i")
    from strongroom.models.secret import check_name, check_values

    check_name(name)
    values = read_values(pairs, document, env_file)
    for key, value in values.items():
        if value is None:
            raise HintedUsageError(f"the value of '{key}' is null", "give a value, or leave the key out")
    with open_client() as client:
        if interactive:
            refuse_taken(client, name, scope)
            ask_new_keys(values)
        texts = {key: value for key, value in values.items() if value is not None}
        check_values(secret_texts(texts))
        made = client.create_secret(
            name,
            texts,
            scope=scope,
            description=description or "",
            labels=_labels(labels),
            expires_at=_time("--expires-at", expires_at),
        )
    keys = ", ".join(made.keys)
    say(f"Created secret '{made.name}' {_where(made)} with {count(len(made.keys), 'key')}: {keys}.")
    _show(made, output)


create.help = f"{create.help}\n{VALUES_HELP}"


@secret.command("list")
@click.option("--scope", type=_SCOPES, help="Only secrets of this scope.")
@click.option("--name", metavar="FILTER", help="A name, or startswith:, contains:, endswith:, notequals:, oneof: and a text.")
@click.option("--user", metavar="FILTER", help="Only secrets of this owner.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Only secrets with this label; may be repeated.")
@click.option("--created", multiple=True, metavar="FILTER", help="A time, or gt:, gte:, lt:, lte: and a time; may be repeated.")
@click.option("--updated", multiple=True, metavar="FILTER", help="The same for the last change.")
@click.option(
    "--sort-by", default="asc:created", metavar="[asc:|desc:]FIELD", help="created, updated, name or scope.  [default: created]"
)
@paging_options
@click.option("--all", "everything", is_flag=True, help="All pages.")
@output_option
def list_(
    scope: str | None,
    name: str | None,
    user: str | None,
    labels: tuple[str, ...],
    created: tuple[str, ...],
    updated: tuple[str, ...],
    sort_by: str,
    page: int,
    size: int,
    everything: bool,
    output: str | None,
) -> None:
    """List secrets, without values."""
    filters: dict[str, Any] = {
        "scope": scope,
        "name": name,
        "user": user,
        "labels": _labels(labels),
        "created": created,
        "updated": updated,
        "sort_by": sort_by,
    }
    with open_client() as client:
        found = client.list_secrets(**filters, page=1 if everything else page, size=1000 if everything else size)
        items = list(found)
        for number in range(2, found.total_pages + 1) if everything else ():
            items += client.list_secrets(**filters, page=number, size=1000)
    if output in ("json", "yaml"):
        from strongroom.models.page import Page

        shown = Page.of(items, total=len(items), page=1, size=max(1, len(items))) if everything else found
        show_data(plain(shown), output)
        return
    show_table(
        ["name", "scope", "owner", "keys", "version", "updated"],
        [[item.name, item.scope, item.owner, ", ".join(item.keys), str(item.version), local_time(item.updated)] for item in items],
    )
    if not everything:
        say_page(found, "secret")


list_.name = "list"


@secret.command("get")
@_name_argument()
@_scope_option
@click.option("--key", shell_complete=complete_key, help="Print the value of this key alone, as it is.")
@click.option("--version", type=click.IntRange(1), metavar="N", help="An earlier version than the current one.")
@output_option
def get(name: str, scope: str | None, key: str | None, version: int | None, output: str | None) -> None:
    """Show a secret with its values in clear."""
    with open_client() as client:
        found = client.get_secret(name, scope=scope, version=version)
    _warn_if_expired(found)
    values = found.secret_values
    if key is not None:
        from strongroom.errors import NotFound

        if key not in values:
            raise NotFound(f"secret '{found.name}' has no such key", hint=f"its keys are: {', '.join(found.keys)}")
        if output in ("json", "yaml"):
            show_data({key: values[key]}, output)
        else:
            write(values[key] + ("\n" if on_terminal() else ""))
    elif output in ("json", "yaml"):
        show_data({**plain(found), "values": values}, output)
    else:
        show_table(["key", "value"], list(values.items()))


@secret.command("describe")
@_name_argument()
@_scope_option
@output_option
def describe(name: str, scope: str | None, output: str | None) -> None:
    """Show everything about a secret but its values."""
    with open_client() as client:
        found = client.get_secret_metadata(name, scope=scope)
        versions = client.list_secret_versions(found.id)
    _warn_if_expired(found)
    if output in ("json", "yaml"):
        show_data({**plain(found), "versions": plain(list(versions))}, output)
        return
    show_fields(plain(found), output)
    click.echo()
    _show_versions(list(versions))


@secret.command("update", cls=UpdateCommand)
@_name_argument()
@_scope_option
@click.option("--new-scope", type=_SCOPES, help="Move it to this scope; --private stands for --new-scope user.")
@interactive_option
@click.option("-r", "--remove-keys", "removed", multiple=True, metavar="KEY ...", help="Remove these keys.")
@values_option
@env_file_option
@_description_option
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Set a label (KEY= removes it); may be repeated.")
@_expires_option
@click.option("--if-version", type=click.IntRange(1), metavar="N", help="Only if this is the current version.")
@output_option
def update(
    name: str,
    scope: str | None,
    new_scope: str | None,
    interactive: bool,
    removed: tuple[str, ...],
    document: str | None,
    env_file: str | None,
    description: str | None,
    labels: tuple[str, ...],
    expires_at: str | None,
    if_version: int | None,
    output: str | None,
    pairs: list[tuple[str, str]],
) -> None:
    """Change a secret: keys are added or overwritten, the others stay.

    With -i, asks for each key (Enter keeps its value) and then for new ones. With -v, null removes a key.
    """
    given = (pairs, document, env_file, interactive, removed, new_scope, description is not None, labels, expires_at)
    if not any(given):
        raise HintedUsageError("there is nothing to change", "give --KEY=VALUE, -v, --from-env-file, -i, -r or --new-scope")
    values = read_values(pairs, document, env_file)
    to_remove = keys_to_remove(removed, values)
    with open_client() as client:
        known = client.get_secret_metadata_exactly(name, scope=scope) if interactive or labels else None
        if interactive and known is not None:
            ask_changed_keys(known.keys, values, to_remove)
        new_labels = None
        if labels and known is not None:
            merged = {**known.labels, **_labels(labels)}
            new_labels = {key: value for key, value in merged.items() if value}
        changed = client.update_secret(
            name,
            scope=scope,
            add_or_update_values={key: value for key, value in values.items() if value is not None},
            remove_values=to_remove,
            new_scope=new_scope,
            description=description,
            labels=new_labels,
            **({"expires_at": _time("--expires-at", expires_at)} if expires_at else {}),
            if_version=if_version,
        )
        say(f"Updated secret '{changed.name}' {_where(changed)}; it is at version {changed.version}.")
        if new_scope or to_remove:
            _say_references(client, changed.name, None if new_scope else to_remove)
    _show(changed, output)


update.help = f"{update.help}\n{VALUES_HELP}"


@secret.command("rename")
@_name_argument()
@click.argument("new_name", required=False, metavar="[NEW]")
@click.option("-n", "--new-name", "new_name_option", metavar="NEW", help="The new name.")
@_scope_option
@output_option
def rename(name: str, new_name: str | None, new_name_option: str | None, scope: str | None, output: str | None) -> None:
    """Give a secret another name. References to the old name stop working."""
    new = new_name or new_name_option
    if not new or (new_name and new_name_option):
        raise HintedUsageError("give the new name once", "strongroom secret rename NAME NEW")
    with open_client() as client:
        known = client.get_secret_metadata_exactly(name, scope=scope)
        changed = client.update_secret(_uuid(known.id), new_name=new)
        say(f"The secret is now called '{changed.name}' {_where(changed)}.")
        _say_references(client, known.name)
    _show(changed, output)


@secret.command("delete")
@_name_argument()
@_scope_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(name: str, scope: str | None, yes: bool) -> None:
    """Delete a secret with all its versions."""
    with open_client() as client:
        found = client.get_secret_metadata_exactly(name, scope=scope)
        _say_references(client, found.name)
        if not yes and not confirm(f"Delete secret '{found.name}' {_where(found)}, id {found.id}, with all its versions?"):
            say("Nothing was deleted.")
            raise click.exceptions.Exit(1)
        client.delete_secret(_uuid(found.id))
    say(f"Deleted secret '{found.name}' {_where(found)}.")


@secret.command("export", short_help="Write keys and values in clear, for other programs.")
@_name_argument()
@_scope_option
@click.option("-f", "--file", "path", metavar="FILE", help="Write here, readable for you alone, instead of to standard output.")
@click.option("--format", "format_", type=click.Choice(["yaml", "json", "dotenv"]), default="yaml", show_default=True, help="How.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
def export(name: str, scope: str | None, path: str | None, format_: str, force: bool) -> None:
    """Write keys and values in clear, for -v or --from-env-file to read back."""
    from strongroom.cli.export import format_values, write_private_file

    with open_client() as client:
        found = client.get_secret(name, scope=scope)
    text = format_values(found.secret_values, format_)
    if path is None or path == "-":
        write(text)
        return
    is_file = write_private_file(path, text, force=force)
    advice = "; delete the file when it has served" if is_file else ""
    say(f"Wrote {count(len(found.keys), 'key')} of secret '{found.name}' in clear{advice}.")


@secret.command("history", short_help="List the kept versions, without values.")
@_name_argument()
@_scope_option
@output_option
def history(name: str, scope: str | None, output: str | None) -> None:
    """List the kept versions of a secret, newest first, without values."""
    with open_client() as client:
        versions = client.list_secret_versions(name, scope=scope)
    if output in ("json", "yaml"):
        show_data(plain(versions), output)
    else:
        _show_versions(list(versions))


@secret.command("rollback", short_help="Make an earlier version the current one.")
@_name_argument()
@_scope_option
@click.option("--to-version", type=click.IntRange(1), metavar="N", required=True, help="The version to make current again.")
@output_option
def rollback(name: str, scope: str | None, to_version: int, output: str | None) -> None:
    """Make an earlier version the current one. No version is lost: you can go forward again."""
    with open_client() as client:
        changed = client.rollback_secret(name, to_version, scope=scope)
    say(f"Secret '{changed.name}' is at version {changed.version} again, with the keys: {', '.join(changed.keys)}.")
    _show(changed, output)


@secret.command("usage", short_help="List which run and step read which version.")
@_name_argument()
@_scope_option
@click.option("--version", type=click.IntRange(1), metavar="N", help="Only reads of this version.")
@paging_options
@output_option
def usage(name: str, scope: str | None, version: int | None, page: int, size: int, output: str | None) -> None:
    """List which run and which step of it read which key of which version, newest first. Never shows a value."""
    with open_client() as client:
        found = client.list_secret_usage(name, scope=scope, version=version, page=page, size=size)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["when", "run", "pipeline", "step", "version", "key", "by"],
        [
            [local_time(use.moment), use.run, use.pipeline, use.step or "(the run)", str(use.version), use.key, use.owner]
            for use in found
        ],
    )
    say_page(found, "read")


def _say_references(client: Client, name: str, keys: Sequence[str] | None = None) -> None:
    """Says which components refer to a name (or just to these keys of it) that means nothing, or something else."""
    from strongroom.stacks.usage import references_to

    for place in references_to(client, name):
        if keys is not None and place.reference.key not in keys:
            continue
        say(f"note: {place.owner} refers to '{name}': its {place.attribute} is {place.reference}")


def _labels(labels: tuple[str, ...]) -> dict[str, str]:
    result = {}
    for label in labels:
        key, equals, value = label.partition("=")
        if not equals:
            raise HintedUsageError("a label is written KEY=VALUE", "for example: --label team=vision")
        result[key] = value
    return result


def _time(option: str, text: str | None) -> Any:
    from strongroom.models.filter import parse_time

    return None if text is None else parse_time(option, text)


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)


def _show(shown: Secret, output: str | None) -> None:
    """The metadata after a write, where somebody asked for it."""
    if output:
        show_fields(plain(shown), output)


def _show_versions(versions: list[SecretVersion]) -> None:
    rows = [
        [
            f"{version.version}{' (current)' if version.current else ''}",
            ", ".join(version.keys),
            local_time(version.created),
            version.created_by,
            ", ".join(
                placement.store if placement.state == "present" else f"{placement.store} ({placement.state})"
                for placement in version.placements
            ),
        ]
        for version in versions
    ]
    show_table(["version", "keys", "created", "by", "stores"], rows)


def _where(shown: Secret) -> str:
    return "in your user scope" if shown.scope == "user" else f"in workspace '{shown.workspace}'"


def _warn_if_expired(shown: Secret) -> None:
    from datetime import UTC, datetime

    if shown.expires_at is not None and shown.expires_at <= datetime.now(UTC):
        say(f"warning: secret '{shown.name}' expired on {local_time(shown.expires_at)}")


for _command in (backup, restore, verify):
    secret.add_command(_command)
