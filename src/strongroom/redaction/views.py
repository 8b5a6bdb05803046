"""Decoded views of a text: what it says without escape sequences of terminals, JSON, Python, URLs, HTML and line breaks in base64.

A view knows where each of its characters stands in the text, so that what is found in a view can be masked in the text.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

_DEPTH = 2
"""How many encodings around each other are undone, such as JSON in JSON; terminal sequences and line breaks do not count."""

_MANY = 32
"""Up to so many decoded characters it is faster to look only around them."""

WRAPPED = 8
"""A line break is taken for one within base64 if at least so many characters of base64 stand before it."""

_CODED = re.compile(r"[A-Za-z0-9+/_-]+")
_ONE = {"a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0"}


@dataclass(slots=True)
class View:
    """A text, decoded from another view (`source`), or the text itself. Not thread-safe while it is being made.

    `open_at` is where the beginning of an encoded character stands that is not complete; None if there is none. `is_wrapped` says
    that line breaks were taken out of base64.
    """

    text: str
    source: View | None = None
    starts: list[int] = field(default_factory=list)
    """Where parts of this text start: parts that are in the source as they are here, and decoded characters."""
    origins: list[tuple[int, int]] = field(default_factory=list)
    """For each part, where it starts in the source, and for a decoded character where that ends; else -1."""
    open_at: int | None = None
    is_wrapped: bool = False
    decoded: str = ""
    """Its decoded characters."""
    absent: str = ""
    """Signs of encodings of which the source has no token."""

    ends_in_percent: bool = False
    """Whether what is not complete at `open_at` starts with a percent sign."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where the part of the view between two places, which is not empty, stands in the text itself."""
        if self.source is None:
            return start, end
        return self.source.span(self._origin(start)[0], self._origin(end - 1)[1])

    def joints(self, size: int) -> list[range] | None:
        """Where a text of at most that size starts if it has a decoded character in it, or ends with the view that is cut off.

        None where that is not known, or too much to tell.
        """
        if not self.starts or len(self.starts) > _MANY:
            return None
        found: list[range] = []
        ends = self.starts if self.open_at is None else [*self.starts, len(self.text)]
        upto = 0
        for place in ends:
            found.append(range(max(upto, place - size), place + 1))
            upto = place + 1
        return found

    def _origin(self, place: int) -> tuple[int, int]:
        if not self.starts:
            return place, place + 1
        part = bisect_right(self.starts, place) - 1
        begin, end = self.origins[part]
        if end >= 0:
            return begin, end
        begin += place - self.starts[part]
        return begin, begin + 1


@dataclass(frozen=True, slots=True)
class _Encoding:
    """An encoding: what all its tokens start with, the tokens, what they stand for, and how one looks that is cut off."""

    sign: str
    token: re.Pattern[str]
    decode: Callable[[str], str]
    begun: re.Pattern[str]
    width: int = 0
    """The length of a token for one byte, where several in a row are decoded at once."""


def views_of(text: str, *, spaces: bool) -> Iterator[View]:
    """The text itself, then each other view that differs from it; with `spaces` also those in which `+` stands for a space.

    The time grows linearly with the text. Most texts have no other view, and that is found out at once.
    """
    shown = View(text)
    yield shown
    if "\x1b" in text and (found := _decoded(shown, _TERMINAL)) is not None:
        yield found
        shown = found
    signs = [encoding.sign for encoding in _ENCODINGS if encoding.sign in text]
    level = [shown]
    for depth in range(_DEPTH + 1):
        for view in level:
            if "\n" in view.text and (wrapped := _unwrapped(view)) is not None:
                yield wrapped
        if depth == _DEPTH or not (signs or (spaces and "+" in text)):
            return
        level = [found for view in level for found in _decodings(view, spaces=spaces)]
        yield from level


def complete_sequence(text: str) -> int:
    """Where the terminal sequence starts with which the text ends; its length if it ends with none."""
    last = text.rfind("\x1b")
    found = _TERMINAL.token.match(text, last) if last >= 0 else None
    return last if found is not None and found.end() == len(text) else len(text)


