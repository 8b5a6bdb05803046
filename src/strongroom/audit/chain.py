"""The chain: each event's mark depends on all events before it. Pure functions over bytes.

A mark is HMAC-SHA256 under a key that the database does not have in clear, over the mark before it and the event. So whoever can
change the database alone can neither edit, remove, insert nor reorder an event unseen. The head, the number and mark of the last
event, has a mark of its own: without it the end could be cut off.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from strongroom.crypto import marks

START = bytes(32)
"""What stands before the first event."""


class Entry(msgspec.Struct, frozen=True):
    """An event as it is stored: its number, its facts as canonical JSON, its mark."""

    number: int
    facts: bytes
    mark: bytes


@dataclass(frozen=True)
class Break:
    """Where the chain does not hold, and how."""

    number: int
    reason: str


def audit_key(digest_key: bytes) -> bytes:
    """The key of the marks, derived from the deployment's own key."""
    return marks.mark(digest_key, b"strongroom audit")


def canonical(facts: object) -> bytes:
    """The facts of an event as bytes that are the same wherever they are worked out."""
    return msgspec.json.encode(facts, order="deterministic")


def mark_of(key: bytes, before: bytes, number: int, facts: bytes) -> bytes:
    """The mark of an event behind another one."""
    return marks.mark(key, b"event\0" + before + number.to_bytes(8, "big") + facts)


def head_mark(key: bytes, number: int, mark: bytes) -> bytes:
    """The mark of a head."""
    return marks.mark(key, b"head\0" + number.to_bytes(8, "big") + mark)


def base_mark(key: bytes, number: int, mark: bytes) -> bytes:
    """The mark of the last archived event, behind which the chain begins."""
    return marks.mark(key, b"base\0" + number.to_bytes(8, "big") + mark)


def extend(key: bytes, number: int, mark: bytes, facts: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of further events behind the one of this number and mark."""
    for item in facts:
        number += 1
        mark = mark_of(key, mark, number, item)
        yield Entry(number, item, mark)


class Verification:
    """Follows a chain from its beginning, entry by entry, and says where it does not hold."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.number, self.mark = 0, START
        self.breaks: list[Break] = []

    def begin(self, number: int, mark: bytes, base: bytes) -> None:
        """Begins behind the last archived event, before any entry is followed."""
        if number < 1 or not hmac.compare_digest(base, base_mark(self._key, number, mark)):
            self.breaks.append(Break(0, "the beginning of the chain was changed"))
        else:
            self.number, self.mark = number, mark

    def follow(self, entry: Entry) -> None:
        """Looks at the next entry. After a break it goes on with what is stored, so that each one is told once."""
        if entry.number != self.number + 1:
            missing = f"{self.number + 1} to {entry.number - 1}" if entry.number > self.number + 2 else str(self.number + 1)
            self.breaks.append(
                Break(entry.number, f"event {missing} is missing" if entry.number > self.number else "it stands out of order")
            )
        if not hmac.compare_digest(entry.mark, mark_of(self._key, self.mark, entry.number, entry.facts)):
            self.breaks.append(Break(entry.number, "it, or an event before it, was changed, removed or put elsewhere"))
        self.number, self.mark = entry.number, entry.mark

    def tell(self, number: int, reason: str) -> None:
        """Notes something else that is wrong at an event."""
        self.breaks.append(Break(number, reason))

    def end(self, number: int, mark: bytes, head: bytes) -> None:
        """Compares the end with the head that is stored."""
        if not hmac.compare_digest(head, head_mark(self._key, number, mark)):
            self.breaks.append(Break(number, "the end of the chain was changed"))
        elif (number, mark) != (self.number, self.mark):
            self.breaks.append(Break(self.number, f"the chain ends here, and {number} events were written"))
