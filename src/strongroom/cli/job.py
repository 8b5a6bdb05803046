"""`strongroom job`: backups, restores and verifications that run or ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from strongroom.cli.client import open_client
from strongroom.cli.command import Group
from strongroom.cli.output import local_time, output_option, plain, say, show_data, show_fields, show_table

if TYPE_CHECKING:
    from strongroom.models.job import Job


@click.group("job", cls=Group)
def job() -> None:
    """List and cancel jobs: backups, restores and verifications of all secrets. Requires a server administrator."""


@job.command("list")
@output_option
def list_(output: str | None) -> None:
    """List the last 100 jobs, newest first."""
    with open_client() as client:
        found = client.list_jobs()
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["id", "kind", "status", "done", "failed", "skipped", "total", "started", "by"],
        [[each.id, each.kind, each.status, *_counts(each), local_time(each.created), each.owner] for each in found.items],
    )


list_.name = "list"


def _complete_job(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from strongroom.errors import StrongroomError

    try:
        with open_client() as client:
            found = client.list_jobs()
    except StrongroomError:
        return []
    return [CompletionItem(each.id, help=f"{each.kind}, {each.status}") for each in found.items if each.id.startswith(incomplete)]


@job.command("describe")
@click.argument("job_id", metavar="ID", shell_complete=_complete_job)
@output_option
def describe(job_id: str, output: str | None) -> None:
    """Show a job: its status, its progress and its failures."""
    with open_client() as client:
        found = client.get_job(job_id)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    fields = {name: value for name, value in plain(found).items() if name not in ("report", "created", "updated", "error")}
    fields |= {"done": found.report.done, "failed": found.report.failed, "skipped": found.report.skipped}
    fields |= {"started": local_time(found.created), "updated": local_time(found.updated)}
    show_fields({**fields, **({"error": found.error} if found.error else {})}, output)
    if found.report.failures:
        click.echo()
        show_table(["secret", "error"], [[each.name or "(no secret)", each.error] for each in found.report.failures])


@job.command("cancel")
@click.argument("job_id", metavar="ID", shell_complete=_complete_job)
@output_option
def cancel(job_id: str, output: str | None) -> None:
    """Cancel a running job. What it has done so far stays done; run it again to go on."""
    with open_client() as client:
        found = client.cancel_job(job_id)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    if found.status != "cancelled":
        say(f"The {found.kind} {found.id} has ended already: {found.status}.")
        return
    report = found.report
    say(f"Cancelled the {found.kind} {found.id} after {report.done + report.failed + report.skipped} of {found.total} secrets.")


def _counts(found: Job) -> list[str]:
    report = found.report
    return [str(number) for number in (report.done, report.failed, report.skipped, found.total)]
