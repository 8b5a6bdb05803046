"""Credentials as they come out of variables, files, pipes and secrets: with line ends, blanks and byte order marks around them."""

from __future__ import annotations

_AROUND = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff\ufffe"
)


def strip_credential(text: str) -> str:
    """The text without line ends, blanks of all kinds and byte order marks around it. No service has credentials with them."""
    return text.strip(_AROUND)


def fits_header(text: str) -> bool:
    """Whether the text can stand in a header of a request: visible ASCII alone. Libraries show it in their errors where it cannot."""
    return text.isascii() and text.isprintable() and " " not in text


def is_unicode(text: str) -> bool:
    """Whether the text can be written in UTF-8. What Python reads of variables that are not has surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_one_line(text: str) -> bool:
    """Whether the text is free of line ends and other control characters, or is a document that has them: JSON, PEM."""
    return not any(ord(letter) < 32 or letter in "\x7f\x85\u2028\u2029" for letter in text) or text.startswith(("{", "-----BEGIN "))
