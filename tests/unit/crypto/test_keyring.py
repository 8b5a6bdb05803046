"""Keys by id, and their text form."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.crypto.aead import new_key
from strongroom.crypto.keyring import Keyring, UnknownKey, format_keys, key_id, parse_keys
from strongroom.errors import EncryptionKeyError
from tests.canary import CANARY, holds_canary

KEY, OTHER = new_key(), new_key()


def encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


def test_key_ids_are_stable_and_one_way() -> None:
    """An id follows from the key alone, and holds none of its bytes."""
    assert key_id(KEY) == key_id(bytes(KEY)) != key_id(OTHER)
    assert key_id(bytes(32)) == "c3a5f74fcf1adda3"
    assert len(key_id(KEY)) == 16
    assert key_id(KEY) not in KEY.hex()


def test_a_keyring_never_shows_a_key() -> None:
    """Its `repr` has ids only."""
    shown = repr(Keyring([KEY, OTHER], key_id(KEY)))
    assert key_id(KEY) in shown
    assert key_id(OTHER) in shown
    assert encode(KEY) not in shown
    assert KEY.hex() not in shown
    assert repr(KEY)[2:-1] not in shown


def test_an_unknown_key_is_named() -> None:
    """A look-up of an id that is not there names it."""
    with pytest.raises(UnknownKey, match="0123456789abcdef"):
        Keyring([KEY], key_id(KEY)).key("0123456789abcdef")


@pytest.mark.parametrize(
    "text",
    [
        encode(KEY),
        f" {encode(KEY)}\n",
        encode(KEY).rstrip("="),
        base64.urlsafe_b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        f"{encode(KEY)},{encode(KEY)}",
        f",{encode(KEY)},",
    ],
    ids=range(7),
)
def test_spellings_of_a_key(text: str) -> None:
    """Standard and URL-safe base64 are read, with and without padding, blanks and repetition."""
    assert parse_keys(text, "here") == [KEY]


@pytest.mark.parametrize("between", [",", ", ", "\n", "\t", " , \n"])
def test_several_keys_keep_their_order(between: str) -> None:
    """The first key stays the first."""
    assert parse_keys(f"{encode(KEY)}{between}{encode(OTHER)}", "here") == [KEY, OTHER]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4, unique=True))
def test_keys_that_were_written_are_read(keys: list[bytes]) -> None:
    """The text form is lossless."""
    assert parse_keys(format_keys(keys), "here") == keys


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there is no encryption key in here"),
        (" \n, ", "there is no encryption key in here"),
        (encode(bytes(31)), "has 31 bytes instead of 32"),
        (encode(bytes(33)), "has 33 bytes instead of 32"),
        (f"{encode(bytes(32))},{encode(bytes(16))}", "has 16 bytes instead of 32"),
        (f"{CANARY}!", "is not base64"),
        ("ä" * 44, "is not base64"),
        (bytes(32).hex(), "has 48 bytes instead of 32"),
        ("=", "is not base64"),
        ("A", "is not base64"),
    ],
    ids=range(10),
)
def test_malformed_keys_are_refused_without_being_shown(text: str, reason: str) -> None:
    """A malformed key is one clear error that names where it came from, not the key."""
    with pytest.raises(EncryptionKeyError) as caught:
        parse_keys(text, "here")
    assert reason in str(caught.value)
    assert "in here" in str(caught.value)
    assert "generate-key" in (caught.value.hint or "")
    assert not holds_canary(str(caught.value))
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
