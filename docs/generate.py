"""Writes the generated pages of the reference: `python docs/generate.py`. A test fails when they are stale."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import click

from strongroom import errors
from strongroom.cli.main import COMPONENT_GROUPS, main
from strongroom.config import PREFIX, STORE_VARIABLES, VARIABLES
from strongroom.flavors import BUILTIN_FLAVORS

_SHOWN = "experiment-tracker"
"""The groups of components have the same commands; this one stands for all."""

REFERENCE = Path(__file__).parent / "reference"


def command_line() -> str:
    """Every command with its help."""
    parts = ["# Command line\n\nThe help of every command, as `--help` shows it.\n"]

    def add(command: click.Command, path: str, parent: click.Context | None) -> None:
        settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
        with click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, **settings) as context:
            parts.append(f"## `{path}`\n\n```text\n{command.get_help(context)}\n```\n")
            if command.name in COMPONENT_GROUPS and command.name != _SHOWN:
                parts.append(f"Its commands are those of `strongroom {_SHOWN}`.\n")
            elif isinstance(command, click.Group):
                for name in command.list_commands(context):
                    child = command.get_command(context, name)
                    assert child is not None
                    add(child, f"{path} {name}", context)

    add(main, "strongroom", None)
    return "\n".join(parts)


def configuration() -> str:
    """Every variable."""
    rows = "\n".join(f"| `{PREFIX}{name}` | {text} |" for name, text in VARIABLES.items())
    stores = "\n".join(f"| `{PREFIX}SECRETS_STORE_{name}` | {text} |" for name, text in STORE_VARIABLES.items())
    return f"""# Configuration

Environment variables. An empty one counts as unset; an unknown one that starts with `{PREFIX}` is an error, so that a typo cannot silently mean the default.

| variable | meaning |
|---|---|
{rows}

## Secrets stores

The same for the backup store with `{PREFIX}BACKUP_SECRETS_STORE_`. Each type and each authentication method has more options: they are in the [guides](../guides/). An option is set by `{PREFIX}SECRETS_STORE_` and its name in upper case; those of the authentication method can as well stand in `AUTH_CONFIG`, all in one.

| variable | meaning |
|---|---|
{stores}

## In a file

`{PREFIX}CONFIG_FILE` names a YAML file with any of these settings. Variables come before what is in it.

```yaml
database_url: postgresql://db.internal/strongroom
keep_versions: 20
secrets_store:
  type: vault
  auth_method: kubernetes
  role: strongroom
  vault_addr: https://vault.internal:8200
```
"""


def error_codes() -> str:
    """Every error class with its code and status."""
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.StrongroomError)]
    rows = "\n".join(
        f"| `{each.__name__}` | `{each.code}` | {each.status} | {inspect.getdoc(each).splitlines()[0]} |"
        for each in sorted(classes, key=lambda each: (each.status, each.__name__))
        if each is not errors.StrongroomError
    )
    tree = "\n".join(line[4:] for line in inspect.getdoc(errors).splitlines() if line.startswith("    "))
    return f"""# Errors

All are in `strongroom.errors`. `code` is stable; `str(error)` is one line for people; `hint`, where there is one, says what to do. No message contains a value. On the command line an error is exit status 1 (2 for wrong usage).

| class | `code` | HTTP | meaning |
|---|---|---|---|
{rows}

```text
{tree}
```
"""


def flavors() -> str:
    """Every built-in flavor with its attributes."""
    parts = [
        "# Built-in flavors\n\nAttributes in *italics* are sensitive: plain text in them is masked and warned about. "
        "Texts may be references.\n"
    ]
    for flavor in BUILTIN_FLAVORS:
        parts.append(f"## {flavor.type.words}: `{flavor.name}`\n\n{flavor.description}")
        if flavor.extra:
            parts[-1] += f" To use it: `pip install 'strongroom[{flavor.extra}]'`."
        if flavor.attributes:
            rows = "\n".join(
                f"| {'*' if item.sensitive else ''}`{item.name}`{'*' if item.sensitive else ''} | {item.kind} "
                f"| {'required' if item.required else '' if item.default is None else f'`{json.dumps(item.default)}`'} "
                f"| {item.description} |"
                for item in flavor.attributes
            )
            parts.append(f"| attribute | takes | default | |\n|---|---|---|---|\n{rows}\n")
        else:
            parts[-1] += " It takes no attributes.\n"
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


PAGES = {"command-line.md": command_line, "configuration.md": configuration, "errors.md": error_codes, "flavors.md": flavors}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())
