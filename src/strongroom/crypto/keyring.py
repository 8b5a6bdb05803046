"""The key-encryption keys at hand, by id."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from strongroom.crypto.aead import KEY_BYTES, Cipher
from strongroom.errors import EncryptionKeyError

MAKE_A_KEY = "make one with: strongroom server generate-key"


class UnknownKey(Exception):
    """The keyring has no key of this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id


def key_id(key: bytes) -> str:
    """The public name of a key: 16 hexadecimal digits that follow from it, but do not lead back to it."""
    return hmac.digest(key, b"strongroom key id", hashlib.sha256).hex()[:16]


class Keyring:
    """Keys by id, of which one is active: it seals, the others only open. Immutable, and it never shows a key."""

    def __init__(self, keys: Iterable[bytes], active_id: str) -> None:
        self._keys = {key_id(key): Cipher(key) for key in keys}
        self.active_id = active_id

    def key(self, key_id: str) -> Cipher:
        """The key of this id, or `UnknownKey`."""
        try:
            return self._keys[key_id]
        except KeyError:
            raise UnknownKey(key_id) from None

    def __repr__(self) -> str:
        return f"Keyring({sorted(self._keys)}, active_id={self.active_id!r})"


def parse_keys(text: str, origin: str) -> list[bytes]:
    """The keys in a text, separated by commas or white space: the first one seals, the rest are former ones.

    Each is 32 bytes in base64, standard or URL-safe. `origin` says in errors where the text came from.
    """
    keys = []
    for word in text.replace("\ufeff", " ").replace(",", " ").split():
        try:
            key = base64.b64decode(word.replace("-", "+").replace("_", "/") + "=" * (-len(word) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise EncryptionKeyError(f"the encryption key in {origin} is not base64", hint=MAKE_A_KEY) from None
        if len(key) != KEY_BYTES:
            raise EncryptionKeyError(f"the encryption key in {origin} has {len(key)} bytes instead of {KEY_BYTES}", hint=MAKE_A_KEY)
        if key not in keys:
            keys.append(key)
    if not keys:
        raise EncryptionKeyError(f"there is no encryption key in {origin}", hint=MAKE_A_KEY)
    return keys


def format_keys(keys: Iterable[bytes]) -> str:
    """The text that `parse_keys` reads, a key a line."""
    return "".join(base64.b64encode(key).decode() + "\n" for key in keys)
