"""Where key-encryption keys come from and are kept.

A source is either *given* (environment, file of the operator: read only) or *managed* by strongroom (a 0600 file in the local
folder, or the operating system's keyring).
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from strongroom.config import PREFIX, Settings
from strongroom.crypto.keyring import format_keys, parse_keys
from strongroom.errors import ConfigurationError, EncryptionKeyError

KEY_FILE = "encryption.key"
_SERVICE = "strongroom"
_DRAFT = ".key-"


class KeySource(Protocol):
    """Keys, the first of which is the newest. Safe to use from several processes at once."""

    managed: bool
    description: str

    def load(self) -> list[bytes]:
        """All keys, or an empty list if the source was never filled. `EncryptionKeyError` if it holds something else."""

    def add_first(self, key: bytes) -> list[bytes]:
        """Fills an empty source with its first key, durably; if another process was faster, theirs stays. The keys now there."""

    def replace(self, keys: Sequence[bytes]) -> None:
        """Replaces all keys, durably and atomically. Only for managed sources."""

    def clear(self) -> None:
        """Removes all keys. Only for managed sources."""


class GivenKeys:
    """Keys that the operator hands over in the environment or in a file."""

    managed = False

    def __init__(self, settings: Settings) -> None:
        self._text, self._path = settings.encryption_key, settings.encryption_key_file
        self.description = f"{PREFIX}ENCRYPTION_KEY" if self._text else f"{PREFIX}ENCRYPTION_KEY_FILE"

    def load(self) -> list[bytes]:
        """The keys, freshly read; never empty."""
        if self._text:
            return parse_keys(self._text, self.description)
        assert self._path is not None
        try:
            text = self._path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise EncryptionKeyError(
                f"cannot read the file in {self.description}: {reason}", hint="check its path and its permissions"
            ) from None
        return parse_keys(text, self.description)

    def add_first(self, key: bytes) -> list[bytes]:
        """Nothing to add: what was given stands."""
        return self.load()

    def replace(self, keys: Sequence[bytes]) -> None:
        """Refused: only the operator changes what the operator gave."""
        raise ConfigurationError(f"{self.description} is set by you; strongroom does not change it")

    def clear(self) -> None:
        """Refused, likewise."""
        self.replace(())


class KeyFile:
    """A file of our own, mode 0600. Refuses one that others may read."""

    managed = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self.description = f"the key file {path}"

    def load(self) -> list[bytes]:
        """The keys in the file."""
        try:
            with self._path.open("rb") as file:
                if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise EncryptionKeyError(
                        f"others may read {self.description}",
                        hint=f"chmod 600 {self._path}, and consider rotating the key",
                    )
                text = file.read().decode()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise EncryptionKeyError(f"cannot read {self.description}: {reason}") from None
        return parse_keys(text, self.description)

    def add_first(self, key: bytes) -> list[bytes]:
        """Creates the file; linking it into place fails if there is one already, so exactly one process wins."""
        draft = self._draft([key])
        try:
            os.link(draft, self._path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links; the database's lock keeps others away
            if not self._path.exists():
                draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(self._path.parent)
        return self.load()

    def replace(self, keys: Sequence[bytes]) -> None:
        """Writes a new file and moves it over the old one. The caller holds the database's lock.

        Drafts of processes that were killed at this are removed: they hold keys.
        """
        draft = self._draft(keys)
        draft.replace(self._path)
        for left in self._path.parent.glob(f"{_DRAFT}*"):
            left.unlink(missing_ok=True)
        _sync_folder(self._path.parent)

    def clear(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)
        _sync_folder(self._path.parent)

    def _draft(self, keys: Sequence[bytes]) -> Path:
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=_DRAFT)  # mkstemp makes it 0600
        with os.fdopen(handle, "w") as file:
            file.write(format_keys(keys))
            file.flush()
            os.fsync(file.fileno())
        return Path(name)


class SystemKeyring:
    """The keyring of the operating system (Secret Service, macOS Keychain, Windows Credential Locker), by the library keyring.

    What the library chose is looked into, and what is written is read back: some of its back ends keep nothing, and some keep it in
    plain text. Whatever they raise becomes `EncryptionKeyError`.
    """

    managed = True

    def __init__(self, account: str) -> None:
        self._account = account
        self.description = "the keyring of the operating system"

    def load(self) -> list[bytes]:
        """The keys in the keyring's entry for this database."""
        text = self._call("get_password")
        return parse_keys(text, self.description) if text else []

    def add_first(self, key: bytes) -> list[bytes]:
        """Sets the entry unless it is there. Keyrings know no compare-and-set: the caller holds the database's lock."""
        keys = self.load()
        if not keys:
            self.replace([key])
            keys = self.load()
        return keys

    def replace(self, keys: Sequence[bytes]) -> None:
        """Overwrites the entry. When it does not hold what was written, the former entry is written again."""
        former, text = self._call("get_password"), format_keys(keys)
        self._call("set_password", text)
        if self._call("get_password") == text:
            return
        if former:
            self._call("set_password", former)
        raise EncryptionKeyError(f"{self.description} does not give back what it is given", hint=_OTHER_STORE)

    def clear(self) -> None:
        """Removes the entry."""
        self._call("delete_password")

    def _call(self, method: str, *arguments: str) -> str | None:
        result: object = None
        try:
            import keyring

            backend = keyring.get_keyring()
            unsafe = _is_unsafe(backend)
            if not unsafe:
                result = getattr(backend, method)(_SERVICE, self._account, *arguments)
        except Exception as error:  # noqa: BLE001 - a back end of others may raise anything, and the user is told that it did
            failure = f"{self.description} refused: {type(error).__name__}"
        else:
            if unsafe:
                raise EncryptionKeyError("no safe keyring of the operating system is available", hint=f"unlock it, or {_OTHER_STORE}")
            if result is None or isinstance(result, str):
                return result
            failure = f"{self.description} gives no text"
        raise EncryptionKeyError(failure, hint=f"unlock it, or {_OTHER_STORE}")  # outside: an exception of theirs may quote the key


