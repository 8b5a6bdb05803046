"""The `strongroom` command: its groups, and how every run of it ends."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

import strongroom
from strongroom.cli.command import LazyGroup
from strongroom.errors import NothingToChange, StrongroomError, StrongroomWarning

COMPONENT_GROUPS = {
    "alerter": "alerters",
    "artifact-store": "artifact stores",
    "container-registry": "container registries",
    "experiment-tracker": "experiment trackers",
    "model-deployer": "model deployers",
    "model-registry": "model registries",
    "orchestrator": "orchestrators",
    "secrets-manager": "secrets managers",
    "service-connector": "service connectors",
    "step-operator": "step operators",
}
"""The groups for components, one per type."""

main = LazyGroup(
    "strongroom",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda *given: _show_version(*given),
            help="Show the version and exit.",
        )
    ],
    help="Keep the credentials of machine-learning pipelines out of code.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    lazy={
        **{
            name: (f"strongroom.cli.component:{name.replace('-', '_')}", f"Register and change {plural}.")
            for name, plural in COMPONENT_GROUPS.items()
        },
        "api-key": ("strongroom.cli.service_account:api_key", "Make and end the API keys of service accounts."),
        "audit": ("strongroom.cli.audit:audit", "See who did what, and verify that the record is whole."),
        "completion": ("strongroom.cli.completion:completion", "Print the script that completes commands in a shell."),
        "job": ("strongroom.cli.job:job", "List and cancel jobs: backups, restores and verifications of all secrets."),
        "login": ("strongroom.cli.login:login", "Log in to a server, for this and all later commands."),
        "logout": (
            "strongroom.cli.login:logout",
            "End the login: its token is dead, and commands work with the embedded store again.",
        ),
        "run": ("strongroom.cli.run:run", "Look at what pipelines did."),
        "secret": ("strongroom.cli.secret:secret", "Create, read, change and delete secrets."),
        "secrets-manager": (
            "strongroom.cli.secrets_manager:secrets_manager",
            "Deprecated: keep secrets in a component of the stack, and move them to where 'secret' keeps them.",
        ),
        "server": ("strongroom.cli.server:server", "Administer the store that this machine runs."),
        "service-connector": (
            "strongroom.cli.service_connector:service_connector",
            "Register and try out logins to services that others run.",
        ),
        "service-account": ("strongroom.cli.service_account:service_account", "Add and end identities of machines."),
        "stack": ("strongroom.cli.stack:stack", "Put components together, validate their references, choose."),
        "status": ("strongroom.cli.login:status", "Show which server or store commands work with, as whom, and whether it answers."),
        "user": ("strongroom.cli.user:user", "Add and change the people who can log in."),
        "version": ("strongroom.cli.version:version", "Say which version this is."),
        "workspace": ("strongroom.cli.workspace:workspace", "Make workspaces, choose one, say who belongs to them."),
    },
)


def _show_version(ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given and not ctx.resilient_parsing:
        click.echo(f"strongroom {strongroom.__version__}")
        ctx.exit()


def run() -> NoReturn:
    """Runs the command line and ends the process: 0 done, 1 a handled failure, 2 wrong usage."""
    _open_missing_streams()
    code = execute(sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        # What is left in the buffer has nowhere to go; Python would try once more at the end and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = code or 1
    sys.exit(code)


def _open_missing_streams() -> None:
    """Opens the null device where standard input or standard error is closed.

    No file of ours gets their numbers then, into which others would write. Standard output stays closed for us: that its reader is
    not there is an error of the commands that write to it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - likewise


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line in this process; its exit code. Never raises."""
    try:
        if changes := sys.modules.get("strongroom.changes"):
            changes.begin()
        with _warnings_shown():
            result = main.main(args=list(arguments), prog_name="strongroom", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.UsageError as error:
        hint = getattr(error, "hint", None) or (f"see: {error.ctx.command_path} --help" if error.ctx else None)
        return _fail(_usage_message(error), hint, 2)
    except (click.Abort, KeyboardInterrupt):
        return _cancelled()
    except click.ClickException as error:
        return _fail(error.format_message(), None, 1)
    except StrongroomError as error:
        _trace(error)
        return _fail(error.message, error.hint, 2 if isinstance(error, NothingToChange) else 1)
    except BrokenPipeError:  # whoever read our output has gone
        return 1
    except OSError as error:
        _trace(error)
        return _fail(f"the system refused: {error.strerror or type(error).__name__}", None, 1)
    except Exception as error:  # noqa: BLE001 - the user is told, and a traceback is for those who ask for one
        _trace(error)
        return _fail(
            f"this should not have happened ({type(error).__name__})",
            "run it again with STRONGROOM_DEBUG=1 and report what it shows",
            1,
        )
    return result if isinstance(result, int) else 0


@contextmanager
def _warnings_shown() -> Iterator[None]:
    """Our own warnings are lines for people; all others stay with Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", StrongroomWarning)
        former = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, StrongroomWarning):
                click.echo(f"warning: {_visible(str(message))}", err=True)
            else:
                former(message, category, *rest)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _usage_message(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        return f"there is no option {error.option_name}"
    if isinstance(error, click.BadOptionUsage):
        return f"the option {error.option_name} is used wrongly; does it need a value?"
    return error.message


def _cancelled() -> int:
    """Says what is known about the changes of a command that was cancelled."""
    from strongroom.changes import Outcome, outcome

    known, done = outcome()
    if known is Outcome.NOTHING:
        return _fail("cancelled; nothing was changed", None, 1)
    if known is Outcome.DONE:
        return _fail(f"cancelled after {done} {'change was' if done == 1 else 'changes were'} made", None, 1)
    return _fail(
        "cancelled; the change may have been made"
        if done == 0
        else f"cancelled after {done} of the changes; one more may have been made",
        "look at what is there before you repeat it, for example with: strongroom secret list",
        1,
    )


def _fail(message: str, hint: str | None, code: int) -> int:
    click.echo(f"Error: {_visible(' '.join(message.split()))}", err=True)
    if hint:
        click.echo(f"hint: {_visible(hint)}", err=True)
    return code


def _visible(text: str) -> str:
    from strongroom.cli.output import visible

    return visible(text)


def _trace(error: BaseException) -> None:
    """With STRONGROOM_DEBUG=1, where it happened. Messages of foreign exceptions are left out: they might quote a value."""
    from strongroom.config import debug

    if not debug():
        return
    import traceback

    chain: BaseException | None = error
    while chain is not None:
        known = isinstance(chain, StrongroomError)
        click.echo(f"{type(chain).__module__}.{type(chain).__name__}" + (f": {_visible(str(chain))}" if known else ""), err=True)
        click.echo("".join(traceback.format_tb(chain.__traceback__)), err=True, nl=False)
        chain = chain.__cause__


if __name__ == "__main__":
    run()
