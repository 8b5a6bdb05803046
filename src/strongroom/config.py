"""Configuration: the only reader of the environment.

Every variable starts with `STRONGROOM_` and has a row in `Settings`; an unknown one is an error, so that a typo cannot silently
mean the default.
"""

from __future__ import annotations

import difflib
import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from strongroom.errors import ConfigurationError, printable

PREFIX = "STRONGROOM_"


class Variable(NamedTuple):
    """A setting as the reference describes it: for people, and not for the program."""

    meaning: str
    kind: str = "text"
    default: str = ""
    example: str = ""


VARIABLES = {
    "ACTIVE_STACK": Variable(
        "the name of the stack to use, instead of the one chosen with `strongroom stack set`", "name", example="training"
    ),
    "ACTIVE_WORKSPACE": Variable(
        "the name of the workspace to work in, instead of the one chosen with `strongroom workspace set`", "name", example="vision"
    ),
    "ADMIN_PASSWORD": Variable("the password of that administrator", "sensitive text", example="a long password"),
    "ADMIN_USERNAME": Variable("the administrator that a server makes when nobody can log in yet", "name", example="root"),
    "API_KEY": Variable("an API key to work with on the server", "sensitive text", example="srk_..."),
    "AUDIT": Variable("what the embedded store records; a server records all", "`writes` or `all`", "writes", "all"),
    "AUDIT_ANCHOR": Variable(
        "a folder outside the database in which the newest event of the audit trail is noted",
        "path",
        "the folder of the local store",
        "/var/lib/strongroom-audit",
    ),
    "CA_CERT": Variable(
        "a file with the certificates (PEM) that prove the server's identity, beside the system's",
        "path",
        example="/etc/ssl/our-ca.pem",
    ),
    "CLIENT_TIMEOUT": Variable(
        "how long a server waits for a request's head, for its body, and for the next one", "seconds, 1 to 600", "20", "75"
    ),
    "CONFIG_FILE": Variable(
        "a YAML file with any of these settings, by their names in lower case; variables come before it",
        "path",
        example="/etc/strongroom/strongroom.yaml",
    ),
    "CONFIG_PATH": Variable("the folder of the local store", "path", "the platform's own place for it", "/var/lib/strongroom"),
    "CONNECTOR_FOLDERS": Variable(
        "folders whose files a service connector may name when a secrets store logs in by it; without this no file",
        "paths, separated by commas",
        example="/var/run/secrets/kubernetes.io",
    ),
    "DATABASE_TIMEOUT": Variable("how long PostgreSQL, MySQL or MariaDB may take for a statement", "seconds, 1 to 600", "10", "30"),
    "DATABASE_URL": Variable(
        "an SQLAlchemy URL of the database; sensitive when it has a password",
        "URL",
        "SQLite in the local folder",
        "postgresql://strongroom@db/strongroom",
    ),
    "DEBUG": Variable("whether errors show tracebacks", "`0` or `1`", "0", "1"),
    "ENCRYPTION_KEY": Variable(
        "the encryption key; former keys may follow, separated by commas", "sensitive text: 32 bytes in base64", example="q83v...Eg=="
    ),
    "ENCRYPTION_KEY_FILE": Variable("a file with the same", "path", example="/run/secrets/encryption-key"),
    "ENCRYPTION_KEY_STORE": Variable("where a key made at first use is kept", "`file` or `keyring`", "file", "keyring"),
    "INSECURE": Variable(
        "whether a server's URL may be plain http on another machine: tokens and values travel in clear", "`0` or `1`", "0", "1"
    ),
    "KEEP_VERSIONS": Variable("how many versions of each secret are kept", "number, 1 to 10000", "10", "20"),
    "RUN_TOKEN": Variable(
        "the token of a run: programs that a step starts find it there, and work with it instead of any login",
        "sensitive text",
        example="srr_...",
    ),
    "SERVER_URL": Variable(
        "the server to work with, instead of the one that `strongroom login` chose or the embedded store",
        "URL",
        example="https://strongroom.example.com",
    ),
    "SERVER_WAIT": Variable(
        "how long a client waits for a server that restarts, by trying again what is harmless; 0 to try once",
        "seconds, 0 to 600",
        "10",
        "60",
    ),
    "SECRET_VALIDATION_LEVEL": Variable(
        "what is checked before a run starts",
        "`NONE`, `SECRET_EXISTS` or `SECRET_AND_KEY_EXISTS`",
        "SECRET_AND_KEY_EXISTS",
        "SECRET_EXISTS",
    ),
    "TRUSTED_PROXIES": Variable(
        "proxies whose X-Forwarded-For a server believes",
        "addresses or networks, separated by commas",
        example="10.0.16.0/20,fd00:0:0:1::/64",
    ),
}

