"""`strongroom secret backup`, `restore` and `verify`: what goes through all secrets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from strongroom.cli.client import open_client
from strongroom.cli.command import Command
from strongroom.cli.output import count, output_option, plain, say, show_data

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.models.job import Job, JobReport

_SHOWN = 20

_delete_option = click.option(
    "--delete-secrets", is_flag=True, help="Then empty the store they came from of what was read back from the other one."
)


@click.command("backup", cls=Command)
@_delete_option
@click.option("--no-ignore-errors", "ignore_errors", flag_value=False, default=True, help="Stop at the first failure.")
@output_option
def backup(delete_secrets: bool, ignore_errors: bool, output: str | None) -> None:
    """Copy all secrets of everybody to the backup secrets store.

    What is there already is skipped, so it can be interrupted and run again. The exit status is 1 if anything failed.
    """
    with _at_work("Backing up") as (client, progress):
        report = client.backup_secrets(delete_secrets=delete_secrets, ignore_errors=ignore_errors, on_progress=progress)
    show_report(report, "Backed up", output)


@click.command("restore", cls=Command)
@_delete_option
@click.option("--ignore-errors", is_flag=True, help="Go on after failures.")
@output_option
def restore(delete_secrets: bool, ignore_errors: bool, output: str | None) -> None:
    """Copy all secrets of everybody from the backup secrets store to the primary one.

    It never goes back in time: what is newer in the primary store stays. The exit status is 1 if anything failed.
    """
    with _at_work("Restoring") as (client, progress):
        report = client.restore_secrets(delete_secrets=delete_secrets, ignore_errors=ignore_errors, on_progress=progress)
    show_report(report, "Restored", output)


@click.command("verify", cls=Command)
@click.option("--deep", is_flag=True, help="Read every value and compare it with the index; nothing is shown.")
@click.option("--repair", is_flag=True, help="Mend what can be mended: copy what is missing or damaged, delete what nobody knows.")
@output_option
def verify(deep: bool, repair: bool, output: str | None) -> None:
    """Compare the index with the secrets stores: what is missing, not copied, corrupt, or there without a secret.

    The exit status is 1 if anything is wrong.
    """
    with _at_work("Verifying") as (client, progress):
        report = client.verify_secrets(deep=deep, repair=repair, on_progress=progress)
    show_report(report, "Verified", output)


@contextmanager
def _at_work(label: str) -> Iterator[tuple[Client, Callable[[Job], None]]]:
    """A client, and what shows how far it is. Ctrl-C says what becomes of the rest."""
    server = None
    try:
        with open_client() as client, _bar(label) as progress:
            server = client.transport.server
            yield client, progress
    except KeyboardInterrupt:
        from strongroom.errors import JobFailed

        if server:
            raise JobFailed("interrupted; the server goes on with it", hint="run it again later, to see what is left") from None
        raise JobFailed("interrupted; what was done stays done", hint="run it again to go on") from None


@contextmanager
def _bar(label: str) -> Iterator[Callable[[Job], None]]:
    """A progress bar, on a terminal."""
    with click.progressbar(length=1, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def progress(job: Job) -> None:
            bar.length = max(job.total, 1)
            bar.update(min(bar.length, job.report.done + job.report.failed + job.report.skipped) - bar.pos)

        yield progress


def show_report(report: JobReport, word: str, output: str | None) -> None:
    """Counts and failures. Ends with status 1 if there are any."""
    if output in ("json", "yaml"):
        show_data(plain(report), output)
    skipped = f", {report.skipped} needed nothing" if report.skipped else ""
    failed = f", {report.failed} failed" if report.failed else ""
    say(f"{word} {count(report.done, 'secret')}{skipped}{failed}.")
    if output not in ("json", "yaml"):
        for failure in report.failures[:_SHOWN]:
            say(f"  {failure.name or '(no secret)'}: {failure.error}")
        if len(report.failures) > _SHOWN:
            say(f"  and {len(report.failures) - _SHOWN} more; see them with -o json")
    if report.failed:
        raise click.exceptions.Exit(1)
