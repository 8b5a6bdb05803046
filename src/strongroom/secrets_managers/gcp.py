"""The `gcp` secrets manager: a secret of Google Secret Manager for each secret."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from strongroom.connectors.deadline import Deadline
from strongroom.connectors.gcp import Answer
from strongroom.connectors.gcp_methods import import_google
from strongroom.errors import AlreadyExists, StoreForbidden, StrongroomError, Unavailable
from strongroom.secrets_managers.remote import SECONDS, RemoteSecretsManager
from strongroom.secrets_stores.base import Capabilities
from strongroom.secrets_stores.gcp import RIGHTS, SERVICE, messages

_PAGE = 500
_ABANDONED = 3 * SECONDS
_RIGHTS = {**RIGHTS, "GetSecret": "secretmanager.secrets.get"}


class GcpSecretsManager(RemoteSecretsManager):
    """Thread-safe. Of two who register a name at the same moment exactly one does; of two changes the later one stays.

    A secret is made in two requests. One that was cut off between them has a name and no values: it is listed, and not found. Its
    name can be registered again after a minute. Former versions stay until the secret is deleted.
    """

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
        answer = self._newest(full, self.deadline())
        if answer.status == "NOT_FOUND":
            return None
        self._check(answer, full)
        payload = answer.message.payload
        if payload.HasField("data_crc32c") and payload.data_crc32c != self._checksum(payload.data):
            raise Unavailable(f"what came from Google for '{full}' is not what was sent", hint="try again")
        return self.decoded(name, payload.data)

    def list_secrets(self) -> list[str]:
        """A request for up to 500 secrets. See `SecretsManager`. Google's lists may lack what has just changed."""
        until, found, token = self.deadline(), list[str](), ""
        mark, scope = self.mark
        chosen = f"labels.{mark}={scope}"
        while True:
            answer = self._ask("ListSecrets", until, parent=self._project, filter=chosen, page_size=_PAGE, page_token=token)
            self._check(answer, chosen)
            names = (self.names.name_in(each.name.rpartition("/")[2]) for each in answer.message.secrets)
            found += [name for name in names if name is not None]
            token = answer.message.next_page_token
            if not token:
                return sorted(found)
            until.restart()

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests; six where somebody was cut off between the two. See `SecretsManager`.

        Whoever creates Google's secret has the name, and is the only one to add a version.
        """
        full, until, text = self.names.of(name), self.deadline(), self.encoded(values)
        created = self._create(full, until)
        if created.status == "ALREADY_EXISTS":
            if self._newest(full, until).status != "NOT_FOUND":
                raise self.taken(name)
            self._delete_abandoned(name, full, until)
            created = self._create(full, until)
        if created.status == "ALREADY_EXISTS":
            raise self.taken(name)
        self._check(created, full)
        try:
            added = self._add(full, text, until)
        except StoreForbidden:
            with suppress(StrongroomError):
                self._ask("DeleteSecret", until, name=self._path(full))
            raise
        if not added:
            raise Unavailable(f"somebody deletes '{full}' meanwhile", hint="try again")

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`."""
        full, text = self.names.of(name), self.encoded(values)
        if self.find_secret(name) is None or not self._add(full, text, self.deadline()):
            raise self.no_secret(name)

    def delete_secret(self, name: str) -> None:
        """One request; two in the scope `none`. See `SecretsManager`."""
        full = self.names.of(name)
        if self.is_shared and not self.is_there(name):
            raise self.no_secret(name)
        answer = self._ask("DeleteSecret", self.deadline(), name=self._path(full))
        if answer.status == "NOT_FOUND":
            raise self.no_secret(name)
        self._check(answer, full)

    @property
    def _messages(self) -> Mapping[str, tuple[Any, Any]]:
        if self._types is None:
            found = messages()
            request = import_google("google.cloud.secretmanager_v1.types.service").GetSecretRequest.pb()
            self._types = {**found, "GetSecret": (request, found["CreateSecret"][1])}
        return self._types

    @property
    def _project(self) -> str:
        return f"projects/{self.config.project_id}"

    def _path(self, full: str) -> str:
        return f"{self._project}/secrets/{full}"

    def _checksum(self, data: bytes) -> int:
        return int(import_google("google_crc32c").value(data))

    def _create(self, full: str, until: Deadline) -> Answer:
        """Google's secret, without values."""
        mark, scope = self.mark
        made = self._messages["CreateSecret"][1](labels={mark: scope})
        made.replication.automatic.SetInParent()
        return self._ask("CreateSecret", until, parent=self._project, secret_id=full, secret=made)

    def _newest(self, full: str, until: Deadline) -> Answer:
        return self._ask("AccessSecretVersion", until, name=f"{self._path(full)}/versions/latest")

    def _add(self, full: str, text: str, until: Deadline) -> bool:
        """Adds a version; False if there is no such secret."""
        data = text.encode()
        payload = {"data": data, "data_crc32c": self._checksum(data)}
        answer = self._ask("AddSecretVersion", until, parent=self._path(full), payload=payload)
        if answer.status == "NOT_FOUND":
            return False
        self._check(answer, full)
        return True

    def _delete_abandoned(self, name: str, full: str, until: Deadline) -> None:
        """Deletes what somebody who was cut off left; `AlreadyExists` if it may be somebody at work, or is none of ours."""
        answer = self._ask("GetSecret", until, name=self._path(full))
        if answer.status == "NOT_FOUND":
            return
        self._check(answer, full)
        mark, scope = self.mark
        if answer.message.labels.get(mark) != scope:
            raise AlreadyExists(f"Google has a secret '{full}' without a version", hint="whoever made it is to add one, or delete it")
        if time.time() - answer.message.create_time.ToSeconds() < _ABANDONED:
            raise AlreadyExists(
                f"somebody is registering a secret '{name}' in {self.title}", hint="if it does not appear, try again in a minute"
            )
        # Exactly this one: another one may be in its place by now.
        deleted = self._ask("DeleteSecret", until, name=self._path(full), etag=answer.message.etag)
        if deleted.status != "NOT_FOUND":
            self._check(deleted, full)

    def _ask(self, method: str, until: Deadline, **fields: Any) -> Answer:
        request, answer_type = self._messages[method]
        answer: Answer = self.connect().ask(f"{SERVICE}/{method}", request(**fields), answer_type, until, right=_RIGHTS[method])
        return answer

    def _check(self, answer: Answer, full: str) -> None:
        if answer.status != "OK":
            raise StoreForbidden(
                f"Google refuses '{full}' in its present state ({answer.status})", hint="is its newest version enabled?"
            )
