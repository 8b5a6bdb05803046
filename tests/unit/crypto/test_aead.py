"""Authenticated encryption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.aead import KEY_BYTES, Cipher, DecryptionFailed, new_key

KEY = new_key()
CIPHER = Cipher(KEY)


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_was_sealed_opens(plaintext: bytes, associated: bytes) -> None:
    """Any bytes come back under the same key and associated data."""
    assert CIPHER.unseal(CIPHER.seal(plaintext, associated), associated) == plaintext


@given(st.binary(min_size=1, max_size=60), st.data())
def test_a_changed_bit_does_not_open(plaintext: bytes, data: st.DataObject) -> None:
    """One flipped bit anywhere is noticed."""
    sealed = bytearray(CIPHER.seal(plaintext, b"place"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecryptionFailed):
        CIPHER.unseal(bytes(sealed), b"place")


@pytest.mark.parametrize("length", range(28))
def test_a_cut_text_does_not_open(length: int) -> None:
    """Less than nonce and tag is refused like any other damage."""
    with pytest.raises(DecryptionFailed):
        CIPHER.unseal(CIPHER.seal(b"", b"")[:length], b"")


def test_elsewhere_it_does_not_open() -> None:
    """Neither another key nor other associated data opens it; the error tells nothing."""
    sealed = CIPHER.seal(b"text", b"here")
    for key, associated in ((new_key(), b"here"), (KEY, b"there")):
        with pytest.raises(DecryptionFailed) as caught:
            Cipher(key).unseal(sealed, associated)
        assert str(caught.value) == ""


def test_equal_texts_do_not_look_equal() -> None:
    """Nonces are fresh: sealing the same thing again gives different bytes."""
    assert len({CIPHER.seal(b"text", b"here") for _ in range(1000)}) == 1000
    assert len({CIPHER.seal(b"text", b"here")[:12] for _ in range(1000)}) == 1000


def test_keys_are_random() -> None:
    """Keys have 32 bytes and differ."""
    assert {len(new_key()) for _ in range(10)} == {KEY_BYTES}
    assert len({new_key() for _ in range(10)}) == 10
