"""Artifact stores: where the outputs of steps lie, as bytes under a URI."""

from __future__ import annotations

import contextlib
import os
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any, NoReturn

from strongroom.config import expand_home
from strongroom.errors import ConfigurationError, InvalidInput, NotFound, Unauthenticated, Unavailable
from strongroom.models.artifact_path import check_path, is_normal, path_below
from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


class ArtifactStore(Component):
    """Keeps bytes under URIs. Nothing is ever overwritten: every run writes under paths of its own. Thread-safe.

    The URI of an artifact is the root of the store, a slash, and the path that it was written under.
    """

    type = ComponentType.ARTIFACT_STORE

    @abstractmethod
    def write(self, path: str, data: bytes) -> str:
        """Stores the data at the path below the store's root, as a whole or not at all; its URI, which ends with the path.

        `Unavailable`; `InvalidInput` for a path that is none (`strongroom.models.artifact_path.check_path`).
        """

    @abstractmethod
    def read(self, uri: str) -> bytes:
        """What was stored under the URI. `NotFound`, `Unavailable`."""

    @abstractmethod
    def exists(self, uri: str) -> bool:
        """Whether something is stored under the URI. `Unavailable`."""

    def uri(self, path: str) -> str | None:
        """The URI that `write` gives for the path. None if that is not known before: then any URI that ends with the path counts."""
        return None


class LocalArtifactStore(ArtifactStore):
    """A folder on this machine, readable for its owner alone."""

    flavor = "local"

    @property
    def root(self) -> Path:
        """The folder."""
        given = self.config.path
        chosen = expand_home(given, f"the path of {self.title}") if given else self.settings.folder / "artifacts"
        return Path(os.path.abspath(chosen))  # noqa: PTH100 - without dot segments, and with links as they are

    def uri(self, path: str) -> str:
        """The file's."""
        return (self.root / check_path(path)).as_uri()

    def write(self, path: str, data: bytes) -> str:
        """Writes a temporary file, makes it durable, then gives it its name."""
        target = self.root / check_path(path)
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(self.root.resolve()):
                raise InvalidInput(f"{self.title} has a link at {path} that leads out of it", hint="remove the link")
            handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(target)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            raise Unavailable(f"{self.title} cannot write: {error.strerror}", hint=f"check the folder {self.root}") from error
        return target.as_uri()

    def read(self, uri: str) -> bytes:
        """The content of the file."""
        path = self._path(uri)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"{self.title} has no artifact {uri}") from None
        except OSError as error:
            raise Unavailable(f"{self.title} cannot read {uri}: {error.strerror}") from error

    def exists(self, uri: str) -> bool:
        """Whether the file is there."""
        path = self._find(uri)
        return path is not None and path.is_file()

    def _path(self, uri: str) -> Path:
        path = self._find(uri)
        if path is None:
            raise NotFound(f"{self.title} has no artifact {uri}")
        return path

    def _find(self, uri: str) -> Path | None:
        """The file of a URI, or None for one that lies outside of this store."""
        below = path_below(self.root.as_uri(), uri)
        if below is None:
            return None
        path = self.root / below
        return path if path.resolve().is_relative_to(self.root.resolve()) else None


