"""Registering the secrets that a stack refers to and that are not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom.models.reference import ReferenceStatus
from strongroom.models.secret import check_key, check_name
from strongroom.models.stack import Stack
from strongroom.stacks.resolution import places_in_stack

if TYPE_CHECKING:
    from strongroom.client import Client


@dataclass
class WantedSecret:
    """A secret that a stack refers to: by which keys, which of them exist, and (to be filled in) new values for some."""

    name: str
    keys: list[str]
    secret_id: str | None
    existing: frozenset[str]
    answers: dict[str, str] = field(default_factory=dict, repr=False)


def wanted_secrets(client: Client, stack: Stack) -> list[WantedSecret]:
    """All secrets that the stack refers to, in the order in which they stand there. Reads no value.

    `InvalidInput` when one of them can never exist: `{{name.key}}`, copied from a document.
    """
    references = list(dict.fromkeys(place.reference for place in places_in_stack(stack)))
    found: dict[str, WantedSecret] = {}
    for item in client.check_references(references).items if references else ():
        if item.status is not ReferenceStatus.OK:
            check_name(item.name)
            check_key(item.key)
        secret = found.setdefault(item.name, WantedSecret(item.name, [], item.secret_id, frozenset()))
        secret.keys.append(item.key)
        if item.status is ReferenceStatus.OK:
            secret.existing |= {item.key}
    return list(found.values())


def register_answers(client: Client, wanted: list[WantedSecret]) -> Iterator[str]:
    """Stores the answers: adds them to secrets that exist, makes the others in the workspace. A line after each secret changed.

    Each secret is stored as a whole or not at all; those before one that is refused stay stored.
    """
    for secret in wanted:
        keys = ", ".join(secret.answers)
        if not secret.answers:
            continue
        if secret.secret_id is None:
            client.create_secret(secret.name, secret.answers)
            yield f"Created secret '{secret.name}' with: {keys}."
        else:
            changed = client.update_secret(secret.secret_id, add_or_update_values=secret.answers)
            yield f"Updated secret '{secret.name}' with: {keys}; it is at version {changed.version}."
