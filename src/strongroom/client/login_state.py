"""The login of this machine's user: which server, and the token for it, in a file for the user alone."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from strongroom.config import Settings
from strongroom.errors import ConfigurationError
from strongroom.redaction import SecretText


class LoginState(msgspec.Struct, frozen=True, kw_only=True):
    """A login. Without a `workspace` calls work in the one that is chosen at the server; API keys of the user may not expire."""

    url: str
    token: SecretText
    username: str
    expires: datetime | None = None
    workspace: str = ""


def login_file(settings: Settings) -> Path:
    """Where the login is kept."""
    return settings.folder / "login.json"


def read_login(settings: Settings) -> LoginState | None:
    """The login, or None. `ConfigurationError` for a file that cannot be read."""
    path = login_file(settings)
    try:
        return msgspec.json.decode(path.read_bytes(), type=LoginState, dec_hook=lambda _, text: SecretText(text))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = error.strerror or "no reason given"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        reason = "it is damaged"
    raise ConfigurationError(f"the login in {path} cannot be read: {reason}", hint="log in again: strongroom login URL")


def write_login(settings: Settings, state: LoginState) -> None:
    """Keeps the login: the file is there as a whole or not at all, and never for others to read."""
    path = login_file(settings)
    data = msgspec.json.encode(state, enc_hook=lambda text: text.reveal())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".login-", dir=path.parent)  # 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise ConfigurationError(f"the login cannot be kept in {path}: {error.strerror}") from None


def delete_login(settings: Settings) -> None:
    """Forgets the login."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        login_file(settings).unlink()
