"""The `vault` secrets manager: a path of an engine of type KV, version 2, for each secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.vault import Answer
from strongroom.errors import StoreForbidden, Unavailable, ValuesCorrupt
from strongroom.secrets_managers.remote import RemoteSecretsManager
from strongroom.secrets_stores.base import Capabilities


@dataclass(frozen=True)
class _Found:
    """What lies at a path: the values, None if there are none; the newest version there has been, and what describes it."""

    values: dict[str, str] | None = field(repr=False)
    version: int
    marks: Mapping[str, Any]


class VaultSecretsManager(RemoteSecretsManager):
    """Thread-safe. All is written by check-and-set: of two who register a name at the same moment exactly one does, and changes of
    single keys at the same moment are all made. Former versions stay until the secret is deleted, as many as the engine keeps.

    Before its first request it asks once of which type the engine is.
    """

    flavor = "vault"
    capabilities = Capabilities(max_bytes=65_536)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._mount_is_right = False

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One request. See `SecretsManager`."""
        path = self.names.find(name)
        return None if path is None else self._read(name, path, self.deadline()).values

    def list_secrets(self) -> list[str]:
        """One request; in the scope `none` one for each secret more. See `SecretsManager`.

        What somebody deleted by Vault's own means, so that it can be undone, is still listed; not in the scope `none`.
        """
        until, start = self.deadline(), self.names.start
        answer = self._ask("list", f"metadata/{start}".rstrip("/"), until, "list")
        if answer.status == 404:
            return []
        keys = (answer.data.get("data") or {}).get("keys") or ()
        names = sorted(name for each in keys if (name := self.names.name_in(f"{start}{each}")) is not None)
        return [name for name in names if self._is_marked(name, until)] if self.is_shared else names

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """One request; three in the scope `none`, or where a secret of this name was deleted by Vault's own means.

        See `SecretsManager`.
        """
        path, until = self.names.of(name), self.deadline()
        self.check(values)
        if not self.is_shared and self._write(path, values, 0, until):
            return
        while until.remaining() > 0:
            found = self._look(name, path, until)
            if self.is_shared:
                mark, scope = self.mark
                marks = {**found.marks, mark: scope}
                self._ask("post", f"metadata/{path}", until, "update", {"custom_metadata": marks})
            if self._write(path, values, found.version, until):
                return
        raise self._restless(name)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`."""
        self._change(name, lambda _: values)

    def change_secret(self, name: str, set_values: Mapping[str, str], remove: Iterable[str] = ()) -> list[str]:
        """Two requests; two more for each change that came in between. See `SecretsManager`; here it is atomic."""
        removed = list(remove)
        return list(self._change(name, lambda found: self.merged(name, found, set_values, removed)))

    def delete_secret(self, name: str) -> None:
        """Two requests; all versions go. See `SecretsManager`."""
        path = self.names.of(name)
        if not self.is_there(name):
            raise self.no_secret(name)
        self._ask("delete", f"metadata/{path}", self.deadline(), "delete")

    @property
    def _mount(self) -> str:
        return str(self.config.mount_point or "secret")

    def _change(self, name: str, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> Mapping[str, str]:
        """Makes of the values what the change says, as often as others are faster; the new ones."""
        path, until = self.names.of(name), self.deadline()
        while until.remaining() > 0:
            found = self._read(name, path, until)
            if found.values is None:
                raise self.no_secret(name)
            values = change(found.values)
            self.check(values)
            if self._write(path, values, found.version, until):
                return values
        raise self._restless(name)

    def _look(self, name: str, path: str, until: Deadline) -> _Found:
        """What is there under a name that is free; `AlreadyExists` if it is not."""
        try:
            found = self._read(name, path, until)
        except ValuesCorrupt:
            raise self.taken(name) from None
        if found.values is not None:
            raise self.taken(name)
        return found

    def _ask(self, verb: str, path: str, until: Deadline, right: str, body: Mapping[str, Any] | None = None) -> Answer:
        self._check_mount(until)
        connection = self.connect()
        answer: Answer = connection.ask(verb, f"{self._mount}/{path}", until, right=right, body=body)
        if "no handler" in answer.errors:
            self._mount_is_right = False
            raise StoreForbidden(f"Vault at {connection.address} no longer has an engine at '{self._mount}'", hint=_CHECK_MOUNT)
        if answer.status not in (200, 204, 404) and "check-and-set" not in answer.errors:
            raise Unavailable(
                f"Vault at {connection.address} is not ready: it answers with status {answer.status}", hint="try again in a minute"
            )
        return answer

    def _check_mount(self, until: Deadline) -> None:
        """Once: what looks like a write to KV version 2 would be taken by version 1 as a secret of that path."""
        if self._mount_is_right:
            return
        connection, about = self.connect(), dict[str, Any]()
        try:
            # Whoever may do anything in a mount may ask for its type; else it is as if there were none.
            answer = connection.ask("get", f"sys/internal/ui/mounts/{self._mount}", until, right="read")
            about = answer.data.get("data") or {}
        except StoreForbidden as error:
            if "sys/internal" not in error.message:  # the token itself
                raise
        if about.get("type") not in ("kv", "generic"):
            raise StoreForbidden(
                f"Vault at {connection.address} has no engine of type kv at '{self._mount}', or none for this token",
                hint=_CHECK_MOUNT,
            )
        if (about.get("options") or {}).get("version") != "2":
            raise StoreForbidden(
                f"the engine at '{self._mount}' of Vault at {connection.address} is KV version 1; secrets managers need version 2",
                hint="name another one: --mount_point=...",
            )
        self._mount_is_right = True

    def _read(self, name: str, path: str, until: Deadline) -> _Found:
        answer = self._ask("get", f"data/{path}", until, "read")
        data = answer.data.get("data") or {}
        about = data.get("metadata") or {}
        version, marks = int(about.get("version", 0)), about.get("custom_metadata") or {}
        if answer.status == 404:
            return _Found(None, version, marks)
        values = data.get("data")
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise self.odd(name)
        return _Found(self.without_foreign(values), version, marks)

    def _write(self, path: str, values: Mapping[str, str], version: int, until: Deadline) -> bool:
        """Whether the newest version was this one, and so there is a newer one now."""
        body = {"data": dict(values), "options": {"cas": version}}
        right = "create" if version == 0 else "update"
        return self._ask("post", f"data/{path}", until, right, body).status == 200

    def _is_marked(self, name: str, until: Deadline) -> bool:
        """Whether it is a secrets manager's, and has values."""
        answer = self._ask("get", f"metadata/{self.names.of(name)}", until, "read")
        mark, scope = self.mark
        about = answer.data.get("data") or {}
        newest = (about.get("versions") or {}).get(str(about.get("current_version"))) or {}
        is_alive = bool(newest) and not newest.get("deletion_time") and not newest.get("destroyed")
        return is_alive and (about.get("custom_metadata") or {}).get(mark) == scope

    def _restless(self, name: str) -> Unavailable:
        return Unavailable(f"others keep changing '{name}' in {self.title}", hint="try again")


_CHECK_MOUNT = "check the attribute mount_point"
