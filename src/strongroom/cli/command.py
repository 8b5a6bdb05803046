"""What all commands have in common: how words on the command line are read, and refused without repeating them.

A word may be a value of a secret, also when it stands in the wrong place. So no message here shows one.
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import Any, NoReturn

import click

_PAIR = re.compile(r"--([^=]*)=(.*)", re.DOTALL)


class HintedUsageError(click.UsageError):
    """A usage error that says what to do instead."""

    def __init__(self, message: str, hint: str, ctx: click.Context | None = None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


class Command(click.Command):
    """A command whose errors never repeat what was typed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_extra_args = True  # click would quote them

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing and args and args[-1].startswith("-"):
            args = args[:-1]  # completing the value of an option: without one, click would forget the words before it
        try:
            super().parse_args(ctx, args)
        except click.MissingParameter as error:
            _explain_missing(error, ctx)
        except click.BadParameter as error:
            _explain_bad(error, ctx)
        if ctx.args and not ctx.resilient_parsing:
            many = "a word" if len(ctx.args) == 1 else f"{len(ctx.args)} words"
            self.refuse_extra(ctx, f"there {'is' if len(ctx.args) == 1 else 'are'} {many} too many")
        return []

    def refuse_extra(self, ctx: click.Context, message: str) -> NoReturn:
        """Raises the error for words that have no meaning here."""
        raise HintedUsageError(message, f"see: {ctx.command_path} --help", ctx)


class KeyValueCommand(Command):
    """A command that also takes `--KEY=VALUE` for any key; they arrive in the parameter `pairs`, in order.

    Words that look like one of the command's own options are options. After `--` nothing is an option.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options_metavar = "[OPTIONS] [--KEY=VALUE ...]"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for parameter in self.get_params(ctx) if isinstance(parameter, click.Option) for name in parameter.opts}
        end = args.index("--") if "--" in args else len(args)
        pairs: list[tuple[str, str]] = []
        rest: list[str] = []
        for word in args[:end]:
            pair = _PAIR.fullmatch(word)
            if pair and f"--{pair[1]}" not in own:
                pairs.append((pair[1], pair[2]))
            elif word.startswith("--") and not pair and word not in own:
                raise HintedUsageError(f"{word} has no value", f"write it as one word: {word}=VALUE", ctx)
            else:
                rest.append(word)
        ctx.params["pairs"] = pairs
        return super().parse_args(ctx, rest + args[end:])

    def refuse_extra(self, ctx: click.Context, message: str) -> NoReturn:
        raise HintedUsageError(message, "a key and its value are one word: --KEY=VALUE", ctx)


class Group(click.Group):
    """A group with suggestions for mistyped commands."""

    command_class = Command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {near[0]}?" if near else f"see: {ctx.command_path} --help"
            raise HintedUsageError(f"there is no such command in '{ctx.command_path}'", hint, ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group whose commands are known by name and one line of help, and loaded when they are used."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        """`lazy` maps a command's name to where it is (`module:attribute`) and its line of help."""
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self.lazy)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return None
        module, _, attribute = self.lazy[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][1]) for name in self.list_commands(ctx)])


def _explain_missing(error: click.MissingParameter, ctx: click.Context) -> NoReturn:
    name = error.param.human_readable_name if error.param else "an argument"
    if isinstance(error.param, click.Option):
        name = max(error.param.opts, key=len)
    raise HintedUsageError(f"{name} is missing", f"see: {ctx.command_path} --help", ctx) from None


def _explain_bad(error: click.BadParameter, ctx: click.Context) -> NoReturn:
    parameter = error.param
    if parameter is None:
        raise HintedUsageError("an option has a wrong value", f"see: {ctx.command_path} --help", ctx) from None
    name = max(parameter.opts, key=len)
    kind = parameter.type
    if isinstance(kind, click.Choice):
        message = f"{name} takes one of: {', '.join(map(str, kind.choices))}"
    elif isinstance(kind, click.IntRange):
        message = (
            f"{name} takes a whole number"
            + (f" from {kind.min}" if kind.min is not None else "")
            + (f" to {kind.max}" if kind.max is not None else "")
        )
    else:
        message = f"{name} takes {kind.name}"
    raise HintedUsageError(message, f"see: {ctx.command_path} --help", ctx) from None
