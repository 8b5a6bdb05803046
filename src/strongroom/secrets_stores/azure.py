"""The `azure` secrets store: Azure Key Vault.

Every version is a secret of its own, `<prefix>-<deployment>-<secret>-<attempt>` (ids without dashes), whose value is plain top-level
JSON, so that other tools can read it, and whose tags say whose it is.

Key Vault has no compare-and-set: a second PUT at a name is not refused, it makes a newer native version. What is done about it:

- Locators are fresh. The store knows which ones it made and nobody put at yet; a put there is one request. Any other put looks first,
  and writes only where nothing is. Puts at one locator through one store take turns. So other values are refused, always, but for two
  processes that put different values at the same locator at the same moment, which nobody does: a locator belongs to one attempt.
- A tag has the locator. What somebody writes over it by hand does not have that tag: then the oldest native version that has it is
  read, for Key Vault keeps them all.

Deleted secrets are purged, if the vault and the role allow it. Where not, Key Vault keeps them out of sight until its retention is
over; as locators are never used twice, that blocks no put.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from strongroom import forking
from strongroom.connectors.azure import Answer, AzureConnection
from strongroom.connectors.deadline import Deadline
from strongroom.db.identifiers import new_id
from strongroom.errors import ConfigurationError, StoreForbidden, Unavailable, ValuesCorrupt, ValuesMissing, printable
from strongroom.secrets_stores.base import About, Capabilities, Found, about_of, check_size, checked_store_id, texts_of

_CAPABILITIES = Capabilities(max_bytes=25_600, counts_json=True)
_PAGE = "25"
"""The most that Key Vault gives in one answer."""

_PREFIX = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)
_MAX_PREFIX = 127 - 3 * (1 + 32)
_LOCATOR = re.compile(r"([a-z0-9]{1,32})-([a-z0-9]{1,32})-([a-z0-9]{32})", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MAX_TAGS, _MAX_TAG = 15, 256
_MAX_FRESH = 10_000
_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_AT_ONCE, _MAX_UNPURGED = 10, 1_000

_decode = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where in a vault. `name` takes the place of the address in the store's id; `tags` are added to each secret.

    Without `purge`, deleted secrets stay recoverable by the vault's operators until its retention is over.
    """

    prefix: str = "strongroom"
    tags: dict[str, str] = field(default_factory=dict)
    purge: bool = True
    name: str | None = None


def open_store(connection: AzureConnection, options: Options, deployment_id: str) -> AzureSecretsStore:
    """The store, which closes the connection. Asks nobody."""
    return AzureSecretsStore(connection, deployment_id, options)


