"""Archives: files with the oldest events of a trail, signed, which can be verified without the deployment that wrote them.

The first line tells the deployment, the public key and where the archive begins; then each event has a line with its number, its
facts and its mark; the last line has a SHA-256 over all lines before it, and a signature over that line's other fields. All are JSON.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from strongroom.audit.chain import Entry
from strongroom.crypto import marks, signing

FORMAT = "strongroom-audit-archive-1"


class Header(msgspec.Struct, frozen=True):
    """The first line. `begins` is the number of the event before the first one, and `mark` that event's mark."""

    format: str
    deployment: str
    key: str
    begins: int
    mark: str


class Line(msgspec.Struct, frozen=True):
    """An event."""

    number: int
    facts: str
    mark: str


class Footer(msgspec.Struct, frozen=True):
    """The last line."""

    events: int
    ends: int
    mark: str
    sha256: str
    signature: str


@dataclass(frozen=True)
class Summary:
    """What an archive holds. `ends` and `mark` are number and mark of its last event, `key` the public key in hexadecimal."""

    deployment: str
    events: int
    begins: int
    ends: int
    mark: str
    key: str
    sha256: str


class NotAnArchive(Exception):
    """The file is no archive, or was changed; the text says how."""


def archive_key(audit_key: bytes) -> bytes:
    """Returns the public key of the archives of a deployment."""
    return signing.public_key(_seed(audit_key))


def write(path: Path, audit_key: bytes, deployment: str, begins: int, mark: bytes, entries: Iterable[Entry]) -> Summary:
    """Writes a new file, durably, for its user alone. `FileExistsError`, `OSError`; then no file is left."""
    key = archive_key(audit_key).hex()
    digest, events, last = hashlib.sha256(), 0, begins
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:

            def put(line: msgspec.Struct) -> None:
                data = msgspec.json.encode(line) + b"\n"
                digest.update(data)
                stream.write(data)

            put(Header(FORMAT, deployment, key, begins, mark.hex()))
            for entry in entries:
                put(Line(entry.number, entry.facts.decode("utf-8", "backslashreplace"), entry.mark.hex()))
                events, last, mark = events + 1, entry.number, entry.mark
            footer = Footer(events, last, mark.hex(), digest.hexdigest(), "")
            signature = signing.sign(_seed(audit_key), _signed(footer)).hex()
            stream.write(msgspec.json.encode(msgspec.structs.replace(footer, signature=signature)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Summary(deployment, events, begins, last, mark.hex(), key, footer.sha256)


def verify(path: Path) -> Summary:
    """Returns what an archive holds whose signature fits its content. `NotAnArchive`, `OSError`.

    The caller must compare the key with one that it trusts: anybody can sign with a key of their own.
    """
    digest = hashlib.sha256()
    header: Header | None = None
    events, last, mark, held = 0, 0, "", b""
    with path.open("rb") as stream:
        for data in stream:
            if not held:
                held = data
                continue
            digest.update(held)
            try:
                if header is None:
                    header = msgspec.json.decode(held, type=Header)
                    last, mark = header.begins, header.mark
                else:
                    line = msgspec.json.decode(held, type=Line)
                    if line.number <= last:
                        raise NotAnArchive(f"event {line.number} stands behind event {last}")
                    events, last, mark = events + 1, line.number, line.mark
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise NotAnArchive("a line of it is no event") from None
            held = data
    try:
        footer = msgspec.json.decode(held, type=Footer)
        fields = bytes.fromhex(header.key if header else ""), bytes.fromhex(footer.signature)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise NotAnArchive("its last line is missing: it was cut off") from None
    if header is None or header.format != FORMAT:
        raise NotAnArchive("its first line is missing, or of another format")
    if footer.sha256 != digest.hexdigest() or (footer.events, footer.ends, footer.mark) != (events, last, mark):
        raise NotAnArchive("it was changed")
    if not signing.is_signed(fields[0], _signed(footer), fields[1]):
        raise NotAnArchive("its signature does not fit")
    return Summary(header.deployment, events, header.begins, last, mark, header.key, footer.sha256)


def _seed(audit_key: bytes) -> bytes:
    return marks.mark(audit_key, b"archive")


def _signed(footer: Footer) -> bytes:
    return b"strongroom audit archive\0" + msgspec.json.encode(msgspec.structs.replace(footer, signature=""))
