"""`strongroom audit`: who did what."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from strongroom.cli.client import open_client
from strongroom.cli.command import Group, HintedUsageError
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
    write,
)

if TYPE_CHECKING:
    from pathlib import Path

    from strongroom.audit.archive import Summary


@click.group("audit", cls=Group, short_help="See who did what, and verify that the record is whole.")
def audit() -> None:
    """See who did what, and verify that the record is whole. For administrators of the server.

    A server records every access, also refused ones, before it answers. The embedded store records changes; with
    STRONGROOM_AUDIT=all also reads. No event holds a value.
    """


def _filters(command: Any) -> Any:
    for option, text in (
        ("--until", "Only those before this time, for example 2026-01-31T09:00:00Z."),
        ("--since", "Only those from this time on."),
        ("--outcome", "Only those that ended so: ok, forbidden, not_found, ..."),
        ("--target-id", "Only those about this id."),
        ("--target", "Only those about this name."),
        ("--operation", "Only this operation, for example secret.get-by-name."),
        ("--actor", "Only those by this user or service account."),
    ):
        command = click.option(option, metavar="TIME" if option in ("--since", "--until") else "TEXT", help=text)(command)
    return command


def _with_times(filters: dict[str, Any]) -> dict[str, Any]:
    from strongroom.models.filter import parse_time

    times = {name: parse_time(f"--{name}", filters[name]) for name in ("since", "until") if filters[name] is not None}
    return {**filters, **times}


@audit.command("list")
@_filters
@paging_options
@output_option
def list_(page: int, size: int, output: str | None, **filters: Any) -> None:
    """List events, newest first."""
    filters = _with_times(filters)
    with open_client() as client:
        found = client.list_audit_events(page=page, size=size, **filters)
    if output in ("json", "yaml"):
        show_data(plain(found), output)
        return
    show_table(
        ["#", "when", "by", "operation", "target", "version", "outcome", "from", "details"],
        [
            [
                str(item.number),
                local_time(item.moment),
                item.actor,
                item.operation,
                item.target or item.target_id,
                "" if item.version is None else str(item.version),
                item.outcome,
                item.address,
                ", ".join(filter(None, [item.detail, f"sets {' '.join(item.changed)}" if item.changed else ""])),
            ]
            for item in found
        ],
    )
    say_page(found, "event")


list_.name = "list"


@audit.command("export", short_help="Write events as lines of JSON, oldest first.")
@_filters
@click.option("--after", type=click.IntRange(0), metavar="N", default=0, help="Only events behind this number, to go on with.")
def export(after: int, **filters: Any) -> None:
    """Write events to standard output, oldest first, each as a line of JSON."""
    written, filters = 0, _with_times(filters)
    with open_client() as client:
        while True:
            found = client.list_audit_events(after=after, size=1000, **filters)
            for item in found:
                write(json.dumps(plain(item), ensure_ascii=False) + "\n")
                after, written = item.number, written + 1
            if len(found) < 1000:
                break
    say(f"Wrote {count(written, 'event')}.")


@audit.command("verify", short_help="Follow the chain of events from its beginning.")
@click.option("--expect", metavar="NUMBER:MARK", help="What an earlier verification said: that event has to be there, unchanged.")
@click.option("--archive", type=click.Path(dir_okay=False), metavar="FILE", help="Verify an archive instead.")
@click.option("--key", metavar="HEX", help="With --archive: the public key that it must be signed with.")
@output_option
def verify(expect: str | None, archive: str | None, key: str | None, output: str | None) -> None:
    """Follow the chain of events from its beginning; ends with 1 if it does not hold.

    An event that was edited, removed, added or put elsewhere breaks the chain, and so does a missing end. Keep what this says
    elsewhere, and give it with --expect next time: then also an older copy of the whole trail is noticed.

    An archive is verified without a server or a database. Its signature shows that nothing in it was changed, as long as its key is
    the one that was printed when it was made.
    """
    if archive is not None:
        from pathlib import Path

        _verify_archive(Path(archive), key, output)
        return
    number, mark = (None, None) if expect is None else _number_and_mark("--expect", expect)
    with open_client() as client:
        report = client.verify_audit(number=number, mark=mark)
    if output in ("json", "yaml"):
        show_data(plain(report), output)
    elif output:
        show_fields({"events": report.events, "valid": "yes" if report.valid else "no", "mark": report.mark}, output)
    if report.acknowledged:
        say(f"{count(report.acknowledged, 'problem')} acknowledged before.")
    for problem in report.problems:
        say(f"  event {problem.number}: {problem.reason}")
    if not report.valid:
        say("Error: the audit trail was changed")
        say("hint: keep a copy of the database as it is, and find out who could write to it; once that is done:")
        say(f"  strongroom audit acknowledge {report.events}:{report.mark}")
        raise click.exceptions.Exit(1)
    say(f"The audit trail is whole: {count(report.events, 'event')}. Keep this: {report.events}:{report.mark}")


@audit.command("acknowledge", short_help="Declare the problems investigated that verify shows.")
@click.argument("report", metavar="NUMBER:MARK")
def acknowledge(report: str) -> None:
    """Declare the problems investigated that `strongroom audit verify` shows; REPORT is what it printed last.

    They stay on record, and verify counts them as acknowledged. Any other problem fails it as before.
    """
    number, mark = _number_and_mark("NUMBER:MARK", report)
    with open_client() as client:
        found = client.acknowledge_audit(number, mark)
    say(f"Acknowledged {count(len(found.problems), 'problem')}.")


@audit.command("archive", short_help="Seal old events into a signed file, and remove them.")
@click.option("--before", required=True, metavar="TIME", help="Only events before this time, for example 2026-01-31T09:00:00Z.")
@click.argument("file", type=click.Path(dir_okay=False))
@output_option
def archive(before: str, file: str, output: str | None) -> None:
    """Seal the events before a time into a new, signed file, and remove them from the database.

    Works on the database itself: run it where the server's settings and key are. What remains verifies from the archive's end on.
    """
    from pathlib import Path

    from strongroom.client.administration import archive_audit
    from strongroom.config import read_settings
    from strongroom.models.filter import parse_time

    summary = archive_audit(read_settings(), parse_time("--before", before), Path(file))
    _show_archive(summary, output)
    say(f"Archived {count(summary.events, 'event')} in {file}. Keep the key elsewhere: {summary.key}")


def _verify_archive(file: Path, key: str | None, output: str | None) -> None:
    from strongroom.audit.archive import NotAnArchive, verify

    try:
        summary = verify(file)
    except OSError as error:
        raise click.ClickException(f"the archive {file} cannot be read: {error.strerror}") from None
    except NotAnArchive as error:
        raise click.ClickException(f"the archive {file} does not verify: {error}") from None
    if key is not None and key.lower() != summary.key:
        raise click.ClickException(f"the archive {file} is signed with another key: {summary.key}")
    _show_archive(summary, output)
    say(f"The archive is whole: {count(summary.events, 'event')}, signed with {summary.key}")


def _show_archive(summary: Summary, output: str | None) -> None:
    if output:
        show_fields({name: getattr(summary, name) for name in ("events", "begins", "ends", "mark", "key", "sha256")}, output)


def _number_and_mark(option: str, text: str) -> tuple[int, str]:
    digits, colon, mark = text.partition(":")
    if not colon or not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise HintedUsageError(f"{option} takes NUMBER:MARK", "as verify has printed it before")
    return int(digits), mark