class AzureSecretsStore:
    """Opened for one deployment, on a connection that it closes."""

    def __init__(self, connection: AzureConnection, deployment_id: str, options: Options | None = None) -> None:
        """Asks nobody. `ConfigurationError` for a prefix, tags or a name that will not do."""
        options = options or Options()
        if not _PREFIX.fullmatch(options.prefix) or len(options.prefix) > _MAX_PREFIX:
            raise ConfigurationError(
                f"'prefix' is to be made of at most {_MAX_PREFIX} small letters and digits, with single '-' between",
                hint="Key Vault does not tell small letters from capitals",
            )
        _check_tags(options.tags)
        store_id = checked_store_id(options.name or f"azure://{connection.host}/{options.prefix}")
        self._connection, self._options, self._store_id = connection, options, store_id
        self._deployment = _without_dashes("deployment", deployment_id)
        self._turns = _Turns()
        self._lock, self._unpurged = forking.renewed(self, "_lock", threading.Lock), list[str]()

    def __repr__(self) -> str:
        return f"<secrets store {self._store_id}>"

    @property
    def store_id(self) -> str:
        """`azure://<host>/<prefix>`, or the operator's name."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """25 KB of JSON: "a maximum size of 25 KB each" (learn.microsoft.com/azure/key-vault/secrets/about-secrets)."""
        return _CAPABILITIES

    def new_locator(self, secret_id: str) -> str:
        """`<deployment>-<secret>-<attempt>`: the name after the prefix."""
        secret = _without_dashes("secret", secret_id)
        locator = f"{self._deployment}-{secret}-{new_id().replace('-', '')}"
        self._turns.made(locator)
        return locator

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """One request at a locator that this store made; one more when it is a repetition. See `SecretsStore.put`."""
        check_size(values, _CAPABILITIES)
        deadline, path = Deadline(seconds), self._path(locator)
        with self._turns.one(locator, deadline) as is_fresh:
            if not is_fresh and self._is_there(locator, values, deadline):
                return
            body = {
                "value": msgspec.json.encode(values).decode(),
                "contentType": "application/json",
                "tags": {**self._options.tags, **texts_of(about), "locator": locator},
            }
            answer = self._connection.ask("PUT", path, deadline, right="set", body=body)
        if answer.status == 409 and answer.code in ("ObjectIsDeletedButRecoverable", "ObjectIsBeingDeleted"):
            raise ValuesCorrupt(f"Key Vault at {self._connection.host} had values at {locator} that were deleted there")
        if answer.status != 200:
            raise self._refusal(answer)

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """One request; more if somebody wrote over it. See `SecretsStore.get`."""
        return self._read(locator, Deadline(seconds))

    def delete(self, locator: str, *, seconds: float) -> None:
        """Two requests, and more while Key Vault is busy deleting. See `SecretsStore.delete`.

        What cannot be purged within half of the time is purged by a later delete of this store. What may not be purged, or never
        is, stays out of sight and recoverable until the vault's retention is over.
        """
        deadline, path = Deadline(seconds), self._path(locator)
        answer = self._connection.ask("DELETE", path, deadline, right="delete")
        if answer.status != 200 and not _is_gone(answer):
            raise self._refusal(answer)
        if self._options.purge and (answer.status != 200 or _is_purgeable(answer)):
            patience = Deadline(seconds / 2 if answer.status != 404 else 0)
            if not self._purge(path, deadline, patience):
                self._purge_others(deadline, one_more=path)
            elif self._unpurged:
                self._purge_others(deadline)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """One request for 25 secrets of the vault, whosever they are; each may take so many seconds. See `SecretsStore.scan`."""
        for items in self._items(seconds):
            if found := [each for each in map(self._found, items) if each is not None]:
                yield found

    def deployments(self, *, seconds: float) -> list[str]:
        """One request for 25 secrets of the vault, whosever they are. See `ListsDeployments`."""
        prefix, found = f"{self._options.prefix}-", set[str]()
        for items in self._items(seconds):
            for item in items:
                name = _last(item)
                match = _LOCATOR.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
                if match is not None:
                    found.add(_deployment_of(match[1], _tags(item)))
        return sorted(found)

    def identity(self, *, seconds: float) -> str:
        """See `Introspective`."""
        return self._connection.identity(seconds=seconds)

    @property
    def policy(self) -> str:
        """See `Introspective`. A role, for vaults with Azure's role-based access; and a command, for those with access policies."""
        rights = ["get", "set", "list", "delete", *(["purge"] if self._options.purge else [])]
        vault = self._connection.host.partition(".")[0]
        role = {
            "Name": f"strongroom in {vault}",
            "Description": "What strongroom needs to keep secrets in this vault, and no more.",
            "Actions": [],
            "DataActions": [self._connection.action(each) for each in rights],
            "AssignableScopes": ["/subscriptions/<subscription>/resourceGroups/<resource group>"],
        }
        shown = msgspec.json.format(msgspec.json.encode(role), indent=2).decode()
        command = f"az keyvault set-policy --name {vault} --spn <client id> --secret-permissions {' '.join(rights)}"
        return f"{shown}\n\n{command}\n"

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _path(self, locator: str) -> str:
        """Of the secret; a locator that this store did not make leads nowhere, least of all out of its prefix."""
        if not _LOCATOR.fullmatch(locator):
            raise ValuesMissing("a locator that is none of this store's leads to no values")
        return f"/secrets/{self._options.prefix}-{locator}"

    def _is_there(self, locator: str, values: Mapping[str, str], deadline: Deadline) -> bool:
        """Whether these values lie there; `ValuesCorrupt` if others do."""
        try:
            found = self._read(locator, deadline)
        except ValuesMissing:
            return False
        if found != values:
            raise ValuesCorrupt(f"Key Vault at {self._connection.host} has other values at {locator} already; they stay")
        return True

    def _read(self, locator: str, deadline: Deadline) -> dict[str, str]:
        path = self._path(locator)
        data = self._ask_for(path, locator, deadline)
        values = _values(data)
        if values is None or not _is_of(data, locator):
            version = self._first_version(path, locator, deadline)
            values = _values(self._ask_for(f"{path}/{version}", locator, deadline)) if version else None
        if values is None:
            raise ValuesCorrupt(f"what lies at {locator} of Key Vault at {self._connection.host} is not what strongroom writes")
        return values

    def _ask_for(self, path: str, locator: str, deadline: Deadline) -> Mapping[str, Any]:
        answer = self._connection.ask("GET", path, deadline, right="get")
        if _is_gone(answer):
            raise ValuesMissing(
                f"Key Vault at {self._connection.host} has nothing at {locator}",
                hint=f"if somebody deleted it by hand: az keyvault secret recover --name {path.split('/')[2]} --vault-name ...",
            )
        if answer.status != 200:
            raise self._refusal(answer)
        return answer.data

    def _first_version(self, path: str, locator: str, deadline: Deadline) -> str | None:
        """The oldest native version that was put here; None if there is none."""
        versions: list[tuple[float, str]] = []
        query: dict[str, str] | None = {"maxresults": _PAGE}
        while query is not None:
            items, query = self._page(self._connection.ask("GET", f"{path}/versions", deadline, right="list", query=query))
            versions += [(_created(each), _last(each)) for each in items if _is_of(each, locator)]
        return min(versions)[1] if versions else None

    def _page(self, answer: Answer) -> tuple[list[Mapping[str, Any]], dict[str, str] | None]:
        items = answer.data.get("value") or []
        if answer.status != 200 or not isinstance(items, list):
            raise self._refusal(answer)
        return [each for each in items if isinstance(each, dict)], self._connection.next_page(answer.data.get("nextLink"))

    def _items(self, seconds: float) -> Iterator[list[Mapping[str, Any]]]:
        """All that is in the vault, in pages."""
        query: dict[str, str] | None = {"maxresults": _PAGE}
        while query is not None:
            items, query = self._page(self._connection.ask("GET", "/secrets", Deadline(seconds), right="list", query=query))
            yield items

    def _found(self, item: Mapping[str, Any]) -> Found | None:
        prefix, locator = f"{self._options.prefix}-", _last(item)
        if not locator.startswith(prefix):
            return None
        locator = locator.removeprefix(prefix)
        match = _LOCATOR.fullmatch(locator)
        if match is None or match[1] != self._deployment:
            return None
        return Found(locator=locator, about=about_of(_tags(item)), written=datetime.fromtimestamp(_created(item), UTC))

    def _purge(self, path: str, deadline: Deadline, patience: Deadline) -> bool:
        """For good. Key Vault goes on deleting for seconds after it has answered, and purges only then; False if it is not that far.

        Without patience, what it does not know is gone.
        """
        pause = _PAUSE
        while True:
            try:
                answer = self._connection.ask("DELETE", path.replace("/secrets/", "/deletedsecrets/", 1), deadline, right="purge")
            except StoreForbidden:
                return True  # purge protection, or no such right: it stays recoverable, as the guide says
            if answer.status not in (200, 204, 404, 409):
                raise self._refusal(answer)
            if answer.status in (200, 204) or (answer.status == 404 and patience.remaining() <= 0):
                return True
            if patience.remaining() <= pause:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _purge_others(self, deadline: Deadline, one_more: str | None = None) -> None:
        """What former deletes had to leave. No failure here is one of the caller's."""
        with self._lock:
            others, self._unpurged = self._unpurged, [one_more] if one_more else []
        left = []
        for number, path in enumerate(others):
            try:
                if number >= _AT_ONCE or not self._purge(path, deadline, Deadline(0)):
                    left.append(path)
            except Unavailable:
                left += others[number:]
                break
        with self._lock:
            self._unpurged = [*left, *self._unpurged][:_MAX_UNPURGED]

    def _refusal(self, answer: Answer) -> StoreForbidden | Unavailable:
        """What an answer means that no request of this store is meant to get."""
        what = f"Key Vault at {self._connection.host} answers with status {answer.status} ({printable(answer.code)})"
        if answer.status == 400:
            return StoreForbidden(what, hint="is there a policy in Azure that forbids such secrets?")
        return Unavailable(what)


