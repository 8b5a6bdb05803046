"""Writes the generated pages of the reference: `python docs/generate.py`. A test fails when they are stale."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import click

from strongroom import errors
from strongroom.cli.main import COMPONENT_GROUPS, main
from strongroom.config import PREFIX, STORE_VARIABLES, VARIABLES, Variable
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


HELM = {
    "ADMIN_PASSWORD": "`admin.password`, `admin.existingSecret`",
    "ADMIN_USERNAME": "`admin.username`, `admin.existingSecret`",
    "CLIENT_TIMEOUT": "`server.clientTimeout`",
    "CONFIG_PATH": "always `/var/lib/strongroom`",
    "DATABASE_TIMEOUT": "`database.timeout`",
    "DATABASE_URL": "`database.url`, `database.existingSecret`",
    "ENCRYPTION_KEY": "`encryptionKey.value`, `encryptionKey.existingSecret`",
    "KEEP_VERSIONS": "`server.keepVersions`",
    "TRUSTED_PROXIES": "`server.trustedProxies`",
}
"""Values of the chart that set a variable. Others of a server go into `extraEnv`."""

OF_CLIENTS = {"ACTIVE_STACK", "ACTIVE_WORKSPACE", "API_KEY", "AUDIT", "CA_CERT", "ENCRYPTION_KEY_STORE", "INSECURE"}
OF_CLIENTS |= {"SECRET_VALIDATION_LEVEL", "SERVER_URL", "SERVER_WAIT"}
"""Variables that a server in a cluster has no use for."""


def _row(name: str, variable: Variable, helm: str) -> str:
    default = variable.default if " " in variable.default or not variable.default else f"`{variable.default}`"
    example = f"`{variable.example}`" if variable.example else ""
    return f"| `{PREFIX}{name}` | {variable.meaning} | {variable.kind} | {default} | {example} | {helm} |"


def configuration() -> str:
    """Every variable."""
    others = {name: "`extraEnv`" for name in VARIABLES if name not in OF_CLIENTS}
    rows = "\n".join(_row(name, variable, ({**others, **HELM}).get(name, "")) for name, variable in VARIABLES.items())
    stores = "\n".join(
        _row(f"SECRETS_STORE_{name}", variable, f"`secretsStore.{name.lower()}`") for name, variable in STORE_VARIABLES.items()
    )
    return f"""# Configuration

Environment variables. An empty one counts as unset; an unknown one that starts with `{PREFIX}` is an error, so that a typo cannot silently mean the default. The variables that Kubernetes sets for a Service of this name, such as `{PREFIX}SERVICE_HOST` and `{PREFIX}PORT=tcp://10.0.0.1:8200`, are ignored. Blanks, line ends and a byte order mark around a password, a key, a token or a URL do not count. The last column is the value of the [Helm chart](../guides/install-on-kubernetes.md); it is empty where a server in a cluster has no use for it.

| variable | meaning | takes | default | example | Helm |
|---|---|---|---|---|---|
{rows}

## Secrets stores

The same for the backup store with `{PREFIX}BACKUP_SECRETS_STORE_`, in Helm with `backupSecretsStore`. Each type and each authentication method has more options: they are in the [guides](../guides/). An option is set by `{PREFIX}SECRETS_STORE_` and its name in upper case; those of the authentication method can as well stand in `AUTH_CONFIG`, all in one. In Helm each is `secretsStore.` and its name, or is named in `secretsStore.existingSecrets` when it is in a Secret of yours.

| variable | meaning | takes | default | example | Helm |
|---|---|---|---|---|---|
{stores}

## In a file

`{PREFIX}CONFIG_FILE` names a YAML file with any of these settings, by their names in lower case. Variables come before what is in it. What stands there is text as it is written, also without quotes: `012345670123`, `1_000`, `12:34:56`, `2026-01-31` and `no` are not turned into anything else. Only `null`, `~` and nothing at all leave a setting unset.

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