class FsspecArtifactStore(ArtifactStore):
    """Any place that fsspec has a file system for. Subclasses say how attributes become the file system's arguments."""

    flavor = "fsspec"

    has_folders = True
    """Whether folders have to be made. Where there are none, that would make buckets."""

    def options(self) -> dict[str, Any]:
        """The arguments of the file system."""
        return dict(self.config.options or {})

    def from_connector(self, *own: str) -> dict[str, Any]:
        """What its service connector logs in with: nothing without one, or when one of its own attributes of these names is given."""
        named = self.connector is not None and not any(self.config[name] for name in own)
        return self.connector.filesystem_options() if self.connector is not None and named else {}

    def uri(self, path: str) -> str:
        """The object's."""
        return f"{self._root}/{check_path(path)}"

    def write(self, path: str, data: bytes) -> str:
        """Writes an object."""
        uri = self.uri(path)
        with self._explained("write"):
            if self.has_folders:
                self._filesystem.makedirs(uri.rsplit("/", 1)[0], exist_ok=True)
            self._filesystem.pipe_file(uri, data)
        return uri

    def read(self, uri: str) -> bytes:
        """The content of the object."""
        if not self._is_inside(uri):
            raise NotFound(f"{self.title} has no artifact {uri}")
        with self._explained("read"):
            data: bytes = self._filesystem.cat_file(uri)
            return data

    def exists(self, uri: str) -> bool:
        """Whether the object is there."""
        if not self._is_inside(uri):
            return False
        with self._explained("look"):
            try:  # not `isfile`, which takes every failure for a no
                return bool(self._filesystem.info(uri)["type"] == "file")
            except FileNotFoundError:
                return False

    @property
    def _root(self) -> str:
        root = str(self.config.path).rstrip("/")
        if "://" not in root:
            raise ConfigurationError(f"the path of {self.title} is no URL", hint="for example s3://bucket/prefix")
        if not is_normal(root):
            raise ConfigurationError(
                f"the path of {self.title} has empty or dot segments, or characters that URLs do not have",
                hint="for example s3://bucket/prefix",
            )
        return root

    def _is_inside(self, uri: str) -> bool:
        return path_below(self._root, uri) is not None

    @property
    def _filesystem(self) -> Any:
        if not hasattr(self, "_opened"):
            fsspec = self.needed("fsspec")
            protocol = self._root.partition("://")[0]
            try:
                # Not from fsspec's cache, which other code of this process shares: this one carries credentials.
                self._opened = fsspec.filesystem(protocol, skip_instance_cache=True, **self.options())
            except ImportError:
                self._missing(protocol)
            except ValueError as error:
                if "protocol" in str(error).lower():
                    raise ConfigurationError(
                        f"fsspec knows no file system for {protocol}://", hint=f"check the path of {self.title}"
                    ) from None
                raise ConfigurationError(
                    f"{self.title} cannot be opened ({type(error).__name__})", hint="check its attributes"
                ) from error
            except TypeError as error:
                raise ConfigurationError(
                    f"{self.title} cannot be opened: wrong options", hint="check its attribute 'options'"
                ) from error
        return self._opened

    def _missing(self, protocol: str) -> NoReturn:
        from fsspec.registry import known_implementations

        known = known_implementations.get(protocol, {})
        self.needed(known.get("class", protocol).partition(".")[0])
        raise ConfigurationError(f"the file system for {protocol}:// cannot be imported", hint=known.get("err"))

    @contextlib.contextmanager
    def _explained(self, what: str) -> Any:
        """Turns the errors of drivers into ours, without their text: it may quote credentials."""
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"{self.title} has no such artifact or bucket", hint="check its attribute 'path'") from error
        except PermissionError as error:
            raise Unauthenticated(
                f"{self.title} refused to {what}: access denied", hint="check its credentials and the secrets they refer to"
            ) from error
        except (OSError, RuntimeError) as error:
            raise Unavailable(
                f"{self.title} failed to {what} ({type(error).__name__})", hint="check its address and whether it is up"
            ) from error
        except (TypeError, ValueError) as error:  # some file systems look at their options when they are first used
            raise ConfigurationError(
                f"{self.title} cannot be used ({type(error).__name__})", hint="check its attributes, and above all 'options'"
            ) from error
        except Exception as error:
            name = type(error).__name__
            if type(error).__module__.partition(".")[0] not in _DRIVERS:
                raise
            unreachable = "Connect" in name or "Timeout" in name
            hint = "check its address and whether it is up" if unreachable else "check its attributes and credentials"
            raise Unavailable(f"{self.title} failed to {what} ({name})", hint=hint) from error


_DRIVERS = ("adlfs", "aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "s3fs")


class S3ArtifactStore(FsspecArtifactStore):
    """A bucket of S3 or a compatible service. With neither a key nor a connector, boto's own chain of credentials is used."""

    flavor = "s3"
    has_folders = False

    def options(self) -> dict[str, Any]:
        """Those of s3fs."""
        config, connected = self.config, self.from_connector("key", "secret", "token")
        client = {name: value for name, value in {"endpoint_url": config.endpoint_url, "region_name": config.region}.items() if value}
        client = {**connected.pop("client_kwargs", {}), **client}
        given = {"key": config.key, "secret": config.secret, "token": config.token, "client_kwargs": client or None}
        return {**connected, **{name: value for name, value in given.items() if value}, **(config.options or {})}


class GCSArtifactStore(FsspecArtifactStore):
    """A bucket of Google Cloud Storage. With neither a token nor a connector, Google's own chain of credentials is used."""

    flavor = "gcs"
    has_folders = False

    def options(self) -> dict[str, Any]:
        """Those of gcsfs; a service account's JSON is handed over as such."""
        import json

        config = self.config
        token = config.token
        if token and token.lstrip().startswith("{"):
            try:
                token = json.loads(token)
            except ValueError:
                raise ConfigurationError(f"the token of {self.title} is no JSON", hint="check the secret it refers to") from None
        given = {"project": config.project, "token": token, "endpoint_url": config.endpoint_url}
        connected = self.from_connector("token")
        return {**connected, **{name: value for name, value in given.items() if value}, **(config.options or {})}


class AzureArtifactStore(FsspecArtifactStore):
    """A container of Azure Blob Storage."""

    flavor = "azure"
    has_folders = False

    def options(self) -> dict[str, Any]:
        """Those of adlfs."""
        config = self.config
        names = ("account_name", "account_key", "connection_string", "sas_token", "tenant_id", "client_id", "client_secret")
        connected = self.from_connector("account_key", "connection_string", "sas_token", "client_secret")
        return {**connected, **{name: config[name] for name in names if config[name]}, **(config.options or {})}
