"""Envelope encryption: each text has a data key of its own, and the key-encryption key wraps the data keys.

So rotating the key-encryption key rewrites a few bytes per row and never the texts themselves.
"""

from __future__ import annotations

from typing import NamedTuple

from strongroom.crypto.aead import Cipher, new_key
from strongroom.crypto.keyring import Keyring


class Envelope(NamedTuple):
    """What is stored: the id of the key-encryption key, the data key wrapped by it, and the text sealed by the data key."""

    key_id: str
    wrapped_key: bytes
    sealed: bytes


def seal(keyring: Keyring, plaintext: bytes, place: bytes) -> Envelope:
    """Seals a text under the active key, bound to its place: elsewhere it does not open."""
    key_id = keyring.active_id
    data_key = new_key()
    return Envelope(
        key_id=key_id,
        wrapped_key=keyring.key(key_id).seal(data_key, _wrapping(key_id, place)),
        sealed=Cipher(data_key).seal(plaintext, place),
    )


def unseal(keyring: Keyring, envelope: Envelope, place: bytes) -> bytes:
    """The text, or `DecryptionFailed`; `UnknownKey` if the keyring lacks the key."""
    data_key = keyring.key(envelope.key_id).unseal(envelope.wrapped_key, _wrapping(envelope.key_id, place))
    return Cipher(data_key).unseal(envelope.sealed, place)


def rewrap(keyring: Keyring, key_id: str, wrapped_key: bytes, place: bytes) -> tuple[str, bytes]:
    """The data key wrapped by the active key instead: its key id and bytes. The sealed text stays as it is."""
    data_key = keyring.key(key_id).unseal(wrapped_key, _wrapping(key_id, place))
    active = keyring.active_id
    return active, keyring.key(active).seal(data_key, _wrapping(active, place))


def _wrapping(key_id: str, place: bytes) -> bytes:
    return b"strongroom data key\0" + key_id.encode() + b"\0" + place
