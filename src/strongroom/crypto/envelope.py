"""Envelope encryption: each text has a data key of its own, and the key-encryption key wraps the data keys.

So rotating the key-encryption key rewrites a few bytes per row and never the texts themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.crypto import aead
from strongroom.crypto.keyring import Keyring


@dataclass(frozen=True)
class Envelope:
    """What is stored: the id of the key-encryption key, the data key wrapped by it, and the text sealed by the data key."""

    key_id: str
    wrapped_key: bytes
    sealed: bytes


def seal(keyring: Keyring, plaintext: bytes, place: bytes) -> Envelope:
    """Seals a text under the active key, bound to its place: elsewhere it does not open."""
    key_id = keyring.active_id
    data_key = aead.new_key()
    return Envelope(
        key_id=key_id,
        wrapped_key=aead.seal(keyring.key(key_id), data_key, _wrapping(key_id, place)),
        sealed=aead.seal(data_key, plaintext, place),
    )


def unseal(keyring: Keyring, envelope: Envelope, place: bytes) -> bytes:
    """The text, or `DecryptionFailed`; `UnknownKey` if the keyring lacks the key."""
    data_key = aead.unseal(keyring.key(envelope.key_id), envelope.wrapped_key, _wrapping(envelope.key_id, place))
    return aead.unseal(data_key, envelope.sealed, place)


def rewrap(keyring: Keyring, key_id: str, wrapped_key: bytes, place: bytes) -> tuple[str, bytes]:
    """The data key wrapped by the active key instead: its key id and bytes. The sealed text stays as it is."""
    data_key = aead.unseal(keyring.key(key_id), wrapped_key, _wrapping(key_id, place))
    active = keyring.active_id
    return active, aead.seal(keyring.key(active), data_key, _wrapping(active, place))


def _wrapping(key_id: str, place: bytes) -> bytes:
    return b"strongroom data key\0" + key_id.encode() + b"\0" + place