STORES = {
    "SECRETS_STORE_": "the secrets store, where values live",
    "BACKUP_SECRETS_STORE_": "the backup secrets store",
}
STORE_VARIABLES = {
    "TYPE": Variable(
        "where values live; `sql` is the database itself, `hashicorp` another name of `vault`",
        "`sql`, `aws`, `azure`, `gcp`, `vault`, `hashicorp`, `custom` or `none`",
        "sql; no backup store",
        "vault",
    ),
    "AUTH_METHOD": Variable("how to log in there; each type has methods of its own", "name", "the type's", "app-role"),
    "AUTH_CONFIG": Variable("what that takes; sensitive", "JSON object", example='{"region": "eu-central-1"}'),
    "CONNECTOR": Variable(
        "a service connector of the workspace 'default' to log in by, instead of these two", "name", example="aws-prod"
    ),
    "CLASS_PATH": Variable("the class of a custom store", "`package.module:Class`", example="my_store:MyStore"),
    "TIMEOUT": Variable("how long one call may take, with all its attempts", "seconds, 1 to 300", "10", "20"),
}
"""The settings that stores of all types have. Each type has more: see the guide of the store."""


class ValidationLevel(enum.StrEnum):
    """How references are validated before a run starts. With NONE, what is missing shows when it is used."""

    NONE = "NONE"
    SECRET_EXISTS = "SECRET_EXISTS"
    SECRET_AND_KEY_EXISTS = "SECRET_AND_KEY_EXISTS"


