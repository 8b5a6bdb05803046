"""What the commands take that are given keys and values."""

from __future__ import annotations

import click

from strongroom.cli.command import Command, HintedUsageError, KeyValueCommand

interactive_option = click.option("-i", "--interactive", is_flag=True, help="Ask for keys and (hidden) values.")
values_option = click.option("-v", "--values", "document", metavar="JSON|YAML|@FILE|-", help="Keys and values as a mapping.")
env_file_option = click.option("--from-env-file", "env_file", metavar="FILE", help="Keys and values from a .env file.")

VALUES_HELP = """
    \b
    --KEY=VALUE    the value itself (visible in the shell's history and in process lists)
    --KEY=@PATH    the content of a file, as it is
    --KEY=@@TEXT   a value that starts with @
    --KEY=-        standard input
"""


_TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class SecretCommand(Command):
    """A command with `--scope`: `--private` stands for the user scope, and options may be spelled in other ways."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, as_meant(self, ctx, args, "--scope"))


class CreateCommand(KeyValueCommand):
    """As `SecretCommand`, for a command that takes keys and values."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, as_meant(self, ctx, args, "--scope"))


def as_meant(command: click.Command, ctx: click.Context, args: list[str], scope_option: str) -> list[str]:
    """The words with `--Scope`, `--new_scope` and the like spelled as the command's options are, so that they are no keys.

    `--private` and `-p`, alone or with a truth value (`--private=true`, `--private no`), become the option that names a scope.
    """
    own = [parameter for parameter in command.get_params(ctx) if isinstance(parameter, click.Option)]
    names = {name for option in own for name in option.opts}
    with_value = {name for option in own if not option.is_flag for name in option.opts}
    end = args.index("--") if "--" in args else len(args)
    words: list[str] = []
    given = ""
    place = 0
    while place < end:
        word, place = args[place], place + 1
        name, equals, value = word.partition("=")
        meant = name.lower().replace("_", "-") if name.startswith("--") else name
        if words and words[-1] in with_value:
            words.append(word)
        elif meant in ("--private", "-p") and "-p" not in names:
            if not equals and place < end and args[place].lower() in _TRUTHS:
                equals, value, place = "=", args[place], place + 1
            truth = _TRUTHS.get(value.strip().lower()) if equals else True
            if truth is None:
                raise HintedUsageError(f"{meant} takes true or false", "a key of that name goes through -v", ctx)
            given = meant
            words.append(f"{scope_option}={'user' if truth else 'workspace'}")
        elif meant in names and name not in names:
            words.append(meant + equals + value)
        else:
            words.append(word)
    if given and sum(word.partition("=")[0] == scope_option for word in words) > 1:
        raise HintedUsageError(f"{given} and {scope_option} exclude each other", "use one of them", ctx)
    return words + args[end:]


class UpdateCommand(KeyValueCommand):
    """Takes several keys behind one `-r`, once the secret is named: `update NAME -r KEY KEY`. `--private` says where to move it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = as_meant(self, ctx, args, "--new-scope")
        own = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        with_value = {name for option in own if not option.is_flag for name in option.opts}
        words: list[str] = []
        named = removing = False
        expecting = ""
        for word in args:
            if expecting:
                removing, expecting = named and expecting in ("-r", "--remove-keys"), ""
            elif word.startswith("-") and word != "-":
                expecting, removing = word if word in with_value else "", False
            elif removing:
                words.append("-r")
            else:
                named = True
            words.append(word)
        return super().parse_args(ctx, words)


def read_values(pairs: list[tuple[str, str]], document: str | None, env_file: str | None) -> dict[str, str | None]:
    """The values that a command line gives, in any of its ways; None removes a key."""
    from strongroom.cli.values import ValueReader

    reader = ValueReader()
    if document is not None:
        reader.add_document(document)
    if env_file is not None:
        reader.add_env_file(env_file)
    reader.add_pairs(pairs)
    return reader.values


def keys_to_remove(removed: tuple[str, ...], values: dict[str, str | None]) -> list[str]:
    """The keys that `-r` names, also several with commas between, and those whose value is None."""
    keys = [key for word in removed for key in word.split(",")]
    for key in keys:
        if key in values or keys.count(key) > 1:
            raise HintedUsageError(f"the key '{key}' is to be changed twice", "set it or remove it, once")
    return keys + [key for key, value in values.items() if value is None]