class _Turns:
    """Lets one put at a time have a locator, and knows those that nobody has put at yet: of the last 10,000."""

    def __init__(self) -> None:
        self._changed = forking.renewed(self, "_changed", threading.Condition)
        self._fresh: OrderedDict[str, None] = OrderedDict()
        self._busy: set[str] = set()

    def made(self, locator: str) -> None:
        """Nobody else has it."""
        with self._changed:
            self._fresh[locator] = None
            if len(self._fresh) > _MAX_FRESH:
                self._fresh.popitem(last=False)

    @contextmanager
    def one(self, locator: str, deadline: Deadline) -> Iterator[bool]:
        """A turn, with whether nobody can have put there before."""
        with self._changed:
            while locator in self._busy:
                self._changed.wait(deadline.left())
            self._busy.add(locator)
            is_fresh = locator in self._fresh
            self._fresh.pop(locator, None)
        try:
            yield is_fresh
        finally:
            with self._changed:
                self._busy.discard(locator)
                self._changed.notify_all()


def _is_gone(answer: Answer) -> bool:
    """Deleted, being deleted, or never there; and it is Key Vault that says so."""
    if answer.status == 409:
        return answer.code in ("ObjectIsBeingDeleted", "ObjectIsDeletedButRecoverable")
    return answer.status == 404 and answer.code == "SecretNotFound"


