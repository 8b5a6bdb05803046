"""The `vault` secrets manager: a path of an engine of type KV, version 2, for each secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.vault import Answer
from strongroom.errors import StoreForbidden, Unavailable
from strongroom.secrets_managers.remote import RemoteSecretsManager, deadline
from strongroom.secrets_stores.base import Capabilities, check_size

_TRIES = 5


class VaultSecretsManager(RemoteSecretsManager):
    """Thread-safe. Changes are made by check-and-set: two at the same moment never overwrite each other unseen."""

    flavor = "vault"
    capabilities = Capabilities(max_bytes=65_536)

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One request. See `SecretsManager`."""
        path = self.names.find(name)
        return None if path is None else self._read(name, path, deadline())[0]

    def list_secrets(self) -> list[str]:
        """One request; in the scope `none` one for each secret more. See `SecretsManager`."""
        until, start = deadline(), self.names.start
        answer = self._ask("list", f"metadata/{start}".rstrip("/"), until, "list")
        if answer.status == 404:
            return []
        found = (self.names.name_in(f"{start}{each}") for each in answer.data["data"]["keys"])
        names = sorted(name for name in found if name is not None)
        return [name for name in names if self._is_marked(name, until)] if self.is_shared else names

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """One request, and another one to mark it in the scope `none`. See `SecretsManager`."""
        path, until = self.names.of(name), deadline()
        check_size(values, self.capabilities)
        version = 0
        for _ in range(_TRIES):
            if self._write(path, values, version, until):
                if self.is_shared:
                    mark, scope = self.mark
                    self._ask("post", f"metadata/{path}", until, "update", {"custom_metadata": {mark: scope}})
                return
            found, version = self._read(name, path, until)
            if found is not None:
                raise self.taken(name)
        raise self._restless(name)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`."""
        path, until = self.names.of(name), deadline()
        check_size(values, self.capabilities)
        for _ in range(_TRIES):
            found, version = self._read(name, path, until)
            if found is None:
                raise self.no_secret(name)
            if self._write(path, values, version, until):
                return
        raise self._restless(name)

    def delete_secret(self, name: str) -> None:
        """Two requests; all versions go. See `SecretsManager`."""
        path, until = self.names.of(name), deadline()
        if self._read(name, path, until)[0] is None:
            raise self.no_secret(name)
        self._ask("delete", f"metadata/{path}", until, "delete")

    @property
    def _mount(self) -> str:
        return str(self.config.mount_point or "secret").strip("/")

    def _ask(self, verb: str, path: str, until: Deadline, right: str, body: Mapping[str, Any] | None = None) -> Answer:
        connection = self.connect()
        answer: Answer = connection.ask(verb, f"{self._mount}/{path}", until, right=right, body=body)
        if "no handler" in answer.errors:
            raise StoreForbidden(
                f"Vault at {connection.address} has no engine at '{self._mount}'", hint="check the attribute mount_point"
            )
        if answer.status not in (200, 204, 404) and "check-and-set" not in answer.errors:
            raise Unavailable(
                f"Vault at {connection.address} answers with status {answer.status}",
                hint=f"is the engine at '{self._mount}' one of type kv, version 2?",
            )
        return answer

    def _read(self, name: str, path: str, until: Deadline) -> tuple[dict[str, str] | None, int]:
        """The values, None if there are none; and the number of the newest version there has been."""
        answer = self._ask("get", f"data/{path}", until, "read")
        data = answer.data.get("data") or {}
        version = int((data.get("metadata") or {}).get("version", 0))
        if answer.status == 404:
            return None, version
        values = data.get("data")
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise self.odd(name)
        return self.without_foreign(values), version

    def _write(self, path: str, values: Mapping[str, str], version: int, until: Deadline) -> bool:
        """Whether the newest version was this one, and so there is a newer one now."""
        body = {"data": dict(values), "options": {"cas": version}}
        right = "create" if version == 0 else "update"
        return self._ask("post", f"data/{path}", until, right, body).status == 200

    def _is_marked(self, name: str, until: Deadline) -> bool:
        answer = self._ask("get", f"metadata/{self.names.of(name)}", until, "read")
        mark, scope = self.mark
        about = (answer.data.get("data") or {}).get("custom_metadata") or {}
        return bool(about.get(mark) == scope)

    def _restless(self, name: str) -> Unavailable:
        return Unavailable(f"others keep changing '{name}' in {self.title}", hint="try again")
