"""`strongroom secrets-manager secret migrate`: questions, and a report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from strongroom.cli.command import Command, HintedUsageError
from strongroom.cli.output import count, output_option, say, show_table
from strongroom.cli.prompts import ask_until_good, confirm
from strongroom.cli.transfer import show_report

if TYPE_CHECKING:
    from strongroom.models.job import JobFailure
    from strongroom.models.secret import Secret
    from strongroom.secrets_managers.migration import Candidate, Migration

_MOST_FAILURES = 1000


@click.command("migrate", cls=Command, short_help="Move secrets to the centralized store.")
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@click.option(
    "--scope",
    type=click.Choice(["workspace", "user"]),
    default="workspace",
    show_default=True,
    help="Who is to see them: the workspace, or you alone.",
)
@click.option("--non-interactive", "-n", is_flag=True, help="Ask nothing: migrate all but those that would overwrite others.")
@click.option("--overwrite", is_flag=True, help="Where a secret of the same name has other values, make it an exact mirror.")
@click.option("--delete", is_flag=True, help="Delete each from the secrets manager once it was read back from the centralized store.")
@click.option("--show-secrets", is_flag=True, help="Show the values in the questions.")
@output_option
def migrate(
    names: tuple[str, ...],
    scope: str,
    non_interactive: bool,
    overwrite: bool,
    delete: bool,
    show_secrets: bool,
    output: str | None,
) -> None:
    """Move secrets from the secrets manager of the active stack to the centralized store: all, unless some are named.

    Asks for each. Those that are there already, with the same values, are skipped; so it can be interrupted and run again. References
    keep working meanwhile and afterwards. What is overwritten stays as a former version: strongroom secret rollback. The exit status
    is 1 if anything failed.
    """
    if non_interactive and show_secrets:
        raise HintedUsageError("--show-secrets shows values in questions, and --non-interactive asks none", "leave one of them out")
    from strongroom.cli.secrets_manager import active_manager
    from strongroom.errors import NotFound, StrongroomError
    from strongroom.models.job import JobReport
    from strongroom.models.secret import Scope
    from strongroom.secrets_managers.migration import Migration

    with active_manager() as (client, manager):
        migration = Migration(client, manager, Scope(scope))
        wanted = migration.names(names)
        tally = _Tally()
        work = _Work(migration, tally, non_interactive, overwrite, delete, show_secrets)
        with _bar(len(wanted), non_interactive) as bar:
            for name in wanted:
                try:
                    work.migrate(name)
                except NotFound as error:
                    if names:
                        tally.fail(name, error)
                    else:
                        tally.skipped += 1  # somebody else deleted it meanwhile
                except StrongroomError as error:
                    tally.fail(name, error)
                except (KeyboardInterrupt, click.Abort):
                    raise click.ClickException(
                        f"interrupted after {count(tally.all, 'secret')}; what was migrated stays so, run it again to go on"
                    ) from None
                bar.update(1)
    report = JobReport(done=tally.done, failed=tally.failed, skipped=tally.skipped, failures=tally.failures)
    show_report(report, "Migrated", output)


@dataclass
class _Tally:
    done: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list[JobFailure] = field(default_factory=list)

    @property
    def all(self) -> int:
        return self.done + self.skipped + self.failed

    def fail(self, name: str, error: Exception) -> None:
        from strongroom.models.job import JobFailure

        self.failed += 1
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(JobFailure(name=name, id="", error=getattr(error, "message", str(error))))


@dataclass(frozen=True)
class _Work:
    migration: Migration
    tally: _Tally
    quiet: bool
    overwrite: bool
    delete: bool
    show_secrets: bool

    def migrate(self, name: str) -> None:
        """Does one secret, and counts it. Raises what stops it."""
        from strongroom.secrets_managers.migration import Standing

        candidate, target = self.migration.look_at(name), name
        if candidate.standing is not Standing.SAME:
            decided = self._decide(candidate)
            if decided is None:
                self.tally.skipped += 1
                return
            candidate, target = decided
        if candidate.standing is Standing.SAME:
            self.tally.skipped += 1
            self._say(f"Secret '{target}' is there already, with the same values.")
        else:
            made = self.migration.put(candidate, target)
            self.tally.done += 1
            self._say(f"Migrated '{name}' to secret '{made.name}' {_where(made)}, version {made.version}.")
        if self.delete or (not self.quiet and confirm(f"Delete '{name}' from the secrets manager?")):
            self.migration.delete(name, target)
            self._say(f"Deleted '{name}' from the secrets manager.")

    def _decide(self, candidate: Candidate) -> tuple[Candidate, str] | None:
        """What to migrate, and under which name; None to leave it. `AlreadyExists` where nobody may be asked."""
        from strongroom.errors import AlreadyExists
        from strongroom.secrets_managers.migration import Standing

        name, target = candidate.secret.name, candidate.secret.name
        if not self.quiet:
            if self.show_secrets:
                show_table(["key", "value"], list(candidate.secret.content.items()))
            if not confirm(f"Migrate secret '{name}' ({', '.join(candidate.secret.values)})?"):
                return None
        while candidate.standing is Standing.DIFFERENT and not self.overwrite:
            if self.quiet:
                raise AlreadyExists("there is a secret of this name with other values; --overwrite makes it a mirror of this one")
            answer = self._ask_about(candidate, target)
            if answer == "overwrite":
                break
            if answer == "skip":
                return None
            target = answer
            candidate = self.migration.look_at(name, target)
        return candidate, target

    def _ask_about(self, candidate: Candidate, target: str) -> str:
        """`overwrite`, `skip`, or another name."""
        existing = candidate.existing
        assert existing is not None
        say(f"There is a secret '{target}' {_where(existing)} with other values; its keys are: {', '.join(existing.keys)}.")
        if self.show_secrets:
            show_table(["key", "value there"], list(existing.secret_values.items()))
        choices = {"o": "overwrite", "overwrite": "overwrite", "n": "name", "name": "name", "s": "skip", "skip": "skip", "": "skip"}

        def bad(answer: str) -> str | None:
            return None if answer.strip().lower() in choices else "answer with o, n or s"

        answer = choices[ask_until_good("Overwrite it (o), migrate to another name (n), or skip (s)? [s]", bad).strip().lower()]
        return ask_until_good("Its name", _bad_name) if answer == "name" else answer

    def _say(self, line: str) -> None:
        if not self.quiet:
            say(line)


def _bad_name(name: str) -> str | None:
    from strongroom.errors import InvalidInput
    from strongroom.models.secret import check_name

    try:
        check_name(name)
    except InvalidInput as error:
        return str(error)
    return "this is an answer, not a name" if name in ("overwrite", "skip") else None


def _where(secret: Secret) -> str:
    return "in your user scope" if secret.scope == "user" else f"in workspace '{secret.workspace}'"


@contextmanager
def _bar(length: int, shown: bool) -> Iterator[click._termui_impl.ProgressBar[int]]:
    """A progress bar, on a terminal and where nobody is asked."""
    with click.progressbar(
        length=max(length, 1), label="Migrating", file=sys.stderr, hidden=not (shown and sys.stderr.isatty())
    ) as bar:
        yield bar
