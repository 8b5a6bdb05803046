"""The `azure` secrets manager: a secret of Azure Key Vault for each secret."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from strongroom.connectors.azure import Answer
from strongroom.connectors.deadline import Deadline
from strongroom.errors import AlreadyExists, StoreForbidden, Unavailable, printable
from strongroom.secrets_managers.remote import RemoteSecretsManager, deadline
from strongroom.secrets_stores.base import Capabilities

_NAME = "name"
"""The tag that has the name as it was given: Key Vault does not tell capitals from small letters."""

_PAGE = "25"
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class AzureSecretsManager(RemoteSecretsManager):
    """Thread-safe. Of two changes at the same moment the later one stays, for Key Vault has no check-and-set.

    What is deleted can be recovered in Key Vault until its retention is over; to register its name again recovers and replaces it.
    """

    flavor = "azure"
    capabilities = Capabilities(max_bytes=25_600, counts_json=True)

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One request. See `SecretsManager`."""
        full = self.names.find(name)
        if full is None:
            return None
        found = self._get(full, deadline())
        if found is None or (found.get("tags") or {}).get(_NAME, name) != name:
            return None
        value = found.get("value")
        if not isinstance(value, str):
            raise self.odd(name)
        return self.decoded(name, value)

    def list_secrets(self) -> list[str]:
        """A request for 25 secrets of the vault, whosever they are. See `SecretsManager`."""
        until, found = deadline(), list[str]()
        query: dict[str, str] | None = {"maxresults": _PAGE}
        while query is not None:
            answer = self._ask("GET", "/secrets", until, "list", query=query)
            self._check(answer, 200)
            for item in answer.data.get("value") or ():
                name = self._name_of(item)
                if name is not None:
                    found.append(name)
            query = self.connect().next_page(answer.data.get("nextLink"))
            until.restart()
        return sorted(found)

    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests; more where a secret of this name was deleted. See `SecretsManager`."""
        full, until = self.names.of(name), deadline()
        text = self.encoded(values)
        found = self._get(full, until)
        if found is not None:
            former = (found.get("tags") or {}).get(_NAME, name)
            if former == name:
                raise self.taken(name)
            raise AlreadyExists(f"{self.title} has a secret '{printable(former)}', and Key Vault takes both names for one")
        answer = self._put(name, full, text, until)
        if answer.status == 409:
            self._recover(full, until)
            answer = self._put(name, full, text, until)
        self._check(answer, 200)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`."""
        text = self.encoded(values)
        if self.find_secret(name) is None:
            raise self.no_secret(name)
        self._check(self._put(name, self.names.of(name), text, deadline()), 200)

    def delete_secret(self, name: str) -> None:
        """Two requests. See `SecretsManager`."""
        if self.find_secret(name) is None:
            raise self.no_secret(name)
        answer = self._ask("DELETE", f"/secrets/{self.names.of(name)}", deadline(), "delete")
        self._check(answer, 200, 404)

    def _ask(self, verb: str, path: str, until: Deadline, right: str, **more: Any) -> Answer:
        answer: Answer = self.connect().ask(verb, path, until, right=right, **more)
        return answer

    def _get(self, full: str, until: Deadline) -> Mapping[str, Any] | None:
        answer = self._ask("GET", f"/secrets/{full}", until, "get")
        if answer.status == 404:
            return None
        self._check(answer, 200)
        return answer.data

    def _put(self, name: str, full: str, text: str, until: Deadline) -> Answer:
        mark, scope = self.mark
        body = {"value": text, "contentType": "application/json", "tags": {mark: scope, _NAME: name}}
        return self._ask("PUT", f"/secrets/{full}", until, "set", body=body)

    def _recover(self, full: str, until: Deadline) -> None:
        """Brings a deleted secret back, which takes Key Vault some seconds."""
        pause = _PAUSE
        while True:
            answer = self._ask("POST", f"/deletedsecrets/{full}/recover", until, "recover")
            self._check(answer, 200, 404, 409)
            if self._get(full, until) is not None:
                return
            if until.remaining() <= pause:
                raise Unavailable(f"Key Vault is still busy deleting '{full}'", hint="try again in a minute")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _name_of(self, item: Mapping[str, Any]) -> str | None:
        """The name of a secret of this scope, None for what is none."""
        tags, names = item.get("tags") or {}, self.names
        mark, scope = self.mark
        if self.is_shared and tags.get(mark) != scope:
            return None
        name = names.name_in(str(item.get("id", "")).rstrip("/").rpartition("/")[2])
        given = str(tags.get(_NAME, name))
        return given if name is not None and given.lower() == name.lower() else name

    def _check(self, answer: Answer, *wanted: int) -> None:
        if answer.status not in wanted:
            what = f"Key Vault answers with status {answer.status} ({printable(answer.code)})"
            raise (StoreForbidden if answer.status == 400 else Unavailable)(what)