@dataclass(frozen=True)
class StoreSettings:
    """One secrets store as configured: options by their names in lower case, as texts. They are checked where it is opened."""

    type: str = "sql"
    auth_method: str | None = None
    timeout: int = 10
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. Immutable and hashable; the encryption key is never shown."""

    folder: Path
    database_url: str = field(repr=False)
    database_timeout: int = 10
    encryption_key: str | None = field(default=None, repr=False)
    encryption_key_file: Path | None = None
    encryption_key_store: Literal["file", "keyring"] = "file"
    secrets_store: StoreSettings = StoreSettings()
    backup_secrets_store: StoreSettings | None = None
    keep_versions: int = 10
    active_stack: str | None = None
    active_workspace: str | None = None
    audit: Literal["writes", "all"] = "writes"
    audit_anchor: Path | None = None
    server_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    run_token: str | None = field(default=None, repr=False)
    ca_cert: Path | None = None
    insecure: bool = False
    server_wait: int = 10
    client_timeout: int = 20
    connector_folders: tuple[Path, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    admin_username: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    secret_validation_level: ValidationLevel = ValidationLevel.SECRET_AND_KEY_EXISTS

    @property
    def is_local_database(self) -> bool:
        """Whether the database is the SQLite file in the local folder."""
        return self.database_url == _local_database_url(self.folder)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or `ConfigurationError`. Empty variables count as unset. Reads no file but a `CONFIG_FILE`."""
    given = os.environ if environment is None else environment
    values = {name[len(PREFIX) :]: text for name, text in given.items() if name.startswith(PREFIX)}
    for name in values:
        _check_name(f"{PREFIX}{name}", name, PREFIX)
    values = {name: text for name, text in values.items() if text}
    if "CONFIG_FILE" in values:
        values = {**_read_file(Path(values["CONFIG_FILE"])), **values}
    if "ENCRYPTION_KEY" in values and "ENCRYPTION_KEY_FILE" in values:
        raise ConfigurationError(f"set {PREFIX}ENCRYPTION_KEY or {PREFIX}ENCRYPTION_KEY_FILE, not both")
    if ("ADMIN_USERNAME" in values) is not ("ADMIN_PASSWORD" in values):
        raise ConfigurationError(f"set both {PREFIX}ADMIN_USERNAME and {PREFIX}ADMIN_PASSWORD, or none of them")
    store = values.get("ENCRYPTION_KEY_STORE", "file")
    if store not in ("file", "keyring"):
        raise ConfigurationError(f"{PREFIX}ENCRYPTION_KEY_STORE is 'file' or 'keyring'")
    audit = values.get("AUDIT", "writes")
    if audit not in ("writes", "all"):
        raise ConfigurationError(f"{PREFIX}AUDIT is 'writes' or 'all'")
    level = values.get("SECRET_VALIDATION_LEVEL", ValidationLevel.SECRET_AND_KEY_EXISTS)
    if level not in list(ValidationLevel):
        raise ConfigurationError(
            f"{PREFIX}SECRET_VALIDATION_LEVEL is one of {', '.join(ValidationLevel)}", hint="unset it for SECRET_AND_KEY_EXISTS"
        )
    folder = _path(values, "CONFIG_PATH") or _default_folder()
    return Settings(
        folder=folder,
        database_url=values.get("DATABASE_URL") or _local_database_url(folder),
        database_timeout=_number(values, "DATABASE_TIMEOUT", 10, 600),
        encryption_key=values.get("ENCRYPTION_KEY"),
        encryption_key_file=_path(values, "ENCRYPTION_KEY_FILE"),
        encryption_key_store="keyring" if store == "keyring" else "file",
        secrets_store=_store(values, "SECRETS_STORE_") or StoreSettings(),
        backup_secrets_store=_store(values, "BACKUP_SECRETS_STORE_"),
        keep_versions=_number(values, "KEEP_VERSIONS", 10, 10_000),
        active_stack=values.get("ACTIVE_STACK"),
        active_workspace=values.get("ACTIVE_WORKSPACE"),
        audit="all" if audit == "all" else "writes",
        audit_anchor=_path(values, "AUDIT_ANCHOR"),
        server_url=values.get("SERVER_URL"),
        api_key=values.get("API_KEY"),
        run_token=values.get("RUN_TOKEN"),
        ca_cert=_path(values, "CA_CERT"),
        insecure=values.get("INSECURE", "0") != "0",
        server_wait=_number(values, "SERVER_WAIT", 10, 600, 0),
        client_timeout=_number(values, "CLIENT_TIMEOUT", 20, 600),
        connector_folders=_folders(values, "CONNECTOR_FOLDERS"),
        trusted_proxies=_networks(values, "TRUSTED_PROXIES"),
        admin_username=values.get("ADMIN_USERNAME"),
        admin_password=values.get("ADMIN_PASSWORD"),
        secret_validation_level=ValidationLevel(level),
    )


def adopt_variables(prefix: str) -> None:
    """Sets our variables from those of another system that mean the same, for this process and its children; ours come before them.

    What that system alone knows stays away.
    """
    for name, text in list(os.environ.items()):
        own = name.removeprefix(prefix)
        if not name.startswith(prefix) or not text:
            continue
        own = _SYNONYMS.get(own, own)
        if own in VARIABLES or any(own.startswith(family) for family in STORES):
            os.environ.setdefault(f"{PREFIX}{own}", text)


_SYNONYMS = {"STORE_API_KEY": "API_KEY", "STORE_URL": "SERVER_URL"}


def debug() -> bool:
    """Whether the user wants tracebacks (`STRONGROOM_DEBUG=1`)."""
    return os.environ.get(f"{PREFIX}DEBUG") not in (None, "", "0")


def _check_name(shown: str, name: str, prefix: str) -> None:
    """Refuses a setting that there is not. Options of stores are looked at where the store is opened, which knows them."""
    if name in VARIABLES or any(name.startswith(family) and name != family for family in STORES):
        return
    known = [*VARIABLES, *(f"{family}{option}" for family in STORES for option in STORE_VARIABLES)]
    near = difflib.get_close_matches(name, known, 1, 0.7)
    meant = "".join(near) if prefix else "".join(near).lower()
    raise ConfigurationError(f"unknown setting {shown}", hint=f"did you mean {prefix}{meant}?" if near else "unset it")


