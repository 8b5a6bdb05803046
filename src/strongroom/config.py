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
from typing import Literal, NamedTuple
from urllib.parse import quote

from strongroom.credential_text import fits_header, is_unicode, strip_credential
from strongroom.errors import ConfigurationError, printable

PREFIX = "STRONGROOM_"
FLAG = "`1`, `true`, `yes` or `on`; `0`, `false`, `no` or `off`"
"""What a flag takes, in any case and with blanks around it."""

_OF_KUBERNETES = {
    r"(\w+_)?SERVICE_HOST|(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_ADDR": r"[0-9a-fA-F.:]+",
    r"(\w+_)?SERVICE_PORT(_\w+)?|(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PORT": r"[0-9]+",
    r"(\w+_)?PORT_[0-9]+_(TCP|UDP|SCTP)_PROTO": r"tcp|udp|sctp",
    r"(\w+_)?PORT(_[0-9]+_(TCP|UDP|SCTP))?": r"(tcp|udp|sctp)://[0-9a-fA-F.:\[\]]+",
}
"""The variables that Kubernetes sets for a Service called `strongroom`, or `strongroom-...`: names after the prefix, and texts."""

_NO_HOME = f"{os.devnull}/strongroom"
"""A folder that cannot be made, and in which nothing is found."""

_CREDENTIALS = ("ADMIN_USERNAME", "ADMIN_PASSWORD", "API_KEY", "DATABASE_URL", "ENCRYPTION_KEY", "RUN_TOKEN", "SERVER_URL")
_IN_HEADERS = ("API_KEY", "RUN_TOKEN")
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


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
    "DEBUG": Variable("whether errors show tracebacks", FLAG, "0", "1"),
    "ENCRYPTION_KEY": Variable(
        "the encryption key; former keys may follow, separated by commas", "sensitive text: 32 bytes in base64", example="q83v...Eg=="
    ),
    "ENCRYPTION_KEY_FILE": Variable("a file with the same", "path", example="/run/secrets/encryption-key"),
    "ENCRYPTION_KEY_STORE": Variable("where a key made at first use is kept", "`file` or `keyring`", "file", "keyring"),
    "INSECURE": Variable(
        "whether a server's URL may be plain http on another machine: tokens and values travel in clear", FLAG, "0", "1"
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
        "addresses or networks of at most /20 (IPv4) and /64 (IPv6), separated by commas",
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
    values = {name: text for name, text in values.items() if _is_known(name) or not _is_of_kubernetes(name, text)}
    for name in values:
        _check_name(f"{PREFIX}{name}", name, PREFIX)
    values = {name: text for name, text in values.items() if text}
    if "CONFIG_FILE" in values:
        values = {**_read_file(Path(values["CONFIG_FILE"])), **values}
    values |= _stripped(values)
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
    folder = _path(values, "CONFIG_PATH") or _default_folder(needed="SERVER_URL" not in values)
    _flag(values, "DEBUG")
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
        insecure=_flag(values, "INSECURE"),
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


def _stripped(values: Mapping[str, str]) -> dict[str, str]:
    """The credentials among the settings, without what stands around them."""
    found = {name: strip_credential(values[name]) for name in _CREDENTIALS if name in values}
    for name, text in found.items():
        if not text:  # not unset: a key that is blank by mistake must not be another key
            raise ConfigurationError(f"{PREFIX}{name} is blank", hint="unset it, or give it a value")
        if not is_unicode(text):
            raise ConfigurationError(f"{PREFIX}{name} is no Unicode text")
        if name in _IN_HEADERS and not fits_header(text):
            raise ConfigurationError(f"{PREFIX}{name} has a blank, a line end or another character that is in no token")
    return found


def parse_flag(text: str) -> bool | None:
    """The truth value of a flag as people write it (see `FLAG`), or None for any other text."""
    return _FLAGS.get(text.strip().lower())


def debug() -> bool:
    """Whether the user wants tracebacks: `STRONGROOM_DEBUG=1`, or `debug` in the configuration file.

    Never raises: it is called while errors are reported. `read_settings` refuses what is no flag.
    """
    text = os.environ.get(f"{PREFIX}DEBUG")
    if not text and (path := os.environ.get(f"{PREFIX}CONFIG_FILE")):
        try:
            text = _read_file(Path(path)).get("DEBUG")
        except ConfigurationError:
            return False
    return parse_flag(text or "") or False


def _is_known(name: str) -> bool:
    return name in VARIABLES or any(name.startswith(family) and name != family for family in STORES)


def _is_of_kubernetes(name: str, text: str) -> bool:
    import re

    return any(re.fullmatch(names, name) and re.fullmatch(texts, text) for names, texts in _OF_KUBERNETES.items())


def _check_name(shown: str, name: str, prefix: str) -> None:
    """Refuses a setting that there is not. Options of stores are looked at where the store is opened, which knows them."""
    if _is_known(name):
        return
    known = [*VARIABLES, *(f"{family}{option}" for family in STORES for option in STORE_VARIABLES)]
    near = difflib.get_close_matches(name, known, 1, 0.7)
    meant = "".join(near) if prefix else "".join(near).lower()
    raise ConfigurationError(f"unknown setting {shown}", hint=f"did you mean {prefix}{meant}?" if near else "unset it")


def _read_file(path: Path) -> dict[str, str]:
    """The settings in a file, by the names of their variables."""
    from strongroom.config_file import as_text, read_mapping

    values: dict[str, str] = {}
    for key, value in read_mapping(path).items():
        name = str(key)
        family = f"{name}_".upper()
        if family in STORES and isinstance(value, dict):
            values |= {
                f"{family}{option}".upper(): as_text(given, f"{name}.{option}", path)
                for option, given in value.items()
                if given is not None
            }
        elif value is not None:
            _check_name(f"'{printable(name)}' in {path}", name.upper() if name.islower() else "", "")
            values[name.upper()] = as_text(value, name, path)
    return {name: text for name, text in values.items() if text}


def _store(values: Mapping[str, str], family: str) -> StoreSettings | None:
    """The settings of a store; None if there are none."""
    options = {name[len(family) :].lower(): text for name, text in values.items() if name.startswith(family)}
    if not options:
        return None
    if "type" not in options:
        raise ConfigurationError(
            f"set {PREFIX}{family}TYPE", hint="sql (the database itself), aws, azure, gcp, vault (or hashicorp), custom, or none"
        )
    kind, auth_method = options.pop("type").strip(), options.pop("auth_method", "").strip() or None
    timeout = _number(values, f"{family}TIMEOUT", 10, 300)
    options.pop("timeout", None)
    for name, value in _object(options.pop("auth_config", "{}"), f"{PREFIX}{family}AUTH_CONFIG").items():
        if name in options:
            raise ConfigurationError(f"'{printable(name)}' is set twice: in {PREFIX}{family}AUTH_CONFIG and by itself")
        if value is not None:
            options[name] = value
    stripped = {name: strip_credential(text) or text for name, text in options.items()}
    return StoreSettings(kind, auth_method, timeout, tuple(sorted(stripped.items())))


def _object(text: str, shown: str) -> dict[str, str | None]:
    """The members of a JSON object: texts, numbers and truth values as they are written, structures as JSON."""
    import json

    try:
        text = strip_credential(text)
        found = json.loads(text)
        as_written = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError(f"{shown} is to be a JSON object", hint='such as {"region": "eu-central-1"}')
    texts: dict[str, str | None] = {}
    for name, value in found.items():
        is_text = value is None or isinstance(as_written[name], str)
        texts[name] = as_written[name] if is_text else json.dumps(value, ensure_ascii=False)
    return texts


def _flag(values: Mapping[str, str], name: str) -> bool:
    flag = parse_flag(values.get(name, "0"))
    if flag is None:
        raise ConfigurationError(f"{PREFIX}{name} is a flag: 1, true, yes or on; 0, false, no or off")
    return flag


def _number(values: Mapping[str, str], name: str, default: int, largest: int, smallest: int = 1) -> int:
    text = values.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and smallest <= int(text) <= largest):
        raise ConfigurationError(f"{PREFIX}{name} is a number from {smallest} to {largest}")
    return int(text)


