"""Which text gives a value away, and masking it."""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import quote, quote_plus

from strongroom import forking
from strongroom.redaction.secret_text import MASK, SecretText

SHORTEST = 4
"""Values, and lines of values, with fewer characters than this (white space around them not counted) are not masked."""

_WHITE = " \t\r\n\v\f"

_FEW = 80
"""Up to so many different beginnings, searching each with `str.find` is faster than looking at each position; measured."""

T = TypeVar("T")
Span = tuple[int, int]


class Finder(Protocol):
    """Finds values in text."""

    @property
    def version(self) -> object:
        """Another one whenever other values are looked for than before."""

    def places(self, text: str, since: int = 0, begun: Iterable[int] = ()) -> tuple[list[Span], list[int]]:
        """Where values are (start and end, in any order, possibly overlapping), and each place from which on the rest of the text
        could be the beginning of a value. Only values that start at `begun` places or not before `since` are looked for."""


class Masking(ABC):
    """What can be done with a `Finder`, for those that are one."""

    @abstractmethod
    def places(self, text: str, since: int = 0, begun: Iterable[int] = ()) -> tuple[list[Span], list[int]]:
        """As in `Finder`."""

    def redact(self, text: str) -> str:
        """The text with one mask in place of each value, or of values that overlap."""
        found, _ = self.places(text)
        if not found:
            return text
        parts: list[str] = []
        position = 0
        for start, end in merged(found):
            parts += (text[position:start], MASK)
            position = end
        return "".join((*parts, text[position:]))

    def redact_bytes(self, data: bytes) -> bytes:
        """The same for UTF-8; bytes that are not UTF-8 pass unharmed."""
        return self.redact(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")

    def redact_nested(self, value: T) -> T:
        """The same for all strings and bytes in dicts, lists, tuples and sets. Gives the same object if there is nothing to mask.

        What is rebuilt becomes a plain dict, list, tuple or set; a container that holds itself becomes the text `...` within itself.
        """
        changed: T = self._nested(value, ())
        return changed

    def _nested(self, value: Any, around: tuple[int, ...]) -> Any:
        if isinstance(value, str):
            redacted = self.redact(value)
            return value if redacted == value else redacted
        if isinstance(value, bytes | bytearray):
            changed = self.redact_bytes(bytes(value))
            return value if changed == value else changed
        if not isinstance(value, dict | list | tuple | set | frozenset):
            return value
        if id(value) in around:
            return "..."
        around = (*around, id(value))
        if isinstance(value, dict):
            before = list(value.items())
            pairs = [(self._nested(key, around), self._nested(item, around)) for key, item in before]
            same = all(new[0] is old[0] and new[1] is old[1] for new, old in zip(pairs, before, strict=True))
            return value if same else dict(pairs)
        members = list(value)
        items = [self._nested(item, around) for item in members]
        if all(new is old for new, old in zip(items, members, strict=True)):
            return value
        return next(kind for kind in (list, tuple, set, frozenset) if isinstance(value, kind))(items)


class Redactor(Masking):
    """Masks the values that were added to it, in all forms in which programs commonly show them. Thread-safe.

    Found are: the text itself; escaped as in JSON and in Python's `repr` of text and of bytes; escaped for HTML and XML; quoted
    for URLs; base64 of both alphabets, also when it stands in the middle of something longer; hexadecimal; and each line of a value
    on its own. Not found are parts of a line, other encodings, base64 broken into lines, and what was encoded twice.

    White space around a value stays visible. In the middle of longer base64, up to four bits of a value remain on each side.
    A value that is added is masked from then on and cannot be removed.
    """

    def __init__(self) -> None:
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._values: set[str] = set()
        self._forms: dict[str, tuple[str, ...]] = {}
        """By their first characters; the longest form first."""
        self._beginnings: set[str] = set()
        """The beginnings of forms that are shorter than the keys of `_forms`."""

    def add(self, value: str | SecretText) -> None:
        """Masks this value from now on. Shorter ones than `SHORTEST` are left alone: they would mask half of every text."""
        text = (value.reveal() if isinstance(value, SecretText) else value).strip(_WHITE)
        if len(text) < SHORTEST or text.isspace() or text in self._values:
            return
        forms = set(_forms(text))
        with self._lock:
            for form in forms:
                self._beginnings.update(form[:length] for length in range(1, SHORTEST))
                same = self._forms.get(form[:SHORTEST], ())
                if form not in same:
                    # A new tuple: others may be walking through the old one.
                    self._forms[form[:SHORTEST]] = tuple(sorted((*same, form), key=len, reverse=True))
            self._values.add(text)

    @property
    def version(self) -> int:
        """As in `Finder`."""
        return len(self._values)

    def places(self, text: str, since: int = 0, begun: Iterable[int] = ()) -> tuple[list[Span], list[int]]:
        """As in `Finder`. The time it takes grows with the text and hardly with the number of values."""
        found: list[Span] = []
        length = len(text)
        open_ends = [length - size for size in range(1, min(SHORTEST, length + 1)) if text[length - size :] in self._beginnings]
        for start in chain(begun, self._starts(text, since)):
            for form in self._forms.get(text[start : start + SHORTEST], ()):
                if len(form) > length - start:
                    if form.startswith(text[start:]) and open_ends[-1:] != [start]:
                        open_ends.append(start)
                elif text.startswith(form, start):
                    found.append((start, start + len(form)))
                    break
        return found, open_ends

    def _starts(self, text: str, since: int) -> Iterator[int]:
        forms = self._forms
        if len(forms) > _FEW:
            for start in range(since, len(text) - SHORTEST + 1):
                if text[start : start + SHORTEST] in forms:
                    yield start
            return
        for beginning in tuple(forms):
            start = text.find(beginning, since)
            while start >= 0:
                yield start
                start = text.find(beginning, start + 1)

    def renew_locks(self) -> None:
        """For a child process after a fork: the lock may belong to a thread that is not there."""
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Redactor is not pickled: it holds values")


class Redactors(Masking):
    """Several redactors as one. Which ones changes over time. Thread-safe."""

    def __init__(self) -> None:
        self._lock = forking.renewed(self, "_lock", threading.Lock)
        self._members: tuple[Redactor, ...] = ()

    def join(self, redactor: Redactor) -> None:
        """One more. The same one may join several times."""
        with self._lock:
            self._members = (*self._members, redactor)

    def leave(self, redactor: Redactor) -> None:
        """Undoes one `join`."""
        with self._lock:
            index = next(index for index, member in enumerate(self._members) if member is redactor)
            self._members = self._members[:index] + self._members[index + 1 :]

    def add(self, value: str | SecretText) -> None:
        """To each that is in now; see `Redactor`."""
        for member in dict.fromkeys(self._members):
            member.add(value)

    def renew_locks(self) -> None:
        """As in `Redactor`, and those of the members."""
        self._lock = threading.Lock()
        for member in self._members:
            member.renew_locks()

    def __len__(self) -> int:
        return len(self._members)

    @property
    def version(self) -> tuple[tuple[Redactor, ...], int]:
        """As in `Finder`."""
        members = self._members
        return members, sum(member.version for member in members)

    def places(self, text: str, since: int = 0, begun: Iterable[int] = ()) -> tuple[list[Span], list[int]]:
        """As in `Finder`."""
        found: list[Span] = []
        open_ends: set[int] = set()
        for member in dict.fromkeys(self._members):
            places, ends = member.places(text, since, begun)
            found += places
            open_ends.update(ends)
        return found, list(open_ends)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, overlapping ones made one. Those that only touch stay two."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _forms(value: str) -> Iterator[str]:
    """All texts that give the value away; each has at least `SHORTEST` characters."""
    unix = value.replace("\r\n", "\n")
    endings = {value, unix, unix.replace("\n", "\r\n")}
    lines = {line.strip(_WHITE) for line in unix.replace("\r", "\n").split("\n")}
    for text in endings | {line for line in lines if len(line) >= SHORTEST and not line.isspace()}:
        yield from _escaped(text)
    for text in endings:
        yield from _quoted(text)
        data = _encoded(text)
        yield from (data.hex(), data.hex().upper())
        yield from _base64(data)


def _escaped(text: str) -> Iterator[str]:
    yield text
    yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
    # A quotation mark in front makes `repr` choose the other one and escape that; in its other style it leaves both as they are.
    yield from (repr(f'"{text}')[2:-1], ascii(f'"{text}')[2:-1], repr(b'"' + _encoded(text))[3:-1])
    for show in (repr, ascii):
        yield "'".join(show(f'"{part}')[2:-1] for part in text.split("'"))
    yield b"'".join(repr(b'"' + part)[3:-1].encode() for part in _encoded(text).split(b"'")).decode()
    xml = html.escape(text, quote=False)
    yield from (xml, xml.replace('"', "&quot;"), html.escape(text), html.escape(text).replace("&#x27;", "&apos;"))
    yield html.escape(text).replace("&#x27;", "&#39;")
    yield html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _quoted(text: str) -> Iterator[str]:
    data = _encoded(text)
    # The last three: SQLAlchemy's in database URLs, the reserved characters of RFC 3986, and what requests leaves as it is.
    safe = ("", "/", " +", "!$&'()*+,;=:@/?", "!#$%&'()*+,/:;=?@[]~")
    for form in (*(quote(data, safe=spared) for spared in safe), quote_plus(data)):
        yield form
        yield re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), form)


def _base64(data: bytes) -> Iterator[str]:
    """At each alignment: what is there if more follows, and what is there at the end, with and without padding."""
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + data).decode()
        begin = (shift * 8 + 5) // 6
        for form in (coded[begin : (shift + len(data)) * 8 // 6], coded[begin:].rstrip("="), coded[begin:]):
            yield form
            yield form.replace("+", "-").replace("/", "_")


def _encoded(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
