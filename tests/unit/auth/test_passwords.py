"""Passwords are stored so that they cannot be read, and compared so that nothing is told."""

from __future__ import annotations

import pytest

from strongroom.auth.passwords import fits, hash_password, is_outdated
from strongroom.auth.tokens import TokenKind, digest, new_token
from tests.canary import CANARY, holds_canary


def test_a_hash_is_argon2id_with_a_salt() -> None:
    """Two hashes of one password differ, both fit, and neither shows it."""
    one, two = hash_password(f"{CANARY}-p"), hash_password(f"{CANARY}-p")
    assert one.startswith("$argon2id$")
    assert one != two
    assert fits(one, f"{CANARY}-p")
    assert fits(two, f"{CANARY}-p")
    assert not holds_canary(one)
    assert not is_outdated(one)


@pytest.mark.parametrize("hashed", [None, "", "garbage", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$"])
def test_what_is_no_hash_fits_nothing(hashed: str | None) -> None:
    """Without a stored password, or with a damaged one, no password fits; not even the one of the decoy."""
    for password in ("", f"{CANARY}-p", "nobody has this password"):
        assert not fits(hashed, password)


def test_another_password_does_not_fit() -> None:
    """Also not one that differs in its last character, or in case."""
    hashed = hash_password(f"{CANARY}-p")
    for other in (f"{CANARY}-q", f"{CANARY}-P", f"{CANARY}-p ", ""):
        assert not fits(hashed, other)


@pytest.mark.parametrize("kind", TokenKind)
def test_tokens_are_long_and_random(kind: TokenKind) -> None:
    """256 bits behind a prefix that says what it is; the digest does not hold it."""
    tokens = {new_token(kind) for _ in range(100)}
    assert len(tokens) == 100
    assert len({token[:4] for token in tokens}) == 1
    assert all(len(token) == 47 and digest(token) != token.encode() and len(digest(token)) == 32 for token in tokens)
