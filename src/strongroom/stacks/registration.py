"""Registering the secrets that a stack refers to and that are not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom.errors import Unavailable
from strongroom.models.reference import CheckedReference, ReferenceStatus, ResolvedReference
from strongroom.models.secret import check_key, check_name
from strongroom.models.stack import Stack
from strongroom.stacks.resolution import manager_items, places_in_stack

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.stacks.secrets_manager import SecretsManager


@dataclass
class WantedSecret:
    """A secret that a stack refers to: by which keys, which of them exist, and (to be filled in) new values for some."""

    name: str
    keys: list[str]
    secret_id: str | None
    existing: frozenset[str]
    is_managed: bool = False
    """Whether it is in the stack's secrets manager, and not in the centralized store."""
    answers: dict[str, str] = field(default_factory=dict, repr=False)


def wanted_secrets(client: Client, stack: Stack, manager: SecretsManager | None = None) -> list[WantedSecret]:
    """All secrets that the stack refers to, in the order in which they stand there. Reads no value but in the secrets manager.

    `InvalidInput` when one of them can never exist: `{{name.key}}`, copied from a document.
    """
    references = list(dict.fromkeys(place.reference for place in places_in_stack(stack)))
    found: dict[str, WantedSecret] = {}
    checked: list[CheckedReference | ResolvedReference] = list(client.check_references(references).items) if references else []
    absent = [reference for reference, item in zip(references, checked, strict=True) if item.status is ReferenceStatus.NO_SECRET]
    managed = manager_items(lambda: manager, absent)
    for item in (managed.get(reference, item) for reference, item in zip(references, checked, strict=True)):
        if isinstance(item, ResolvedReference) and item.status is ReferenceStatus.UNREADABLE:
            raise Unavailable(item.message or "the secrets manager cannot be read")
        if item.status is not ReferenceStatus.OK:
            check_name(item.name)
            check_key(item.key)
        secret = found.setdefault(item.name, WantedSecret(item.name, [], item.secret_id, frozenset()))
        secret.keys.append(item.key)
        secret.is_managed = item.name in {reference.name for reference in managed}
        if item.status is ReferenceStatus.OK:
            secret.existing |= {item.key}
    return list(found.values())


def register_answers(client: Client, wanted: list[WantedSecret], manager: SecretsManager | None = None) -> Iterator[str]:
    """Stores the answers: adds them to secrets that exist, makes the others in the secrets manager, or if there is none in the
    workspace. A line after each secret changed.

    Each secret is stored as a whole or not at all; those before one that is refused stay stored.
    """
    for secret in wanted:
        keys = ", ".join(secret.answers)
        if not secret.answers:
            continue
        if manager is not None and secret.is_managed:
            manager.change_secret(secret.name, secret.answers)
            yield f"Updated secret '{secret.name}' in {manager.title} with: {keys}."
        elif manager is not None and secret.secret_id is None:
            manager.register_secret(secret.name, secret.answers)
            yield f"Created secret '{secret.name}' in {manager.title} with: {keys}."
        elif secret.secret_id is None:
            client.create_secret(secret.name, secret.answers)
            yield f"Created secret '{secret.name}' with: {keys}."
        else:
            changed = client.update_secret(secret.secret_id, add_or_update_values=secret.answers)
            yield f"Updated secret '{secret.name}' with: {keys}; it is at version {changed.version}."
