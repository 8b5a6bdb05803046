"""`strongroom completion`, and what completes the names of secrets."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from strongroom.cli.command import Command


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell.

    \b
    bash:  strongroom completion bash >> ~/.bashrc
    zsh:   strongroom completion zsh >> ~/.zshrc
    fish:  strongroom completion fish > ~/.config/fish/completions/strongroom.fish
    """
    from strongroom.cli.main import main

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(main, {}, "strongroom", "_STRONGROOM_COMPLETE").source())


def complete_secret(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The visible names that start so. Silent when the store does not answer: a completion is no place for errors."""
    from strongroom.client import Client
    from strongroom.errors import StrongroomError

    try:
        with Client() as client:
            page = client.list_secrets(name=f"startswith:{incomplete}", sort_by="asc:name", size=100)
    except StrongroomError:
        return []
    return [CompletionItem(item.name, help=item.description or None) for item in page]


def complete_key(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The keys of the secret that the command line names."""
    from strongroom.client import Client
    from strongroom.errors import StrongroomError

    name = ctx.params.get("name")
    if not name:
        return []
    try:
        with Client() as client:
            keys = client.get_secret_metadata(name, scope=ctx.params.get("scope")).keys
    except StrongroomError:
        return []
    return [CompletionItem(key) for key in keys if key.startswith(incomplete)]
