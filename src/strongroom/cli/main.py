"""The `strongroom` command: its groups, and how every run of it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

import strongroom
from strongroom.cli.command import LazyGroup
from strongroom.errors import NothingToChange, StrongroomError

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
        "completion": ("strongroom.cli.completion:completion", "Print the script that completes commands in a shell."),
        "secret": ("strongroom.cli.secret:secret", "Create, read, change and delete secrets."),
        "server": ("strongroom.cli.server:server", "Administer the store that this machine runs."),
        "version": ("strongroom.cli.version:version", "Say which version this is."),
    },
)


def _show_version(ctx: click.Context, _option: click.Parameter, given: bool) -> None:
    if given and not ctx.resilient_parsing:
        click.echo(f"strongroom {strongroom.__version__}")
        ctx.exit()


def run() -> NoReturn:
    """Runs the command line and ends the process: 0 done, 1 a handled failure, 2 wrong usage."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line in this process; its exit code. Never raises."""
    try:
        result = main.main(args=list(arguments), prog_name="strongroom", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.UsageError as error:
        hint = getattr(error, "hint", None) or (f"see: {error.ctx.command_path} --help" if error.ctx else None)
        return _fail(_usage_message(error), hint, 2)
    except (click.Abort, KeyboardInterrupt):
        return _fail("cancelled; nothing was changed", None, 1)
    except click.ClickException as error:
        return _fail(error.format_message(), None, 1)
    except StrongroomError as error:
        _trace(error)
        return _fail(error.message, error.hint, 2 if isinstance(error, NothingToChange) else 1)
    except BrokenPipeError:
        # Whoever read our output has gone; what is left in the buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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


def _usage_message(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        return f"there is no option {error.option_name}"
    if isinstance(error, click.BadOptionUsage):
        return f"the option {error.option_name} is used wrongly; does it need a value?"
    return error.message


def _fail(message: str, hint: str | None, code: int) -> int:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    return code


def _trace(error: BaseException) -> None:
    """With STRONGROOM_DEBUG=1, where it happened. Messages of foreign exceptions are left out: they might quote a value."""
    from strongroom.config import debug

    if not debug():
        return
    import traceback

    chain: BaseException | None = error
    while chain is not None:
        known = isinstance(chain, StrongroomError)
        click.echo(f"{type(chain).__module__}.{type(chain).__name__}" + (f": {chain}" if known else ""), err=True)
        click.echo("".join(traceback.format_tb(chain.__traceback__)), err=True, nl=False)
        chain = chain.__cause__


if __name__ == "__main__":
    run()
