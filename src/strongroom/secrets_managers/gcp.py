"""The `gcp` secrets manager: a secret of Google Secret Manager for each secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp import Answer
from strongroom.connectors.gcp_methods import import_google
from strongroom.errors import StoreForbidden, Unavailable
from strongroom.secrets_managers.remote import RemoteSecretsManager, deadline
from strongroom.secrets_stores.base import Capabilities
from strongroom.secrets_stores.gcp import RIGHTS, SERVICE, messages

_PAGE = 500


class GcpSecretsManager(RemoteSecretsManager):
    """Thread-safe. Of two changes at the same moment the later one stays. Former versions stay until the secret is deleted."""

    flavor = "gcp"
    capabilities = Capabilities(max_bytes=65_536, counts_json=True)

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._types: Mapping[str, tuple[Any, Any]] | None = None

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One request. See `SecretsManager`."""
        full = self.names.find(name)
        if full is None:
            return None
        answer = self._ask("AccessSecretVersion", deadline(), name=f"{self._path(full)}/versions/latest")
        if answer.status == "NOT_FOUND":
            return None
        self._check(answer, full)
        return self.decoded(name, answer.message.payload.data)

    def list_secrets(self) -> list[str]:
        """A request for up to 500 secrets. See `SecretsManager`."""
        until, found, token = deadline(), list[str](), ""
        mark, scope = self.mark
        while True:
            chosen = f"labels.{mark}={scope}"
            answer = self._ask("ListSecrets", until, parent=self._project, filter=chosen, page_size=_PAGE, page_token=token)
            self._check(answer, chosen)
            names = (self.names.name_in(each.name.rpartition("/")[2]) for each in answer.message.secrets)
            found += [name for name in names if name is not None]
            token = answer.message.next_page_token
            if not token:
                return sorted(found)
            until.restart()

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`."""
        full, until, text = self.names.of(name), deadline(), self.encoded(values)
        mark, scope = self.mark
        made = self._messages["CreateSecret"][1](labels={mark: scope})
        made.replication.automatic.SetInParent()
        created = self._ask("CreateSecret", until, parent=self._project, secret_id=full, secret=made)
        if created.status == "ALREADY_EXISTS" and self.find_secret(name) is not None:
            raise self.taken(name)
        if created.status != "ALREADY_EXISTS":  # else somebody was cut off between the two requests
            self._check(created, full)
        number = self._add(full, text, until)
        if number is None:
            raise Unavailable(f"somebody deletes '{full}' meanwhile", hint="try again")
        if number != "1":  # somebody else's came first
            self._ask("DestroySecretVersion", until, name=f"{self._path(full)}/versions/{number}")
            raise self.taken(name)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`."""
        full, text = self.names.of(name), self.encoded(values)
        if self.find_secret(name) is None or self._add(full, text, deadline()) is None:
            raise self.no_secret(name)

    def delete_secret(self, name: str) -> None:
        """One request. See `SecretsManager`."""
        full = self.names.of(name)
        answer = self._ask("DeleteSecret", deadline(), name=self._path(full))
        if answer.status == "NOT_FOUND":
            raise self.no_secret(name)
        self._check(answer, full)

    @property
    def _messages(self) -> Mapping[str, tuple[Any, Any]]:
        if self._types is None:
            self._types = messages()
        return self._types

    @property
    def _project(self) -> str:
        return f"projects/{self.config.project_id}"

    def _path(self, full: str) -> str:
        return f"{self._project}/secrets/{full}"

    def _add(self, full: str, text: str, until: Deadline) -> str | None:
        """Adds a version; its number, None if there is no such secret."""
        data = text.encode()
        payload = {"data": data, "data_crc32c": import_google("google_crc32c").value(data)}
        answer = self._ask("AddSecretVersion", until, parent=self._path(full), payload=payload)
        if answer.status == "NOT_FOUND":
            return None
        self._check(answer, full)
        return str(answer.message.name.rpartition("/")[2])

    def _ask(self, method: str, until: Deadline, **fields: Any) -> Answer:
        request, answer_type = self._messages[method]
        answer: Answer = self.connect().ask(f"{SERVICE}/{method}", request(**fields), answer_type, until, right=RIGHTS[method])
        return answer

    def _check(self, answer: Answer, full: str) -> None:
        if answer.status != "OK":
            raise StoreForbidden(
                f"Google refuses '{full}' in its present state ({answer.status})", hint="is its newest version enabled?"
            )
