"""The `azure` secrets manager: a secret of Azure Key Vault for each secret."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from strongroom.connectors.azure import Answer
from strongroom.connectors.deadline import Deadline
from strongroom.errors import AlreadyExists, StoreForbidden, StrongroomError, Unavailable, printable
from strongroom.secrets_managers.remote import RemoteSecretsManager
from strongroom.secrets_stores.base import Capabilities

_DELETED = ("ObjectIsBeingDeleted", "ObjectIsDeletedButRecoverable")
_PAGE = "25"
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0


class AzureSecretsManager(RemoteSecretsManager):
    """Thread-safe. Key Vault has no check-and-set: of two changes at the same moment, and of two who register a name at the same
    moment, the later one stays, and neither is told.

    Names that differ in capitals alone are one name to Key Vault. A tag has the name as it was given; under others it is not found,
    and cannot be registered. What others made without that tag is found under any.

    What is deleted can be recovered in Key Vault until its retention is over. To register such a name recovers the secret and
    replaces its values, which takes some seconds, while they are there again.
    """

    flavor = "azure"
    capabilities = Capabilities(max_bytes=25_600, counts_json=True)

    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """One request. See `SecretsManager`."""
        found = self._find(name, self.deadline())
        return None if found is None else self._values(name, found)

    def list_secrets(self) -> list[str]:
        """A request for 25 secrets of the vault, whosever they are. See `SecretsManager`."""
        until, found = self.deadline(), list[str]()
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
        full, until, text = self.names.of(name), self.deadline(), self.encoded(values)
        found = self._get(full, until)
        if found is not None:
            former = self._given_name(found, name)
            if former == name:
                raise self.taken(name)
            raise AlreadyExists(
                f"{self.title} has a secret '{printable(former)}', and Key Vault takes both names for one", hint="choose another name"
            )
        mark, scope = self.mark
        tags = {mark: scope, self._name_tag: name}
        answer = self._put(full, text, tags, until)
        if answer.status == 409 and answer.code in _DELETED:
            self._recover(full, until)
            self._replace(full, text, tags, until)
        else:
            self._check(answer, 200)

    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Two requests. See `SecretsManager`. Its tags stay as they are."""
        text, until = self.encoded(values), self.deadline()
        found = self._find(name, until)
        if found is None:
            raise self.no_secret(name)
        self._values(name, found)
        self._check(self._put(self.names.of(name), text, _tags(found), until), 200)

    def delete_secret(self, name: str) -> None:
        """Two requests. See `SecretsManager`."""
        full = self.names.of(name)
        if not self.is_there(name):
            raise self.no_secret(name)
        answer = self._delete(full, self.deadline())
        if _is_gone(answer):
            raise self.no_secret(name)
        self._check(answer, 200)

    @property
    def _name_tag(self) -> str:
        """The tag that has the name as it was given."""
        return f"{self.names.prefix}_secret_name"

    def _find(self, name: str, until: Deadline) -> Mapping[str, Any] | None:
        """The secret of exactly this name, as Key Vault describes it."""
        full = self.names.find(name)
        found = self._get(full, until) if full is not None else None
        return found if found is not None and self._given_name(found, name) == name else None

    def _given_name(self, item: Mapping[str, Any], name: str) -> str:
        """The name that the secret was given, if it is the same one to Key Vault; else this one."""
        given = str(_tags(item).get(self._name_tag, name))
        return given if given.lower() == name.lower() else name

    def _values(self, name: str, found: Mapping[str, Any]) -> dict[str, str]:
        value = found.get("value")
        if not isinstance(value, str):
            raise self.odd(name)
        return self.decoded(name, value)

    def _ask(self, verb: str, path: str, until: Deadline, right: str, **more: Any) -> Answer:
        answer: Answer = self.connect().ask(verb, path, until, right=right, **more)
        return answer

    def _get(self, full: str, until: Deadline) -> Mapping[str, Any] | None:
        answer = self._ask("GET", f"/secrets/{full}", until, "get")
        if _is_gone(answer):
            return None
        self._check(answer, 200)
        return answer.data

    def _put(self, full: str, text: str, tags: Mapping[str, Any], until: Deadline) -> Answer:
        body = {"value": text, "contentType": "application/json", "tags": dict(tags)}
        return self._ask("PUT", f"/secrets/{full}", until, "set", body=body)

    def _delete(self, full: str, until: Deadline) -> Answer:
        return self._ask("DELETE", f"/secrets/{full}", until, "delete")

    def _replace(self, full: str, text: str, tags: Mapping[str, Any], until: Deadline) -> None:
        """Puts values over those that were recovered. Where Key Vault refuses it is deleted again."""
        try:
            self._check(self._put(full, text, tags, until), 200)
        except StoreForbidden:
            with suppress(StrongroomError):
                self._delete(full, until)
            raise

    def _recover(self, full: str, until: Deadline) -> None:
        """Brings a deleted secret back, which takes Key Vault some seconds."""
        pause = _PAUSE
        while True:
            answer = self._ask("POST", f"/deletedsecrets/{full}/recover", until, "recover")
            self._check(answer, 200, 404, 409)
            if self._get(full, until) is not None:
                return
            if until.remaining() <= pause:
                raise Unavailable(f"Key Vault is still busy with deleting or recovering '{full}'", hint="try again in a minute")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _name_of(self, item: Mapping[str, Any]) -> str | None:
        """The name of a secret of this scope, None for what is none."""
        mark, scope = self.mark
        if self.is_shared and _tags(item).get(mark) != scope:
            return None
        name = self.names.name_in(str(item.get("id", "")).rstrip("/").rpartition("/")[2])
        return None if name is None else self._given_name(item, name)

    def _check(self, answer: Answer, *wanted: int) -> None:
        if answer.status in wanted:
            return
        what = f"Key Vault answers with status {answer.status} ({printable(answer.code)})"
        if answer.status == 400:
            raise StoreForbidden(what, hint="is there a policy in Azure that forbids such secrets?")
        raise Unavailable(what, hint="try again in a minute")


def _tags(item: Mapping[str, Any]) -> Mapping[str, Any]:
    tags = item.get("tags")
    return tags if isinstance(tags, dict) else {}


def _is_gone(answer: Answer) -> bool:
    """Deleted, being deleted, or never there; and it is Key Vault that says so."""
    return (answer.status == 404 and answer.code == "SecretNotFound") or (answer.status == 409 and answer.code in _DELETED)
