"""Questions to whoever types.

On a terminal hidden answers are not echoed. Where standard input is no terminal, answers are read from it line by line, so that a
script can give them. Questions go to stderr.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from strongroom.cli.command import HintedUsageError
from strongroom.cli.output import count, say
from strongroom.credential_text import strip_credential
from strongroom.errors import InvalidInput


def ask(question: str) -> str:
    """A line, without its end. `click.Abort` at the end of the input."""
    if sys.stdin.isatty():
        answer: str = click.prompt(question, default="", show_default=False, err=True)
        return answer
    click.echo(f"{question}: ", err=True, nl=False)
    line = _next_line()
    click.echo("", err=True)
    if line is None:
        raise click.Abort
    return line


def ask_hidden(question: str, *, counted: bool = False) -> str:
    """An answer that is not shown, typed or pasted with all its lines; else a line. `TooLarge` for one that no secret has room for.

    With `counted`, the user sees how many characters arrived.
    """
    if not sys.stdin.isatty():
        return ask(question)
    try:
        from strongroom.cli.hidden_input import read_hidden
    except ImportError:  # no POSIX terminals
        import getpass

        return getpass.getpass(f"{question}: ", stream=sys.stderr)
    from strongroom.models.secret import MAX_SECRET_BYTES

    answer = read_hidden(f"{question}: ", MAX_SECRET_BYTES)
    if counted and answer:
        lines = answer.count("\n") + 1
        say(f"  {count(len(answer), 'character')}" + (f" in {lines} lines" if lines > 1 else ""))
    return answer


def read_secret(option: str, given: str | None, question: str, *, again: bool = False) -> str:
    """A password or key: from standard input where the option was given as `-`, else asked hidden (twice with `again`).

    Given in clear on the command line it is refused: it would stand in process lists and in the shell's history.
    """
    if given is not None and given != "-":
        raise HintedUsageError(f"{option} takes no value on the command line", f"{option}=- reads it from standard input")
    if given == "-":
        return read_credential(option)
    while True:
        answer = ask_hidden(f"{question} (hidden)")
        if not sys.stdin.isatty():
            return strip_credential(answer)
        if not again or ask_hidden("The same again (hidden)") == answer:
            return answer
        say("  these were not the same")


def read_credential(option: str) -> str:
    """A line of standard input without line ends, blanks and byte order marks around it. `UsageError` when there is nothing else."""
    text = strip_credential(_next_line() or "")
    if not text:
        raise HintedUsageError(f"there is nothing on standard input for {option}", "it takes one line")
    return text


def _next_line() -> str | None:
    """The next line of standard input without its end, or None at its end. `InvalidInput` if it is no text in UTF-8."""
    line: str | bytes = getattr(sys.stdin, "buffer", sys.stdin).readline()
    try:
        text = line.decode() if isinstance(line, bytes) else line
    except UnicodeDecodeError:
        text = None  # that error holds the line: ours is raised outside of it
    if text is None:
        raise InvalidInput("standard input is not UTF-8 text")
    return text.removesuffix("\n").removesuffix("\r") if text else None


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