_NARROWEST = {4: 20, 6: 64}
"""How many bits a network of trusted proxies has at least, by the version of IP: 4096 addresses, or one subnet."""


def _networks(values: Mapping[str, str], name: str) -> tuple[str, ...]:
    if name not in values:
        return ()
    from ipaddress import ip_network

    try:
        networks = [ip_network(text.strip(), strict=False) for text in values[name].split(",")]
    except ValueError:
        raise ConfigurationError(
            f"{PREFIX}{name} is a list of addresses or networks, separated by commas",
            hint="for example: 10.0.16.0/20,fd00:0:0:1::/64",
        ) from None
    for network in networks:
        mapped = network.version == 6 and network.network_address.ipv4_mapped is not None
        if network.prefixlen < _NARROWEST[network.version] + (96 - 64 + 20 if mapped else 0):
            raise ConfigurationError(
                f"{PREFIX}{name}: {network} is too wide: a host with one of its addresses could claim any client address",
                hint="name the addresses of your proxies, or networks of at most /20 (IPv4) and /64 (IPv6)",
            )
    return tuple(map(str, networks))


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
    from urllib.request import getproxies_environment

    proxies = getproxies_environment()
    proxy = proxies.get(urlsplit(url).scheme) or proxies.get("all")
    if not proxy or is_without_proxy(url):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_without_proxy(url: str) -> bool:
    """Whether NO_PROXY, in upper or lower case, names the URL's server. See `strongroom.no_proxy` for what it may say."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies_environment

    from strongroom.no_proxy import is_exempt

    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    return is_exempt(parts.hostname or "", port, getproxies_environment().get("no", ""))


def _path(values: Mapping[str, str], name: str) -> Path | None:
    if name not in values:
        return None
    return expand_home(values[name], f"{PREFIX}{name}").absolute()


def expand_home(path: str, what: str) -> Path:
    """The path with a home folder in place of `~` or `~user`. `ConfigurationError` names `what` when there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigurationError(f"{what} starts with the home of a user that does not exist", hint="write the whole path") from None


def _default_folder(*, needed: bool) -> Path:
    """The platform's own place for it. Users without a home have none: they need it for a store of this machine, or to log in."""
    from platformdirs import user_data_path

    try:
        folder = user_data_path("strongroom", appauthor=False)
    except RuntimeError:
        folder = Path("~")
    if folder.parts[:1] != ("~",):  # as older versions of platformdirs leave it
        return folder.absolute()
    if needed:
        raise ConfigurationError(
            "there is no home folder for the local store: HOME is not set, and this user has no account here",
            hint=f"set {PREFIX}CONFIG_PATH, or {PREFIX}SERVER_URL to work with a server",
        )
    return Path(_NO_HOME)


def _local_database_url(folder: Path) -> str:
    return f"sqlite:///{quote(str(folder / 'strongroom.db'))}"