def _decodings(view: View, *, spaces: bool) -> Iterator[View]:
    text, absent = view.text, view.absent
    for encoding in _ENCODINGS:
        if encoding.sign not in text or (encoding.sign in absent and encoding.sign not in view.decoded):
            continue
        if (found := _decoded(view, encoding)) is None:
            absent += encoding.sign
            continue
        found.absent = absent
        yield found
    if spaces and "+" in text:
        spaced = View(text.replace("+", " "), view, open_at=view.open_at, ends_in_percent=view.ends_in_percent)
        found = _decoded(spaced, _URL) if "%" in text else None
        yield spaced if found is None else found
    if "\\x" in text and (found := _decoded(view, _BYTES)) is not None:
        yield found


def _decoded(view: View, encoding: _Encoding) -> View | None:
    """The view with the tokens decoded; None if there are none, and none has begun at the end."""
    text = view.text
    end = _complete(text, encoding)
    token = _next(text, encoding, 0, end)
    if token is None and end == len(text):
        return None
    found = View("", view)
    parts: list[str] = []
    place = length = 0
    while token is not None:
        start, stop = token.span()
        _add(found, parts, text[place:start], length, (place, -1))
        length += start - place
        decoded = encoding.decode(token[0])
        for character in decoded:
            if encoding.width and stop - start > encoding.width and len(decoded) > 1:
                size = 1 if len(decoded) * encoding.width >= token.end() - token.start() else _size(character)
                upto = min(start + size * encoding.width, stop)
            else:
                upto = stop
            _add(found, parts, character, length, (start, upto))
            length, start = length + 1, upto
        place = stop
        token = _next(text, encoding, place, end)
    _add(found, parts, text[place:end], length, (place, -1))
    found.text = "".join(parts)
    if len(found.starts) <= _MANY:
        found.decoded = "".join(found.text[start] for start, (_, end) in zip(found.starts, found.origins, strict=True) if end >= 0)
    else:
        found.decoded = found.text
    found.open_at = view.span(end, end + 1)[0] if end < len(text) else view.open_at
    found.ends_in_percent = encoding is _URL if end < len(text) else view.ends_in_percent
    return found


def _next(text: str, encoding: _Encoding, start: int, end: int) -> re.Match[str] | None:
    """The first token from there on. Faster than a search by the pattern."""
    place = text.find(encoding.sign, start, end)
    while place >= 0:
        if (token := encoding.token.match(text, place, end)) is not None:
            return token
        place = text.find(encoding.sign, place + 1, end)
    return None


def _add(view: View, parts: list[str], part: str, start: int, origin: tuple[int, int]) -> None:
    if part:
        parts.append(part)
        view.starts.append(start)
        view.origins.append(origin)


def _size(character: str) -> int:
    return 1 if "\udc80" <= character <= "\udcff" else len(character.encode(errors="surrogatepass"))


def _complete(text: str, encoding: _Encoding) -> int:
    """Up to where the text has no token that is cut off."""
    last = text.rfind(encoding.sign)
    if last < len(text) - _LONGEST:
        return len(text)
    if encoding is _TERMINAL:
        return last if encoding.begun.match(text, last) else len(text)
    cut = encoding.begun.search(text, max(0, len(text) - _TAIL))
    while cut is not None and encoding.sign == "\\" and _is_escaped(text, cut.start()):
        cut = encoding.begun.search(text, cut.start() + 1)
    return len(text) if cut is None else cut.start()


def _is_escaped(text: str, place: int) -> bool:
    first = place
    while first > 0 and text[first - 1] == "\\":
        first -= 1
    return (place - first) % 2 == 1


def _unwrapped(view: View) -> View | None:
    """The view without line breaks within base64; None if there are none."""
    text, place = view.text, view.text.find("\n")
    found = View("", view, open_at=view.open_at, is_wrapped=True, ends_in_percent=view.ends_in_percent)
    parts: list[str] = []
    done = length = 0
    while place >= 0:
        start, stop = place, place + 1
        while start > done and text[start - 1] in " \t\r":
            start -= 1
        while stop < len(text) and text[stop] in " \t":
            stop += 1
        goes_on = stop == len(text) or _CODED.match(text, stop) is not None
        if goes_on and start - WRAPPED >= 0 and _CODED.fullmatch(text, start - WRAPPED, start):
            _add(found, parts, text[done:start], length, (done, -1))
            length, done = length + start - done, stop
        place = text.find("\n", stop)
    if not parts:
        return None
    _add(found, parts, text[done:], length, (done, -1))
    found.text = "".join(parts)
    return found