def _is_purgeable(answer: Answer) -> bool:
    """Whether what was deleted can be recovered, and purged, as far as its vault is concerned."""
    attributes = answer.data.get("attributes")
    level = attributes.get("recoveryLevel") if isinstance(attributes, dict) else None
    return "recoveryId" in answer.data and "Purgeable" in str(level).split("+")


def _is_of(item: Mapping[str, Any], locator: str) -> bool:
    return _tags(item).get("locator") == locator


def _tags(item: Mapping[str, Any]) -> Mapping[str, Any]:
    tags = item.get("tags")
    return tags if isinstance(tags, dict) else {}


def _last(item: Mapping[str, Any]) -> str:
    """The end of an id: a name, or a version."""
    return str(item.get("id")).rpartition("/")[2]


def _created(item: Mapping[str, Any]) -> float:
    attributes = item.get("attributes")
    created = attributes.get("created") if isinstance(attributes, dict) else None
    return float(created) if isinstance(created, int | float) else 0.0


def _values(data: Mapping[str, Any]) -> dict[str, str] | None:
    try:
        return _decode(str(data.get("value")))
    except msgspec.DecodeError:
        return None


def _without_dashes(whose: str, identifier: str) -> str:
    """An id as a part of a name, which has room for three of them."""
    if _UUID.fullmatch(identifier):
        return identifier.replace("-", "")
    if not re.fullmatch(r"[a-z0-9]{1,32}", identifier, re.ASCII):
        raise ConfigurationError(f"the {whose}'s id is to be a UUID, or made of at most 32 small letters and digits")
    return identifier


def _deployment_of(name: str, tags: Mapping[str, Any]) -> str:
    """The deployment's id with its dashes, of which names have none."""
    told = str(tags.get("deployment_id"))
    if told.replace("-", "") == name:
        return told
    return str(uuid.UUID(name)) if re.fullmatch("[0-9a-f]{32}", name) else name


def _check_tags(tags: Mapping[str, str]) -> None:
    own = {*About.__dataclass_fields__, "locator"}
    if taken := own & tags.keys():
        raise ConfigurationError(f"'tags' cannot have {', '.join(sorted(taken))}: the store writes these itself")
    if len(tags) > _MAX_TAGS - len(own) or any(not name or max(len(name), len(text)) > _MAX_TAG for name, text in tags.items()):
        raise ConfigurationError(f"'tags' may be {_MAX_TAGS - len(own)}, with names and texts of at most {_MAX_TAG} characters")
