"""Container registries: where images are pushed to and pulled from."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.errors import InvalidInput
from strongroom.models.flavor import ComponentType
from strongroom.stacks.component import Component


class ContainerRegistry(Component):
    """A registry, and the credentials for it in the form in which docker, podman, buildah, skopeo and crane take them."""

    type = ComponentType.CONTAINER_REGISTRY
    flavor = "default"

    @property
    def host(self) -> str:
        """The registry's host, and port if it has one."""
        return self._uri.partition("/")[0]

    @property
    def _uri(self) -> str:
        uri = str(self.config.uri)
        return uri.partition("://")[2].rstrip("/") if "://" in uri else uri.rstrip("/")

    def image(self, name: str, tag: str = "latest") -> str:
        """The full name of an image in this registry."""
        if not name or name != name.strip("/ "):
            raise InvalidInput("the name of an image is not empty and has no slash at its ends")
        return f"{self._uri}/{name}:{tag}"

    def docker_config(self) -> str:
        """The JSON of a `config.json` with the credentials for this registry (empty without a user name)."""
        if not self.config.username:
            return json.dumps({"auths": {}})
        pair = f"{self.config.username}:{self.config.password or ''}"
        return json.dumps({"auths": {self.host: {"auth": base64.b64encode(pair.encode()).decode()}}})

    @contextmanager
    def logged_in(self) -> Iterator[dict[str, str]]:
        """Within the block a folder for this user alone holds that `config.json`. Gives the environment that names it.

        For example: `with registry.logged_in() as env: subprocess.run([...], env={**os.environ, **env})`.
        """
        with tempfile.TemporaryDirectory(prefix="strongroom-registry-") as name:
            path = Path(name) / "config.json"
            with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
                file.write(self.docker_config())
            yield {"DOCKER_CONFIG": name, "REGISTRY_AUTH_FILE": str(path)}
