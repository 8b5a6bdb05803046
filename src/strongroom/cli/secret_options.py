"""What the commands take that are given keys and values."""

from __future__ import annotations

import click

from strongroom.cli.command import HintedUsageError, KeyValueCommand

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


class UpdateCommand(KeyValueCommand):
    """Takes several keys behind one `-r`, once the secret is named: `update NAME -r KEY KEY`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
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