def _read_file(path: Path) -> dict[str, str]:
    """The settings in a file, by the names of their variables."""
    import yaml

    try:
        found = yaml.safe_load(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise ConfigurationError(f"the configuration file {path} is not YAML{line}") from None
    if not isinstance(found or {}, dict):
        raise ConfigurationError(f"the configuration file {path} is to be a mapping", hint="of settings by their names in lower case")
    values: dict[str, str] = {}
    for name, value in (found or {}).items():
        family = f"{name}_".upper()
        if family in STORES and isinstance(value, dict):
            values |= {f"{family}{option}".upper(): _as_text(given) for option, given in value.items() if given is not None}
        elif value is not None:
            _check_name(f"'{printable(str(name))}' in {path}", str(name).upper() if str(name).islower() else "", "")
            values[str(name).upper()] = _as_text(value)
    return {name: text for name, text in values.items() if text}


def _as_text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _store(values: Mapping[str, str], family: str) -> StoreSettings | None:
    """The settings of a store; None if there are none."""
    options = {name[len(family) :].lower(): text for name, text in values.items() if name.startswith(family)}
    if not options:
        return None
    if "type" not in options:
        raise ConfigurationError(
            f"set {PREFIX}{family}TYPE", hint="sql (the database itself), aws, azure, gcp, vault (or hashicorp), custom, or none"
        )
    kind, auth_method = options.pop("type"), options.pop("auth_method", None)
    timeout = _number(values, f"{family}TIMEOUT", 10, 300)
    options.pop("timeout", None)
    for name, value in _object(options.pop("auth_config", "{}"), f"{PREFIX}{family}AUTH_CONFIG").items():
        if name in options:
            raise ConfigurationError(f"'{printable(name)}' is set twice: in {PREFIX}{family}AUTH_CONFIG and by itself")
        if value is not None:
            options[name] = _as_text(value)
    return StoreSettings(kind, auth_method, timeout, tuple(sorted(options.items())))


def _object(text: str, shown: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{shown} is to be a JSON object", hint='such as {"region": "eu-central-1"}')
    return found


def _number(values: Mapping[str, str], name: str, default: int, largest: int, smallest: int = 1) -> int:
    text = values.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and smallest <= int(text) <= largest):
        raise ConfigurationError(f"{PREFIX}{name} is a number from {smallest} to {largest}")
    return int(text)


def _networks(values: Mapping[str, str], name: str) -> tuple[str, ...]:
    if name not in values:
        return ()
    from ipaddress import ip_network

    try:
        return tuple(str(ip_network(text.strip(), strict=False)) for text in values[name].split(","))
    except ValueError:
        raise ConfigurationError(
            f"{PREFIX}{name} is a list of addresses or networks, separated by commas",
            hint="for example: 10.0.16.0/20,fd00:0:0:1::/64",
        ) from None


def _folders(values: Mapping[str, str], name: str) -> tuple[Path, ...]:
    folders = tuple(Path(text.strip()) for text in values[name].split(",")) if name in values else ()
    if not all(folder.is_absolute() and folder != folder.parent and "\0" not in str(folder) for folder in folders):
        raise ConfigurationError(
            f"{PREFIX}{name} is a list of absolute paths of folders, separated by commas",
            hint="for example: /var/run/secrets/kubernetes.io,/etc/strongroom/certificates",
        )
    return folders


def find_proxy(url: str) -> str | None:
    """The URL of the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name for a server, in upper or lower case; None without one."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.parse import urlsplit
    from urllib.request import getproxies_environment, proxy_bypass

    parts, proxies = urlsplit(url), getproxies_environment()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _path(values: Mapping[str, str], name: str) -> Path | None:
    if name not in values:
        return None
    try:
        return Path(values[name]).expanduser().absolute()
    except RuntimeError:
        raise ConfigurationError(f"{PREFIX}{name} starts with the home of a user that does not exist") from None


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("strongroom", appauthor=False)


def _local_database_url(folder: Path) -> str:
    return f"sqlite:///{quote(str(folder / 'strongroom.db'))}"
