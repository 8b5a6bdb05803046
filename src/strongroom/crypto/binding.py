"""What binds rows of the index to each other, so that an attacker with the database cannot put one in another one's place.

Keyed BLAKE2s (RFC 7693): a read computes one, and it takes a microsecond.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from strongroom.crypto import marks

_encode = msgspec.json.encode


class Binding:
    """Makes and compares marks under keys derived from a deployment's digest key. Immutable; thread-safe."""

    def __init__(self, digest_key: bytes) -> None:
        self._pointers, self._values = marks.mark(digest_key, b"strongroom pointers"), marks.mark(digest_key, b"strongroom versions")

    def version_digest(self, values_digest: bytes, secret_id: str, number: int) -> bytes:
        """The digest of a version, made of that of its values. The place is its salt: equal values elsewhere have another digest."""
        return hashlib.blake2s(b"%b\0%d\0%b" % (secret_id.encode(), number, values_digest), key=self._values).digest()

    def pointer_mark(
        self, secret_id: str, workspace_id: str, private_to: str, name: str, current_version: int, last_version: int, updated: int
    ) -> bytes:
        """The mark over a secret's place, its name, its current version, and how far it has come.

        `last_version` and `updated` only grow; `updated` with each change.
        """
        text = _encode((secret_id, workspace_id, private_to, name, current_version, last_version, updated))
        return hashlib.blake2s(text, key=self._pointers).digest()

    def is_pointer(self, mark: bytes | None, *pointer: str | int) -> bool:
        """Whether this is the mark of a pointer, given as to `pointer_mark`. A row without a mark is not what was written."""
        return mark is not None and hmac.compare_digest(hashlib.blake2s(_encode(pointer), key=self._pointers).digest(), mark)
