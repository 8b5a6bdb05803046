"""Secrets managers: deprecated components that keep secrets by themselves, beside the centralized store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from strongroom.client.observers import ValuesRead, tell
from strongroom.errors import InvalidInput, NotFound, StrongroomError, printable
from strongroom.models.flavor import ComponentType
from strongroom.models.near import near_names
from strongroom.models.reference import Reference, ReferenceStatus, ResolvedReference
from strongroom.redaction import SecretText
from strongroom.stacks.component import Component

_NEAR = 3


@dataclass(frozen=True)
class ManagedSecret:
    """A secret of a secrets manager, as it was when it was read. Shows no value by accident."""

    name: str
    values: dict[str, SecretText]

    @property
    def content(self) -> dict[str, str]:
        """The keys and values, in clear; each time another dict."""
        return {key: value.reveal() for key, value in self.values.items()}


class SecretsManager(Component):
    """Keeps named groups of keys and texts. A flavor of one's own implements the five methods without a word in front.

    They are called with names and values that were checked as those of secrets are, and raise errors of `strongroom.errors`, none of
    which shows a value: `StoreForbidden` when the back end refuses, `Unavailable` when it does not answer, and what they say.
    """

    type = ComponentType.SECRETS_MANAGER

    @abstractmethod
    def find_secret(self, name: str) -> Mapping[str, str] | None:
        """The keys and values of the secret of exactly this name, or None."""

    @abstractmethod
    def list_secrets(self) -> list[str]:
        """The names of all its secrets, in order."""

    @abstractmethod
    def register_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Makes a secret, as a whole or not at all. `AlreadyExists`."""

    @abstractmethod
    def update_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Replaces all keys and values of a secret, as a whole or not at all. `NotFound`."""

    @abstractmethod
    def delete_secret(self, name: str) -> None:
        """Deletes a secret. `NotFound`."""

    def get_secret(self, name: str) -> ManagedSecret:
        """The secret of exactly this name; a run masks its values from then on. `NotFound`, which is a `KeyError`."""
        found = self.find_secret(name)
        if found is None:
            raise self.no_secret(name)
        values = {key: SecretText(text) for key, text in found.items()}
        tell(ValuesRead("", name, 0, values, recorded=True))
        return ManagedSecret(name, values)

    def change_secret(self, name: str, set_values: Mapping[str, str], remove: Iterable[str] = ()) -> list[str]:
        """Adds or overwrites some keys and removes others; gives the keys that it has then.

        `NotFound`; `InvalidInput` for a key that is not there to be removed, or if none would be left. Not atomic, unless the flavor
        says so: a change that somebody else makes at the same moment may be lost.
        """
        found = self.find_secret(name)
        if found is None:
            raise self.no_secret(name)
        merged = self.merged(name, found, set_values, remove)
        if merged != found:
            self.update_secret(name, merged)
        return list(merged)

    def merged(self, name: str, found: Mapping[str, str], set_values: Mapping[str, str], remove: Iterable[str]) -> dict[str, str]:
        """What a change makes of the values of a secret. `InvalidInput`."""
        merged = {**found, **set_values}
        for key in remove:
            if key in set_values:
                raise InvalidInput(f"the key '{printable(key)}' is both set and removed")
            if key not in merged:
                raise InvalidInput(
                    f"secret '{name}' has no key '{printable(key)}' to remove", hint=f"its keys are: {', '.join(found)}"
                )
            del merged[key]
        if not merged:
            raise InvalidInput("a secret needs at least one key", hint=f"strongroom secrets-manager secret delete {name}")
        return merged

    def no_secret(self, name: str) -> NotFound:
        """The error for a secret that is not there, with names like it."""
        try:
            near = near_names(name, self.list_secrets(), _NEAR)
        except StrongroomError:  # that it may not be listed does not change what is true
            near = []
        hint = f"did you mean {' or '.join(near)}?" if near else "strongroom secrets-manager secret list"
        return NotFound(f"{self.title} has no secret '{printable(name)}'", hint=hint)


def looked_up(manager: SecretsManager, references: Sequence[Reference]) -> dict[Reference, ResolvedReference]:
    """What references lead to in a secrets manager; each of its secrets is read once.

    Where it does not answer, or refuses, the reference is unreadable.
    """
    found: dict[str, Mapping[str, str] | StrongroomError | None] = {}
    for name in dict.fromkeys(reference.name for reference in references):
        try:
            found[name] = manager.find_secret(name)
        except StrongroomError as error:
            found[name] = error
    return {reference: _item(reference, found[reference.name], manager) for reference in references}


def _item(reference: Reference, found: Mapping[str, str] | StrongroomError | None, manager: SecretsManager) -> ResolvedReference:
    name, key = reference.name, reference.key
    if isinstance(found, StrongroomError):
        message = f"it may be in {manager.title}, which cannot be read: {found.message}"
        return ResolvedReference(name=name, key=key, status=ReferenceStatus.UNREADABLE, message=message)
    if found is None:
        return ResolvedReference(name=name, key=key, status=ReferenceStatus.NO_SECRET)
    if key not in found:
        return ResolvedReference(name=name, key=key, status=ReferenceStatus.NO_KEY, keys=sorted(found))
    value = SecretText(found[key])
    tell(ValuesRead("", name, 0, {key: value}, recorded=True))
    return ResolvedReference(name=name, key=key, status=ReferenceStatus.OK, keys=sorted(found), value=value)
