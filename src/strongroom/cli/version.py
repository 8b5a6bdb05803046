"""`strongroom version`."""

from __future__ import annotations

import platform

import click

import strongroom
from strongroom.cli.command import Command
from strongroom.cli.output import output_option, show_fields


@click.command("version", cls=Command)
@output_option
def version(output: str | None) -> None:
    """Say which version this is."""
    if output in (None, "table"):
        click.echo(f"strongroom {strongroom.__version__}")
    else:
        show_fields({"version": strongroom.__version__, "python": platform.python_version()}, output)
