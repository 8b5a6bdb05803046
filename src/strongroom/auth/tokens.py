"""Tokens: 256 random bits with a prefix that says what they are, so that scanners of code find lost ones."""

from __future__ import annotations

import enum
import hashlib
import secrets


class TokenKind(enum.StrEnum):
    """What a token is for."""

    API_KEY = "api_key"
    RUN = "run"
    SESSION = "session"
    SETUP = "setup"


_PREFIXES = {TokenKind.API_KEY: "srk_", TokenKind.RUN: "srr_", TokenKind.SESSION: "srs_", TokenKind.SETUP: "sru_"}


def new_token(kind: TokenKind) -> str:
    """A fresh token."""
    return _PREFIXES[kind] + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is stored of a token. It has no salt: nobody guesses 256 random bits, and it is looked up by this."""
    return hashlib.sha256(token.encode(errors="replace")).digest()
