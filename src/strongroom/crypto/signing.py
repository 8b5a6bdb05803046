"""Signatures (Ed25519, RFC 8032): anybody can verify them with the public key."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


def public_key(seed: bytes) -> bytes:
    """Returns the public key that belongs to a secret of 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def sign(seed: bytes, text: bytes) -> bytes:
    """Signs a text with a secret of 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(text)


def is_signed(key: bytes, text: bytes, signature: bytes) -> bool:
    """Returns whether the owner of this public key has signed the text."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True
