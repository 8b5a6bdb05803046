"""Questions to whoever types.

On a terminal hidden answers are not echoed. Where standard input is no terminal, answers are read from it line by line, so that a
script can give them. Questions go to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from strongroom.cli.command import HintedUsageError
from strongroom.cli.output import say


def ask(question: str) -> str:
    """A line, without its end. `click.Abort` at the end of the input."""
    if sys.stdin.isatty():
        answer: str = click.prompt(question, default="", show_default=False, err=True)
        return answer
    click.echo(f"{question}: ", err=True, nl=False)
    line = sys.stdin.readline()
    click.echo("", err=True)
    if not line:
        raise click.Abort
    return line.removesuffix("\n").removesuffix("\r")


def ask_hidden(question: str) -> str:
    """A line that is not shown while it is typed."""
    if not sys.stdin.isatty():
        return ask(question)
    import getpass

    try:
        return getpass.getpass(f"{question}: ", stream=sys.stderr)
    except EOFError:
        raise click.Abort from None


def read_secret(option: str, given: str | None, question: str, *, again: bool = False) -> str:
    """A password or key: from standard input where the option was given as `-`, else asked hidden (twice with `again`).

    Given in clear on the command line it is refused: it would stand in process lists and in the shell's history.
    """
    if given is not None and given != "-":
        raise HintedUsageError(f"{option} takes no value on the command line", f"{option}=- reads it from standard input")
    if given == "-":
        return sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    while True:
        answer = ask_hidden(f"{question} (hidden)")
        if not again or not sys.stdin.isatty() or ask_hidden("The same again (hidden)") == answer:
            return answer
        say("  these were not the same")


def ask_until_good(question: str, check: Callable[[str], str | None]) -> str:
    """Asks again, with the reason, until `check` has none against the answer."""
    while True:
        answer = ask(question)
        reason = check(answer)
        if reason is None:
            return answer
        say(f"  {reason}")


def confirm(question: str) -> bool:
    """Whether the answer is yes; anything else, also nothing, is no."""
    return ask(f"{question} [y/N]").strip().lower() in ("y", "yes")
