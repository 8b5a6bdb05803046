"""The `vault` secrets store: HashiCorp Vault and OpenBao, engine KV version 2.

Every version has a path of its own, `<mount>/data/<prefix>/<deployment>/<secret>/<attempt>`, with the values as plain top-level
JSON, so that other tools can read them. Only version 1 of a path is ever written and read: neither `max_versions` nor somebody who
edits a path can take away what the index names, and nothing of the mount's configuration is touched.

A put writes the values first (`cas=0`: the server lets exactly one put have the path) and then, in the metadata of the same path,
whose they are. In that order nobody can describe values that are not theirs; a put cut off between the two was not acknowledged,
and its path still tells deployment and secret.

The policy that it needs is `VaultSecretsStore.policy`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.vault import Answer, VaultConnection
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StoreForbidden, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import About, Capabilities, Found, about_of, check_size, checked_store_id, texts_of

_PAGE = 100
_CAPABILITIES = Capabilities(max_bytes=65_536)
_SEGMENTS = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where in a Vault. `name` takes the place of the address in the store's id."""

    mount_point: str = "secret"
    prefix: str = "strongroom"
    name: str | None = None


def open_store(connection: VaultConnection, options: Options, deployment_id: str) -> VaultSecretsStore:
    """The store, which closes the connection. Asks nobody."""
    return VaultSecretsStore(connection, deployment_id, mount_point=options.mount_point, prefix=options.prefix, name=options.name)