_OTHER_STORE = f"set {PREFIX}ENCRYPTION_KEY_FILE, or leave {PREFIX}ENCRYPTION_KEY_STORE at 'file'"
_KEEP_NOTHING = ("keyring.backends.fail", "keyring.backends.null")
_UNSAFE = ("keyring.backends.null", "keyrings.alt")


def _is_unsafe(backend: object) -> bool:
    """Whether a back end keeps nothing, or has one inside that keeps nothing silently or keeps all in plain text.

    Without a session, keyring chooses `fail`, or a plaintext file where keyrings.alt is installed, or chains what there is.
    """
    every = _with_inner(backend, [])
    if all(_is_of(each, _KEEP_NOTHING) for each in every):
        return True
    return any(_is_of(each, _UNSAFE) for each in every)


def _is_of(backend: object, modules: tuple[str, ...]) -> bool:
    return any(each.__module__.startswith(modules) for each in type(backend).__mro__)


def _with_inner(backend: object, seen: list[object]) -> list[object]:
    """The back ends that this one passes calls on to, at any depth; itself if there are none."""
    from keyring.backend import KeyringBackend

    if any(each is backend for each in seen):
        return []
    seen.append(backend)
    values = [*getattr(backend, "__dict__", {}).values(), getattr(backend, "backends", None)]
    inner: list[object] = []
    for value in values:
        for each in value if isinstance(value, (list, tuple, set)) else [value]:
            if isinstance(each, KeyringBackend):
                inner += _with_inner(each, seen)
    passes_on = isinstance(getattr(backend, "backends", None), (list, tuple, set))
    return inner if passes_on else [backend, *inner]


def find_key_source(settings: Settings) -> KeySource:
    """The source that the settings name; a key that is already kept locally wins over where a new one would go.

    Opens the key file's folder entry at most; loads no keyring library.
    """
    if settings.encryption_key or settings.encryption_key_file:
        return GivenKeys(settings)
    path = settings.folder / KEY_FILE
    if settings.encryption_key_store == "keyring" and not path.exists():
        return SystemKeyring(account=str(settings.folder))
    return KeyFile(path)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
