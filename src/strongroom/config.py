"""Configuration: the only reader of the environment.

Every variable starts with `STRONGROOM_` and has a row in `Settings`; an unknown one is an error, so that a typo cannot silently
mean the default.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from strongroom.errors import ConfigurationError

PREFIX = "STRONGROOM_"
VARIABLES = {
    "CONFIG_PATH": "the folder of the local store (default: the platform's own place for it)",
    "DATABASE_URL": "an SQLAlchemy URL of the database (default: SQLite in the local folder)",
    "DEBUG": "1 shows tracebacks on errors",
    "ENCRYPTION_KEY": "the encryption key, 32 bytes in base64; former keys may follow, separated by commas",
    "ENCRYPTION_KEY_FILE": "a file with the same",
    "ENCRYPTION_KEY_STORE": "where a key made at first use is kept: file (default) or keyring",
    "KEEP_VERSIONS": "how many versions of each secret are kept (default: 10)",
}


@dataclass(frozen=True)
class Settings:
    """Everything that can be set. Immutable and hashable; the encryption key is never shown."""

    folder: Path
    database_url: str = field(repr=False)
    encryption_key: str | None = field(default=None, repr=False)
    encryption_key_file: Path | None = None
    encryption_key_store: Literal["file", "keyring"] = "file"
    keep_versions: int = 10

    @property
    def is_local_database(self) -> bool:
        """Whether the database is the SQLite file in the local folder."""
        return self.database_url == _local_database_url(self.folder)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process, or `ConfigurationError`. Empty variables count as unset. Touches no disk."""
    given = os.environ if environment is None else environment
    values = {name[len(PREFIX) :]: text for name, text in given.items() if name.startswith(PREFIX)}
    for name in values:
        if name not in VARIABLES:
            near = difflib.get_close_matches(name, VARIABLES, 1, 0.7)
            raise ConfigurationError(
                f"unknown setting {PREFIX}{name}", hint=f"did you mean {PREFIX}{near[0]}?" if near else "unset it"
            )
    values = {name: text for name, text in values.items() if text}
    if "ENCRYPTION_KEY" in values and "ENCRYPTION_KEY_FILE" in values:
        raise ConfigurationError(f"set {PREFIX}ENCRYPTION_KEY or {PREFIX}ENCRYPTION_KEY_FILE, not both")
    store = values.get("ENCRYPTION_KEY_STORE", "file")
    if store not in ("file", "keyring"):
        raise ConfigurationError(f"{PREFIX}ENCRYPTION_KEY_STORE is 'file' or 'keyring'")
    keep = values.get("KEEP_VERSIONS", "10")
    if not (keep.isascii() and keep.isdigit() and 1 <= int(keep) <= 10_000):
        raise ConfigurationError(f"{PREFIX}KEEP_VERSIONS is a number from 1 to 10000")
    folder = Path(values["CONFIG_PATH"]).expanduser().absolute() if "CONFIG_PATH" in values else _default_folder()
    return Settings(
        folder=folder,
        database_url=values.get("DATABASE_URL") or _local_database_url(folder),
        encryption_key=values.get("ENCRYPTION_KEY"),
        encryption_key_file=Path(values["ENCRYPTION_KEY_FILE"]) if "ENCRYPTION_KEY_FILE" in values else None,
        encryption_key_store="keyring" if store == "keyring" else "file",
        keep_versions=int(keep),
    )


def debug() -> bool:
    """Whether the user wants tracebacks (`STRONGROOM_DEBUG=1`)."""
    return os.environ.get(f"{PREFIX}DEBUG") not in (None, "", "0")


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("strongroom", appauthor=False)


def _local_database_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'strongroom.db'}"
