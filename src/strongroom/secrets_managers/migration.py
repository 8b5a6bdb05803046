"""The way out: secrets of a secrets manager become secrets of the centralized store.

Nothing is ever only on its way. A secret is first made in the centralized store, as a whole, and deleted from the secrets manager
only after both were read again and found the same. So it can be cut off anywhere and run again: what is there already is skipped.
References keep their values meanwhile: the centralized store comes first, and has the same ones.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.client import Client
from strongroom.errors import NotFound, StaleVersion, ValuesMissing, printable
from strongroom.models.secret import Scope, Secret
from strongroom.stacks.secrets_manager import ManagedSecret, SecretsManager

LABEL = "migrated-from"
"""Of a secret that was made here: the name of the secrets manager."""


class Standing(enum.StrEnum):
    """What the centralized store has under the name."""

    ABSENT = "absent"
    DIFFERENT = "different"
    SAME = "same"


@dataclass(frozen=True)
class Candidate:
    """A secret to migrate, and what stands under its name."""

    secret: ManagedSecret
    standing: Standing
    existing: Secret | None


class Migration:
    """From one secrets manager to one scope of the centralized store."""

    def __init__(self, client: Client, manager: SecretsManager, scope: Scope) -> None:
        self._client, self._manager, self.scope = client, manager, scope

    def names(self, wanted: Sequence[str] = ()) -> list[str]:
        """The names to migrate, all of the secrets manager unless some are given. `NotFound` names all that it does not have."""
        if not wanted:
            return self._manager.list_secrets()
        names = list(dict.fromkeys(wanted))
        unknown = [name for name in names if self._manager.find_secret(name) is None]
        if unknown:
            shown = ", ".join(f"'{printable(name)}'" for name in unknown)
            raise NotFound(
                f"{self._manager.title} has no {'secret' if len(unknown) == 1 else 'secrets'} {shown}; nothing was migrated",
                hint="strongroom secrets-manager secret list",
            )
        return names

    def look_at(self, name: str, target: str | None = None) -> Candidate:
        """The secret of the secrets manager, and what stands under its name, or under the target's. `NotFound`."""
        secret = self._manager.get_secret(name)
        existing = self._existing(target or name)
        if existing is None:
            standing = Standing.ABSENT
        else:
            standing = Standing.SAME if existing.secret_values == secret.content else Standing.DIFFERENT
        return Candidate(secret, standing, existing)

    def put(self, candidate: Candidate, target: str | None = None) -> Secret:
        """Makes the secret in the centralized store, or makes what stands there an exact mirror: a new version of it.

        `AlreadyExists` or `StaleVersion` when somebody else was faster; the errors of any create and update.
        """
        name, secret, existing = target or candidate.secret.name, candidate.secret, candidate.existing
        if existing is None:
            return self._client.create_secret(
                name,
                secret.values,
                scope=self.scope,
                description=f"migrated from {self._manager.title}",
                labels={LABEL: self._manager.name},
            )
        return self._client.update_secret(
            existing.id,
            add_or_update_values=secret.values,
            remove_values=[key for key in existing.keys if key not in secret.values],
            if_version=existing.version,
        )

    def delete(self, name: str, target: str | None = None) -> None:
        """Deletes the secret from the secrets manager, if the centralized store has the same values now. `StaleVersion` if not."""
        candidate = self.look_at(name, target)
        if candidate.standing is not Standing.SAME:
            raise StaleVersion(
                f"secret '{target or name}' has other values than '{name}' in {self._manager.title}, which was not deleted",
                hint="somebody changed one of them meanwhile; run it again",
            )
        self._manager.delete_secret(name)
        if not self._is_still_there(candidate, target or name):
            self._manager.register_secret(name, candidate.secret.content)
            raise StaleVersion(
                f"deleting '{name}' from {self._manager.title} took '{target or name}' away too; '{name}' is back there",
                hint="check whether both are kept in one place",
            )

    def _is_still_there(self, candidate: Candidate, name: str) -> bool:
        """Whether the centralized store still gives the values of the candidate, unless it has another version by now."""
        try:
            found = self._existing(name)
        except ValuesMissing:
            return False
        if found is None or candidate.existing is None:
            return False
        return found.version != candidate.existing.version or found.secret_values == candidate.secret.content

    def _existing(self, name: str) -> Secret | None:
        try:
            # by its exact name in this scope alone, then by the id of what was found
            found = self._client.get_secret_metadata_exactly(name, scope=self.scope)
        except NotFound:
            return None
        return self._client.get_secret(found.id) if found.name == name else None
