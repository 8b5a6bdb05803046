"""What a stream holds back, and how much of it can go."""

from __future__ import annotations

from typing import NamedTuple

from strongroom.redaction.redactor import Span
from strongroom.redaction.secret_text import MASK


class Held(NamedTuple):
    """Text that was written and not passed on yet, because it could be the beginning of a value."""

    text: str = ""
    spans: tuple[Span, ...] = ()
    """Values that were found in it. One that starts before the text has its mask written."""
    runs: tuple[tuple[int, bool], ...] = ()
    """How many characters in a row came as text (False) or as bytes (True)."""
    open_ends: tuple[int, ...] = ()
    """Where a value may have begun of which the rest is still to come; the last few characters are not told."""
    version: object = None
    """What was looked for in it. If that is what is looked for next time, the text is not searched again."""
    before: str = ""
    """The last two characters that were passed on, as they were written."""


class Piece(NamedTuple):
    """Text to be passed on, as text or as bytes, and up to where that does away with what is held."""

    text: str
    binary: bool
    upto: int


def cut(text: str, spans: list[Span], runs: tuple[tuple[int, bool], ...], safe: int) -> list[Piece]:
    """What is to be passed on of the text before `safe`, in as few pieces as text and bytes allow."""
    pieces: list[Piece] = []

    def add(part: str, binary: bool, upto: int) -> None:
        if pieces and pieces[-1].binary == binary:
            part = pieces.pop().text + part
        pieces.append(Piece(part, binary, upto))

    def plain(start: int, end: int) -> None:
        begin = 0
        for length, binary in runs:
            if max(start, begin) < min(end, begin + length):
                add(text[max(start, begin) : min(end, begin + length)], binary, min(end, begin + length))
            begin += length

    def mask(start: int, upto: int) -> None:
        begin = 0
        for length, binary in runs:
            if begin <= start < begin + length:
                add(MASK, binary, upto)
            begin += length

    position = 0
    for start, end in spans:
        if start >= safe:
            break
        if start >= 0:
            plain(position, start)
            mask(start, min(end, safe))
        position = min(end, safe)
    plain(position, safe)
    return pieces


def after(held: Held, done: int) -> Held:
    """What is left when everything before `done` was passed on."""
    before = (held.before + held.text[:done])[-2:]
    if done >= len(held.text):
        return Held(before=before)
    runs = []
    begin = 0
    for length, binary in held.runs:
        if begin + length > done:
            runs.append((begin + length - max(begin, done), binary))
        begin += length
    spans = tuple((start - done, end - done) for start, end in held.spans if end > done)
    open_ends = tuple(place - done for place in held.open_ends if place >= done)
    return Held(held.text[done:], spans, tuple(runs), open_ends, held.version, before)
