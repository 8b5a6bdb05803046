"""What a run token opens."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from msgspec import UNSET

from strongroom.models.secret import Secret

ALL_KEYS = ""
"""Stands for all keys of a secret, in a grant."""


@dataclass(frozen=True)
class RunAccess:
    """A run, and what it was granted when it began: pairs of a secret's id and a key, or `ALL_KEYS`.

    Ids, and no names: a secret that gets the name of a granted one later is not covered.
    """

    run_id: str
    run: str
    stack: str
    grants: frozenset[tuple[str, str]] = field(repr=False)

    def covers(self, secret_id: str, key: str) -> bool:
        """Whether it may read this key of this secret."""
        return (secret_id, key) in self.grants or (secret_id, ALL_KEYS) in self.grants

    def covers_any(self, secret_id: str) -> bool:
        """Whether it may read anything of this secret."""
        return any(secret_id == granted for granted, _ in self.grants)

    def narrowed(self, secret: Secret) -> Secret:
        """The secret with the granted keys alone."""
        keys = [key for key in secret.keys if self.covers(secret.id, key)]
        values = UNSET if secret.values is UNSET else {key: secret.values[key] for key in keys}
        return msgspec.structs.replace(secret, keys=keys, values=values)
