"""Files of certificates (PEM), as people put them together: with comments in any language, and byte order marks."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import tempfile
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from functools import partial
from pathlib import Path

from strongroom.errors import ConfigurationError

_CERTIFICATE = re.compile(r"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE)-----[^-]*-----END \1-----", re.ASCII)
_MARKS = {BOM_UTF8: "utf-8", BOM_UTF16_LE: "utf-16", BOM_UTF16_BE: "utf-16"}


def extract_certificates(text: str) -> str:
    """The certificates in the text, one after the other, in ASCII. `ValueError` when there is none."""
    found = [each[0] for each in _CERTIFICATE.finditer(text)]
    if not found or not all(each.isascii() for each in found):
        raise ValueError("no certificates")
    return "\n".join(found) + "\n"


def read_certificates(path: Path | str) -> str:
    """The certificates in a file, as `extract_certificates` gives them. `OSError`, `ValueError`."""
    return extract_certificates(_decode(Path(path).read_bytes()))


def certificate_file(path: str | None) -> str | None:
    """A file that TLS libraries can load these certificates from: the file itself, or a copy where it has byte order marks.

    A copy is removed when the process ends. `ConfigurationError` when there is no such file, or nothing in it.
    """
    if path is None:
        return None
    try:
        data = Path(path).read_bytes()
        if BOM_UTF8 not in data and not data.startswith(tuple(_MARKS)):
            return path
        text = extract_certificates(_decode(data))
    except OSError:
        raise ConfigurationError(f"there is no file of certificates at {path}") from None
    except ValueError:
        raise ConfigurationError(f"there are no certificates in {path}", hint="it is a file with certificates in PEM") from None
    handle, copy = tempfile.mkstemp(prefix="strongroom-ca-", suffix=".pem")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
    atexit.register(partial(_remove, copy, os.getpid()))
    return copy


def _decode(data: bytes) -> str:
    encoding = next((each for mark, each in _MARKS.items() if data.startswith(mark)), "latin-1")  # the latter takes any bytes
    return data.decode(encoding, errors="replace")


def _remove(path: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child ends before its parent
        with contextlib.suppress(OSError):
            Path(path).unlink()
