"""Secrets stores of the other shape: five methods on whole secrets, with names and ids of their own.

Whoever wrote such a store for the existing system brings it here unchanged but for the imports. An adapter makes a store of versions
of it: each version becomes a secret of that store, under a name that is never used twice, and is never updated.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from strongroom.db.identifiers import new_id
from strongroom.errors import ValuesCorrupt, ValuesMissing
from strongroom.redaction import SecretText
from strongroom.secrets_stores.base import About, Capabilities, Found, check_size

_T = TypeVar("_T")
_PAGE = 100


@dataclass(kw_only=True)
class SecretRequestModel:
    """A secret to be created. `values` are masked when they are shown; `secret_values` are plain."""

    name: str
    scope: str = "workspace"
    values: dict[str, SecretText | None] = field(default_factory=dict)
    user: UUID | str | None = None
    workspace: UUID | str | None = None

    @property
    def secret_values(self) -> dict[str, str]:
        """The values as texts."""
        return {key: value.reveal() for key, value in self.values.items() if value is not None}


@dataclass(kw_only=True)
class SecretResponseModel(SecretRequestModel):
    """A secret as a store gives it back. In lists without values."""

    id: UUID
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    updated: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(kw_only=True)
class SecretUpdateModel:
    """Changes to a secret: a value of None removes its key. strongroom never asks for one."""

    name: str | None = None
    scope: str | None = None
    values: dict[str, SecretText | None] | None = None

    def get_secret_values_update(self) -> dict[str, str | None]:
        """The changes as texts."""
        return {key: None if value is None else value.reveal() for key, value in (self.values or {}).items()}


@dataclass(kw_only=True)
class SecretFilterModel:
    """Which secrets to list: those of exactly this name, or all. Pages count from 1."""

    page: int = 1
    size: int = _PAGE
    name: str | None = None
    scope: str | None = None
    sort_by: str = "created"
    logical_operator: str = "and"


@dataclass(kw_only=True)
class Page(Generic[_T]):
    """A part of a list. `index` counts from 1."""

    index: int
    max_size: int
    total_pages: int
    total: int
    items: list[_T]

    @classmethod
    def of(cls, items: Sequence[_T], wanted: SecretFilterModel) -> Page[_T]:
        """The wanted page of a list that is there as a whole."""
        start = (wanted.page - 1) * wanted.size
        pages = max(1, math.ceil(len(items) / wanted.size))
        part = list(items[start : start + wanted.size])
        return cls(index=wanted.page, max_size=wanted.size, total_pages=pages, total=len(items), items=part)


class SecretsStoreInterface(ABC):
    """The interface of the documents. `get_secret` and `delete_secret` raise `KeyError` for a secret that is not there."""

    @abstractmethod
    def _initialize(self) -> None:
        """Makes the store ready."""

    @abstractmethod
    def create_secret(self, secret: SecretRequestModel) -> SecretResponseModel:
        """Stores a new secret."""

    @abstractmethod
    def get_secret(self, secret_id: UUID) -> SecretResponseModel:
        """The secret with its values."""

    @abstractmethod
    def list_secrets(self, secret_filter_model: SecretFilterModel) -> Page[SecretResponseModel]:
        """Secrets without their values."""

    @abstractmethod
    def update_secret(self, secret_id: UUID, secret_update: SecretUpdateModel) -> SecretResponseModel:
        """Changes a secret."""

    @abstractmethod
    def delete_secret(self, secret_id: UUID) -> None:
        """Deletes a secret."""


class WholeSecrets:
    """Makes a store of versions of a store of whole secrets. Not thread-safe by itself beyond what the inner store is.

    A version's name is `strongroom-<deployment>-<secret>-<attempt>`, which is its locator too. Ids are the inner store's, so a get
    looks the name up first; ids that were seen are remembered.
    """

    def __init__(self, inner: SecretsStoreInterface, store_id: str, deployment_id: str) -> None:
        self._inner, self._store_id, self._prefix = inner, store_id, f"strongroom-{deployment_id}-"
        self._ids: dict[str, UUID] = {}

    @property
    def store_id(self) -> str:
        """As it was given."""
        return self._store_id

    @property
    def capabilities(self) -> Capabilities:
        """64 KiB, unless the class says otherwise by `MAX_BYTES`; whose a secret is stands in its name alone."""
        return Capabilities(max_bytes=int(getattr(self._inner, "MAX_BYTES", 65_536)), scan_describes=False)

    def new_locator(self, secret_id: str) -> str:
        """The version's name."""
        return f"{self._prefix}{secret_id}-{new_id()}"

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """See `SecretsStore.put`. Of several secrets that got the same name, the first one counts."""
        check_size(values, self.capabilities)
        if not self._is_there(locator, values):
            request = SecretRequestModel(
                name=locator, scope=about.scope, values={key: SecretText(text) for key, text in values.items()}
            )
            mine = self._inner.create_secret(request).id
            winner = self._find(locator)
            if winner is not None and winner != mine:
                with suppress(KeyError):
                    self._inner.delete_secret(mine)
                if not self._is_there(locator, values):
                    raise ValuesMissing("what was put was deleted at once")
            self._remember(locator, winner or mine)

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """See `SecretsStore.get`."""
        secret_id = self._ids.get(locator) or self._find(locator)
        if secret_id is None:
            raise ValuesMissing(f"{self._store_id} has no secret '{locator}'")
        try:
            secret = self._inner.get_secret(secret_id)
        except KeyError:
            self._ids.pop(locator, None)
        else:
            self._remember(locator, secret_id)
            return _values_of(secret, locator)
        raise ValuesMissing(f"{self._store_id} has no secret '{locator}' any more")

    def delete(self, locator: str, *, seconds: float) -> None:
        """See `SecretsStore.delete`."""
        self._ids.pop(locator, None)
        for each in self._named(locator):
            with suppress(KeyError):
                self._inner.delete_secret(each.id)

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """See `SecretsStore.scan`. All pages are asked for before the first one is given, so that nothing moves meanwhile."""
        found: dict[str, None] = {}
        number = 1
        while True:
            page = self._inner.list_secrets(SecretFilterModel(page=number, size=_PAGE))
            found |= {each.name: None for each in page.items if each.name.startswith(self._prefix)}
            if number >= page.total_pages:
                break
            number += 1
        locators = list(found)
        for start in range(0, len(locators), _PAGE):
            yield [Found(locator=each) for each in locators[start : start + _PAGE]]

    def close(self) -> None:
        """Closes the inner store if it can be closed."""
        close: Any = getattr(self._inner, "close", None)
        if callable(close):
            close()

    def _is_there(self, locator: str, values: Mapping[str, str]) -> bool:
        if self._find(locator) is None:
            return False
        if self.get(locator, seconds=1) != values:
            raise ValuesCorrupt(f"{self._store_id} has other values at '{locator}' already; they stay")
        return True

    def _find(self, locator: str) -> UUID | None:
        named = self._named(locator)
        return min(named, key=lambda each: (each.created, str(each.id))).id if named else None

    def _named(self, locator: str) -> list[SecretResponseModel]:
        page = self._inner.list_secrets(SecretFilterModel(name=locator))
        return [each for each in page.items if each.name == locator]

    def _remember(self, locator: str, secret_id: UUID) -> None:
        if len(self._ids) > 10_000:
            self._ids.clear()
        self._ids[locator] = secret_id


def _values_of(secret: SecretResponseModel, locator: str) -> dict[str, str]:
    values = secret.values
    if not isinstance(values, dict) or not all(isinstance(each, SecretText) for each in values.values()):
        raise ValuesCorrupt(f"what lies at '{locator}' is not what strongroom writes")
    return secret.secret_values
