"""Passwords: argon2id, with the parameters that RFC 9106 recommends for memory-constrained machines (argon2-cffi's default)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


@cache
def _decoy() -> str:
    return _hasher().hash("nobody has this password")


def hash_password(password: str) -> str:
    """The password as it is stored: salted, slow, with its parameters. Takes some 50 ms and 64 MiB on purpose."""
    return _hasher().hash(password)


def fits(hashed: str | None, password: str) -> bool:
    """Whether it is that password. Without one to compare with it takes as long: who can log in is not told by time."""
    from argon2.exceptions import InvalidHashError, VerificationError

    decoy = _decoy()  # made when it is first asked for, which must not be when the first unknown user comes
    try:
        return _hasher().verify(decoy if hashed is None else hashed, password) and hashed is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(hashed: str) -> bool:
    """Whether it was made with other parameters than are used now."""
    return _hasher().check_needs_rehash(hashed)
