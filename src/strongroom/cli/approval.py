"""Approving what components of other users take: the common half of `stack approve` and `service-connector approve`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli.output import plain, say, show_data, show_line
from strongroom.cli.prompts import confirm

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.models.approval import Review, Revision

account_option: Callable[[Any], Any] = click.option(
    "--for", "account", metavar="ACCOUNT", help="Approve for a service account of the workspace, as its administrator."
)
yes_option: Callable[[Any], Any] = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


def approve(client: Client, review: Review, *, connector: bool, yes: bool, output: str | None) -> None:
    """Shows what waits, asks, and approves exactly that."""
    what = f"{'service connector' if connector else 'stack'} '{review.name}'"
    whose = f"the approval of '{review.account}'" if review.account else "your approval"
    waiting = review.waiting
    if waiting:
        for revision in waiting:
            tell(revision)
        if not yes and not confirm(f"Approve {what}{f' for {review.account!r}' if review.account else ''}?"):
            say("Nothing was approved.")
            raise click.exceptions.Exit(1)
        review = client.approve(review, connector=connector)
        count = "one revision" if len(waiting) == 1 else f"{len(waiting)} revisions"
        say(f"Approved {count}. A later revision that takes something waits for an approval of its own.")
    else:
        say(f"Nothing of {what} waits for {whose}.")
    if output:
        show_data(plain(review), output)


def tell(revision: Revision) -> None:
    """A revision for people: who wrote it, what it takes, where it sends things, and what changed."""
    from strongroom.cli.output import local_time
    from strongroom.models.approval import one_line

    say(f"{revision.title}, revision {revision.number} by {revision.by} at {local_time(revision.written)}, would take:")
    for taking in revision.takes:
        show_line(f"  {one_line(str(taking))}")
    for address in revision.addresses:
        show_line(f"  it sends requests to {one_line(address)}")
    if revision.changes is None:
        show_line("  nothing of it was approved before")
    else:
        for change in revision.changes:
            show_line(f"  changed: {change}")
