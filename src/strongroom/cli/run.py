"""`strongroom run`: what pipelines did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from strongroom.cli.client import open_client
from strongroom.cli.command import Group
from strongroom.cli.output import local_time, output_option, paging_options, plain, say_page, show_data, show_fields, show_table

if TYPE_CHECKING:
    from strongroom.models.run import Run, RunStep


@click.group("run", cls=Group)
def run() -> None:
    """Look at what pipelines did.

    A run's record says which steps ran with which result, and which step read which version of which secret. It holds no value.
    """


@run.command("list")
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--status", type=click.Choice(["completed", "failed", "running", "stopped"]), help="Only runs that stand so.")
@paging_options
@output_option
def list_(pipeline: str | None, status: str | None, page: int, size: int, output: str | None) -> None:
    """List runs, newest first."""
    with open_client() as client:
        found = client.list_runs(pipeline=pipeline, status=status, page=page, size=size)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["name", "pipeline", "stack", "status", "started", "took", "by"],
        [[item.name, item.pipeline, item.stack, item.status, local_time(item.started), _took(item), item.owner] for item in found],
    )
    say_page(found, "run")


list_.name = "list"


def _complete_run(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from strongroom.errors import StrongroomError

    try:
        with open_client() as client:
            page = client.list_runs(size=100)
    except StrongroomError:
        return []
    return [CompletionItem(item.name, help=item.status) for item in page if item.name.startswith(incomplete)]


@run.command("describe", short_help="Show a run with its steps and what they read.")
@click.argument("name", metavar="NAME|ID", shell_complete=_complete_run)
@output_option
def describe(name: str, output: str | None) -> None:
    """Show a run: its steps with their inputs and outputs, and which step read which version of which secret."""
    with open_client() as client:
        found = client.get_run(name)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    fields: dict[str, Any] = {
        key: value for key, value in plain(found).items() if key not in ("steps", "reads", "started", "finished", "error")
    }
    fields |= {"started": local_time(found.started), "took": _took(found)}
    show_fields({**fields, **({"error": found.error} if found.error else {})}, output)
    click.echo()
    show_table(
        ["step", "status", "took", "inputs", "outputs", "metadata"],
        [
            [
                step.name,
                step.status if step.cached_from is None else f"cached from {step.cached_from}",
                _took(step),
                ", ".join(f"{name}={source}" for name, source in step.inputs.items()),
                "\n".join(f"{record.name}: {record.uri}" for record in step.outputs),
                _text(step.metadata),
            ]
            for step in found.steps or ()
        ],
    )
    if found.reads:
        click.echo()
        show_table(
            ["step", "secret", "version", "key", "when"],
            [[read.step or "(the run)", read.secret, str(read.version), read.key, _time(read.moment)] for read in found.reads],
        )


def _took(item: Run | RunStep) -> str:
    if item.started is None or item.finished is None:
        return ""
    return f"{(item.finished - item.started).total_seconds():.1f} s"


def _time(moment: Any) -> str:
    return "" if moment is None else local_time(moment)


def _text(metadata: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in metadata.items())
