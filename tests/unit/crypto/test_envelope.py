"""Envelope encryption."""

from __future__ import annotations

import pytest

from strongroom.crypto.aead import DecryptionFailed, new_key
from strongroom.crypto.envelope import rewrap, seal, unseal
from strongroom.crypto.keyring import Keyring, UnknownKey, key_id

OLD, NEW = new_key(), new_key()
OLD_ONLY = Keyring([OLD], key_id(OLD))
BOTH = Keyring([NEW, OLD], key_id(NEW))
NEW_ONLY = Keyring([NEW], key_id(NEW))


def test_what_was_sealed_opens_in_its_place_only() -> None:
    """An envelope opens in the place that it was made for, and in no other."""
    envelope = seal(OLD_ONLY, b"text", b"place")
    assert unseal(OLD_ONLY, envelope, b"place") == b"text"
    with pytest.raises(DecryptionFailed):
        unseal(OLD_ONLY, envelope, b"elsewhere")


def test_the_active_key_seals() -> None:
    """The envelope says which key wraps its data key, and it is the active one."""
    assert seal(BOTH, b"text", b"place").key_id == key_id(NEW)
    assert unseal(BOTH, seal(OLD_ONLY, b"text", b"place"), b"place") == b"text"


def test_a_missing_key_is_not_damage() -> None:
    """A key that is not at hand is told apart from a text that does not open, by its id."""
    with pytest.raises(UnknownKey) as caught:
        unseal(NEW_ONLY, seal(OLD_ONLY, b"text", b"place"), b"place")
    assert caught.value.key_id == key_id(OLD)


def test_parts_of_two_envelopes_do_not_mix() -> None:
    """A data key opens no other text, also in the same place; and a wrapped key holds under its own key id only."""
    one, two = seal(OLD_ONLY, b"one", b"place"), seal(OLD_ONLY, b"two", b"place")
    with pytest.raises(DecryptionFailed):
        unseal(OLD_ONLY, one._replace(sealed=two.sealed), b"place")
    with pytest.raises(DecryptionFailed):
        unseal(BOTH, one._replace(key_id=key_id(NEW)), b"place")


def test_rewrapping_leaves_the_text_alone() -> None:
    """A rotation rewrites the wrapped key; the sealed text opens with the new key alone, in its place alone."""
    envelope = seal(OLD_ONLY, b"text", b"place")
    new_id, wrapped = rewrap(BOTH, envelope.key_id, envelope.wrapped_key, b"place")
    rewrapped = envelope._replace(key_id=new_id, wrapped_key=wrapped)
    assert unseal(NEW_ONLY, rewrapped, b"place") == b"text"
    with pytest.raises(DecryptionFailed):
        unseal(NEW_ONLY, rewrapped, b"elsewhere")
    with pytest.raises(DecryptionFailed):
        rewrap(BOTH, envelope.key_id, envelope.wrapped_key, b"elsewhere")


def test_each_text_has_a_data_key_of_its_own() -> None:
    """Sealing twice gives nothing in common."""
    one, two = seal(OLD_ONLY, b"text", b"place"), seal(OLD_ONLY, b"text", b"place")
    assert one.wrapped_key != two.wrapped_key
    assert one.sealed != two.sealed