class VaultSecretsStore:
    """Opened for one deployment, on a connection that it closes."""

    def __init__(
        self,
        connection: VaultConnection,
        deployment_id: str,
        *,
        mount_point: str = "secret",
        prefix: str = "strongroom",
        name: str | None = None,
    ) -> None:
        """Asks nobody. `ConfigurationError` for a mount point, prefix or name that will not do."""
        for option, text in (("mount_point", mount_point), ("prefix", prefix)):
            if not _SEGMENTS.fullmatch(text):
                raise ConfigurationError(f"'{option}' is to be made of letters, digits, '_' and '-', with '/' between")
        namespace = f"?namespace={connection.namespace}" if connection.namespace else ""
        store_id = checked_store_id(name or f"vault://{urlsplit(connection.address).netloc}/{mount_point}/{prefix}{namespace}")
        self._connection, self._deployment_id, self._store_id = connection, deployment_id, store_id
        self._mount, self._data, self._metadata = mount_point, f"{mount_point}/data/{prefix}", f"{mount_point}/metadata/{prefix}"
        self._mount_is_right = False

    def __repr__(self) -> str:
        return f"<secrets store {self._store_id}>"

    @property
    def store_id(self) -> str:
        """`vault://<host>:<port>/<mount>/<prefix>`, with `?namespace=` where there is one; or the operator's name."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """64 KiB, which even in JSON's longest spelling fits the entries of every storage of Vault (512 KiB at the least)."""
        return _CAPABILITIES

    def new_locator(self, secret_id: str) -> str:
        """`<deployment>/<secret>/<attempt>`: the path below the prefix."""
        return f"{self._deployment_id}/{secret_id}/{new_id()}"

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """Two requests; up to two more when it is a repetition. See `SecretsStore.put`."""
        check_size(values, _CAPABILITIES)
        deadline = Deadline(seconds)
        self._check_mount(deadline)
        body = {"data": dict(values), "options": {"cas": 0}}
        try:
            answer = self._connection.ask("post", f"{self._data}/{_path(locator)}", deadline, right="create", body=body)
        except StoreForbidden:
            # A path that exists takes the right to update, which strongroom neither has nor needs: it may be our own put.
            if not self._is_there(locator, values, deadline):
                raise
        else:
            self._check_written(answer, locator, values, deadline)
        described = {"custom_metadata": texts_of(about)}
        answer = self._connection.ask("post", f"{self._metadata}/{_path(locator)}", deadline, right="update", body=described)
        if answer.status not in (200, 204):
            raise self._refusal(answer)

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """One request. See `SecretsStore.get`."""
        deadline = Deadline(seconds)
        self._check_mount(deadline)
        return self._read(locator, deadline)

    def delete(self, locator: str, *, seconds: float) -> None:
        """One request, for the values and what describes them. See `SecretsStore.delete`."""
        deadline = Deadline(seconds)
        self._check_mount(deadline)
        answer = self._connection.ask("delete", f"{self._metadata}/{_path(locator)}", deadline, right="delete")
        if answer.status not in (200, 204):
            raise self._refusal(answer)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """One request for the deployment, one per secret, one per locator. See `SecretsStore.scan`.

        A page ends early when half of its time is over. The ids of all secrets come in one answer: Vault has no pages.
        """
        deadline = Deadline(seconds)
        self._check_mount(deadline)
        page: list[Found] = []
        for locator in self._locators(deadline):
            found = self._describe(locator, deadline)
            if found is not None:
                page.append(found)
            if len(page) == _PAGE or (page and deadline.left() < seconds / 2):
                yield page
                page = []
                deadline.restart()
        if page:
            yield page

    def deployments(self, *, seconds: float) -> list[str]:
        """One request. See `ListsDeployments`."""
        deadline = Deadline(seconds)
        self._check_mount(deadline)
        return sorted(each.rstrip("/") for each in self._list("", deadline) if each.endswith("/"))

    def identity(self, *, seconds: float) -> str:
        """See `Introspective`."""
        return self._connection.identity(seconds=seconds)

    @property
    def policy(self) -> str:
        """See `Introspective`."""
        return (
            f'path "{self._data}/*" {{\n  capabilities = ["create", "read"]\n}}\n\n'
            f'path "{self._metadata}/*" {{\n  capabilities = ["read", "update", "delete", "list"]\n}}\n'
        )

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _check_mount(self, deadline: Deadline) -> None:
        """Once: what looks like a write to KV version 2 would be taken by version 1 as a secret of that path."""
        if self._mount_is_right:
            return
        path = f"sys/internal/ui/mounts/{self._mount}"  # whoever may do anything in a mount may ask for its type
        answer = self._connection.ask("get", path, deadline, right="read")
        about = answer.data.get("data") or {}
        if answer.status != 200 or about.get("type") not in ("kv", "generic"):
            raise StoreForbidden(f"Vault at {self._connection.address} has no engine of type kv at '{self._mount}'")
        if (about.get("options") or {}).get("version") != "2":
            raise StoreForbidden(
                f"the engine at '{self._mount}' of Vault at {self._connection.address} is KV version 1; strongroom needs version 2",
                hint="enable another one: vault secrets enable -path=strongroom -version=2 kv",
            )
        self._mount_is_right = True

    def _check_written(self, answer: Answer, locator: str, values: Mapping[str, str], deadline: Deadline) -> None:
        """Returns if the values are at the locator, now or since an earlier put."""
        if answer.status == 200:
            if answer.data["data"].get("deletion_time"):
                raise StoreForbidden(
                    f"the engine at '{self._mount}' deletes versions by itself ('delete_version_after')", hint="use another mount"
                )
        elif "check-and-set" not in answer.errors:
            raise self._refusal(answer)
        elif not self._is_there(locator, values, deadline):
            raise ValuesCorrupt(f"Vault at {self._connection.address} had values at {locator} that were deleted there")

    def _is_there(self, locator: str, values: Mapping[str, str], deadline: Deadline) -> bool:
        """Whether these values lie there; `ValuesCorrupt` if others do."""
        try:
            found = self._read(locator, deadline)
        except ValuesMissing:
            return False
        if found != values:
            raise ValuesCorrupt(f"Vault at {self._connection.address} has other values at {locator} already; they stay")
        return True

    def _read(self, locator: str, deadline: Deadline) -> dict[str, str]:
        answer = self._connection.ask("get", f"{self._data}/{_path(locator)}", deadline, right="read", version="1")
        if answer.status == 404 and "no handler" not in answer.errors:
            raise ValuesMissing(f"Vault at {self._connection.address} has nothing at {locator}")
        if answer.status != 200:
            raise self._refusal(answer)
        values = (answer.data.get("data") or {}).get("data")
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise ValuesCorrupt(f"what lies at {locator} of Vault at {self._connection.address} is not what strongroom writes")
        return values

    def _locators(self, deadline: Deadline) -> Iterator[str]:
        for secret in self._list(self._deployment_id, deadline):
            if secret.endswith("/"):
                for attempt in self._list(f"{self._deployment_id}/{secret.rstrip('/')}", deadline):
                    locator = f"{self._deployment_id}/{secret}{attempt}"
                    if _LOCATOR.fullmatch(locator):
                        yield locator

    def _list(self, path: str, deadline: Deadline) -> list[str]:
        answer = self._connection.ask("list", f"{self._metadata}/{path}".rstrip("/"), deadline, right="list")
        if answer.status == 404 and "no handler" not in answer.errors:
            return []
        if answer.status != 200:
            raise self._refusal(answer)
        return list(answer.data["data"]["keys"])

    def _describe(self, locator: str, deadline: Deadline) -> Found | None:
        answer = self._connection.ask("get", f"{self._metadata}/{_path(locator)}", deadline, right="read")
        if answer.status == 404 and "no handler" not in answer.errors:
            return None  # deleted meanwhile
        if answer.status != 200:
            raise self._refusal(answer)
        data = answer.data["data"]
        return Found(
            locator=locator, about=about_of(data.get("custom_metadata") or {}), written=datetime.fromisoformat(data["created_time"])
        )

    def _refusal(self, answer: Answer) -> StoreForbidden | Unavailable:
        """What an answer means that no request of this store is meant to get."""
        if "no handler" in answer.errors:
            self._mount_is_right = False
            return StoreForbidden(f"Vault at {self._connection.address} no longer has an engine at '{self._mount}'")
        return Unavailable(f"Vault at {self._connection.address} is not ready: it answers with status {answer.status}")


_LOCATOR = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+/[A-Za-z0-9_-]+", re.ASCII)


def _path(locator: str) -> str:
    """The locator as a path; one that this store did not make leads nowhere, least of all out of its prefix."""
    if not _LOCATOR.fullmatch(locator):
        raise ValuesMissing("a locator that is none of this store's leads to no values")
    return locator
