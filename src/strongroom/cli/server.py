"""`strongroom server`: administering the store that this machine runs."""

from __future__ import annotations

import sys

import click

from strongroom.cli.command import Command, Group
from strongroom.cli.output import output_option, say, show_fields, write


@click.group("server", cls=Group)
def server() -> None:
    """Administer the store that this machine runs."""


@server.command("generate-key", cls=Command)
def generate_key() -> None:
    """Print a new encryption key, for STRONGROOM_ENCRYPTION_KEY or a file. Nothing else changes."""
    from strongroom.crypto.aead import new_key
    from strongroom.crypto.keyring import format_keys

    write(format_keys([new_key()]))


@server.command("rotate-key", cls=Command)
@click.option("--to", type=click.Choice(["file", "keyring"]), help="Keep the new key in a 0600 file, or in the system's keyring.")
@output_option
def rotate_key(to: str | None, output: str | None) -> None:
    """Put a new encryption key in charge, while others go on reading and writing.

    A key that strongroom made is replaced by a new one. A key that you give in STRONGROOM_ENCRYPTION_KEY or _FILE is replaced by
    the one that you put before it. Interrupted, it goes on where it was when you run it again.
    """
    from strongroom.client.administration import rotate_key as rotate
    from strongroom.config import read_settings

    with click.progressbar(length=1, label="Wrapping data keys anew", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        rotation = rotate(read_settings(), to, progress)
    if output:
        show_fields({"key_id": rotation.key_id, "rewrapped": rotation.rewrapped, "retired": rotation.retired}, output)
    say(f"The encryption key {rotation.key_id} is in charge; {rotation.rewrapped} data keys were wrapped anew.")
    if rotation.corrupt:
        say(f"warning: {len(rotation.corrupt)} versions do not decrypt; the former key is kept for them:")
        for secret_id, number in rotation.corrupt:
            say(f"  version {number} of secret {secret_id}")
        raise click.exceptions.Exit(1)
    if rotation.operator_given:
        say("You can now take the former key out of the setting.")
