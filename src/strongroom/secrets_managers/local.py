"""The `local` secrets manager: a file of this machine, for its owner alone.

The file is YAML, written as JSON, which is YAML too: names of secrets, each with its keys and texts. Whoever writes holds the lock
of a file beside it, and replaces the file by another one, whole and durably. So a reader finds one state or the next, whoever is
killed.
"""

from __future__ import annotations

import base64
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from strongroom.config import expand_home
from strongroom.errors import AlreadyExists, ConfigurationError, ValuesCorrupt
from strongroom.models.secret import check_name, check_values
from strongroom.redaction import SecretText
from strongroom.stacks.secrets_manager import SecretsManager

_Secrets = dict[str, dict[str, str]]
_FILE = "secrets.yaml"
_SCHEMA = "zenml_schema_name"
"""What another system writes among the values of its secrets; they are in base64 then."""


class LocalSecretsManager(SecretsManager):
    """Thread-safe, and safe among processes; each change is atomic and durable. Values stand there in clear."""

    flavor = "local"

    @property
    def path(self) -> Path:
        """The file: the attribute `path`, else one of the component's own in the folder of the embedded store."""
        given = self.config.path
        if given:
            return expand_home(given, f"the path of {self.title}")
        return self.settings.folder / "secrets_managers" / self.id / _FILE

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """See `SecretsManager`."""
        return self._read().get(name)

    def list_secrets(self) -> list[str]:
        """See `SecretsManager`."""
        return sorted(self._read())

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """See `SecretsManager`."""
        check_name(name)
        _check(values)
        with self._changing() as secrets:
            if name in secrets:
                raise AlreadyExists(
                    f"{self.title} has a secret '{name}' already", hint=f"strongroom secrets-manager secret update {name}"
                )
            secrets[name] = dict(values)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """See `SecretsManager`."""
        with self._changing() as secrets:
            if name not in secrets:
                raise self.no_secret(name)
            _check(values)
            secrets[name] = dict(values)

    def delete_secret(self, name: str) -> None:
        """See `SecretsManager`."""
        with self._changing() as secrets:
            if name not in secrets:
                raise self.no_secret(name)
            del secrets[name]

    def change_secret(self, name: str, set_values: Mapping[str, str], remove: Iterable[str] = ()) -> list[str]:
        """See `SecretsManager`; here it is atomic."""
        with self._changing() as secrets:
            if name not in secrets:
                raise self.no_secret(name)
            merged = self.merged(name, secrets[name], set_values, remove)
            _check(merged)
            secrets[name] = merged
            return list(merged)

    @contextmanager
    def _changing(self) -> Iterator[_Secrets]:
        """What the file holds, to be changed: written when the block ends well. Nobody else writes meanwhile."""
        path = self.path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._refused(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            secrets = self._read()
            former = msgspec.json.encode(secrets)
            yield secrets
            if msgspec.json.encode(secrets) != former:
                self._write(path, secrets)
        finally:
            os.close(lock)

    def _read(self) -> _Secrets:
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._refused(error) from None
        try:
            secrets = msgspec.json.decode(data, type=_Secrets)
        except (msgspec.DecodeError, UnicodeDecodeError):
            secrets = None
        return {name: self._plain(values) for name, values in (self._from_yaml(data) if secrets is None else secrets).items()}

    def _plain(self, values: dict[str, str]) -> dict[str, str]:
        """The values of a secret that may be as another system writes it: in base64, with a key of its own."""
        if _SCHEMA not in values:
            return values
        try:
            return {key: base64.b64decode(text, validate=True).decode() for key, text in values.items() if key != _SCHEMA}
        except ValueError:
            pass  # that error may hold what stands there
        raise ValuesCorrupt(
            f"the file of {self.title} has a secret with a '{_SCHEMA}' and without base64", hint=f"look at {self.path}"
        )

    def _from_yaml(self, data: bytes) -> _Secrets:
        """The same of a file that somebody wrote by hand."""
        import yaml

        try:
            return msgspec.convert(yaml.load(data, yaml.BaseLoader) or {}, _Secrets)  # noqa: S506 - it knows texts only
        except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError):
            pass  # those errors quote what stands there
        raise ValuesCorrupt(f"the file of {self.title} is no YAML of secrets with keys and texts", hint=f"look at {self.path}")

    def _write(self, path: Path, secrets: _Secrets) -> None:
        draft = None
        try:
            handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # for its owner alone, 0600
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(secrets), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if draft is not None:
                Path(draft).unlink(missing_ok=True)
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"the file of {self.title} cannot be used: {error.strerror or type(error).__name__}", hint=f"look at {self.path}"
        )


def _check(values: Mapping[str, str]) -> None:
    """`InvalidInput` for what can be no secret's values."""
    check_values({key: SecretText(text) for key, text in values.items()})
