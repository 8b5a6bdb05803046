"""Authenticated encryption: AES-256-GCM with random 96-bit nonces (NIST SP 800-38D)."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class DecryptionFailed(Exception):
    """Wrong key, wrong associated data, or changed bytes: nobody can tell which."""


def new_key() -> bytes:
    """32 fresh random bytes."""
    return os.urandom(KEY_BYTES)


class Cipher:
    """A key that is ready to seal and to open, which takes longer than to open a short text. Thread-safe; never shows itself."""

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Nonce, ciphertext and tag in one. One key seals at most 2**32 texts."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plaintext, associated)

    def unseal(self, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext, or `DecryptionFailed`."""
        if len(sealed) < _NONCE_BYTES + 16:
            raise DecryptionFailed
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], associated)
        except InvalidTag:
            raise DecryptionFailed from None