def _unescape(token: str) -> str:
    kind = token[1]
    if kind == "x":
        return bytes.fromhex(token.replace("\\x", "")).decode("latin-1")
    if len(token) == 12:
        return chr(0x10000 + ((int(token[2:6], 16) - 0xD800) << 10) + int(token[8:], 16) - 0xDC00)
    if kind in "uU":
        return chr(int(token[2:], 16))
    if len(token) == 4:
        return chr(int(token[1:], 8))
    return _ONE.get(kind, kind)


def _unescape_bytes(token: str) -> str:
    if token[1] == "x":
        return bytes.fromhex(token.replace("\\x", "")).decode(errors="surrogateescape")
    return _unescape(token)


def _unquote(token: str) -> str:
    return bytes.fromhex(token.replace("%", "")).decode(errors="surrogateescape")


@lru_cache(256)
def _unescape_entity(token: str) -> str:
    decoded = html.unescape(token)
    return decoded if len(decoded) == 1 else token


_LONGEST, _TAIL = 2100, 20
"""How long a token of a terminal may be, and any other one that is cut off."""

_HEX = "[0-9a-fA-F]"
_ESCAPE = (
    rf"(?:\\x{_HEX}{{2}})+|\\u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|\\u{_HEX}{{4}}|\\U00(?:0{_HEX}|10){_HEX}{{4}}"
    r"|\\[0-7]{3}|\\[\\/\"'`abefnrtv0$ ]"
)
_ESCAPE_BEGUN = rf"\\(?:x{_HEX}?|u{_HEX}{{0,3}}|u[dD][89abAB]{_HEX}{{2}}(?:\\(?:u{_HEX}{{0,3}})?)?|U{_HEX}{{0,7}})?\Z"


def _bytes_begun(lead: str) -> str:
    """Escaped bytes of UTF-8 that are cut off; `lead` is in front of the digits of each."""
    more = f"{lead}[89abAB]{_HEX}"
    cut = f"(?:{lead}[cdCD]{_HEX}|{lead}[eE]{_HEX}(?:{more})?|{lead}[fF]{_HEX}(?:{more}){{0,2}})"
    partial = "|".join([f"{lead}{_HEX}?", *(["\\\\"] if lead.startswith("\\") else [])])
    return rf"{cut}(?:{partial})?\Z"


_TERMINAL = _Encoding(
    "\x1b",
    re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,2048}(?:\x07|\x1b\\)|[ -/]{1,8}[0-~]|[0-Z\\^-~])"),
    lambda _: "",
    re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}|\][^\x07\x1b]{0,2048}|[ -/]{0,8})\Z"),
)
_TEXT = _Encoding("\\", re.compile(_ESCAPE), _unescape, re.compile(_ESCAPE_BEGUN), 4)
_BYTES = _Encoding("\\", re.compile(_ESCAPE), _unescape_bytes, re.compile(f"{_bytes_begun(chr(92) * 2 + 'x')}|{_ESCAPE_BEGUN}"), 4)
_URL = _Encoding("%", re.compile(f"(?:%{_HEX}{{2}})+"), _unquote, re.compile(f"{_bytes_begun('%')}|%{_HEX}?\\Z"), 3)
_HTML = _Encoding(
    "&",
    re.compile(r"&(?:#[0-9]{1,6}|#[xX][0-9a-fA-F]{1,5}|[a-zA-Z][a-zA-Z0-9]{1,7});"),
    _unescape_entity,
    re.compile(r"&(?:#[xX]?[0-9a-fA-F]{0,6}|[a-zA-Z][a-zA-Z0-9]{0,7})?\Z"),
)
_ENCODINGS = (_URL, _HTML, _TEXT)
