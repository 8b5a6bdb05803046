"""Where the chain ends, compared with what this process knows of it: from memory, and from the anchor outside the database."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.audit.anchor import Anchor, Damaged, Known
from strongroom.audit.chain import START, audit_key, head_mark
from strongroom.auth.actor import Actor
from strongroom.metadata import audit as index
from strongroom.metadata.audit import HeadRow
from strongroom.service.facts import Facts, facts_of_administration

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD, ANCHOR, COLLECT, ACKNOWLEDGE = "audit.head", "audit.anchor", "audit.collect", "audit.acknowledge"
ABSURD = 2**53
"""No chain gets to so many events."""

UNFINISHED = "unfinished"
"""The outcome of collecting a journal whose last entry broke off in a power cut, before the answer to it had left."""

TROUBLES = frozenset((HEAD, ANCHOR, COLLECT))
"""Operations of events that tell of damage to the trail."""


def trouble(operation: str, target: str, outcome: str, detail: str = "") -> Facts:
    """What is recorded of damage to the trail."""
    return facts_of_administration(operation, Actor.anonymous(), target, "", outcome, detail)


def is_trouble(facts: Facts) -> bool:
    """Whether an event tells of damage to the trail."""
    return facts.operation in TROUBLES and facts.outcome not in ("ok", UNFINISHED)


def begin_chain(connection: Connection, digest_key: bytes) -> None:
    """Makes the head of a new chain, with the deployment."""
    key = audit_key(digest_key)
    index.begin(connection, 0, START, head_mark(key, 0, START))


class Head:
    """Knows the newest event that this process has seen in the chain. Thread-safe.

    `of_file` tells whether the database is a file: then its anchor was made with the deployment, and must be there.
    """

    def __init__(self, key: bytes, anchor: Anchor, *, of_file: bool) -> None:
        self._key, self.anchor, self._of_file = key, anchor, of_file
        self._seen: Known | None = None
        self._loaded = False

    def known(self) -> Known | None:
        """Returns an event that must be in the chain; None if none is known. A file is read once."""
        if not self._loaded:
            with contextlib.suppress(OSError, Damaged):  # `what_the_anchor_lacks` says so
                self._remember(self.anchor.load())
            self._loaded = True
        return self._seen

    def what_the_anchor_lacks(self, number: int) -> str | None:
        """Returns `missing` or `broken` if the anchor is not what it must be when the chain ends at this number; None if it is."""
        try:
            found = self.anchor.load()
        except Damaged:
            return "broken"
        except OSError:
            return None
        if found is None:
            return "missing" if self._of_file and number > 0 else None
        self._remember(found)
        return None

    def saw(self, number: int, mark: bytes) -> None:
        """Remembers a committed head whose mark was verified."""
        self._remember(Known(number, mark))

    def save(self, *, durable: bool = False) -> None:
        """Writes the newest event that was seen to the anchor, unless it holds a newer one. `OSError`."""
        if self._seen is None:
            return
        with contextlib.suppress(Damaged):
            found = self.anchor.load()
            if found is not None and found.number >= self._seen.number and not durable:
                return
            if found is not None and found.number > self._seen.number:
                return
        self.anchor.save(self._seen, durable=durable)

    def is_genuine(self, number: int, mark: bytes, head: bytes) -> bool:
        """Whether a row of the head was written by this deployment."""
        return hmac.compare_digest(head, head_mark(self._key, number, mark))

    def place(self, connection: Connection, row: HeadRow | None) -> tuple[int, bytes, Sequence[Facts]]:
        """Returns number and mark of the event behind which the next one goes, and what must be recorded first.

        If the head was removed, changed or set back, the next number is greater than that of any event that is stored or known of:
        the trail goes on, and what is missing shows as a gap.
        """
        known = self.known()
        if row is None:
            outcome, number, mark = "missing", 0, START
        elif not self.is_genuine(row.number, row.mark, row.head):
            outcome, number, mark = "broken", 0, START
        else:
            number, mark = row.number, row.mark
            if known is None or (number, mark) == (known.number, known.mark):
                outcome = "set_back" if row.last > number else ""
            else:
                outcome = "set_back" if row.last > number or known.number >= number else ""
        if not outcome:
            return number, mark, ()
        if row is None:
            index.begin(connection, 0, START, head_mark(self._key, 0, START))
        index.delete_events_from(connection, ABSURD)  # no event of ours has such a number, and the next one must fit the column
        stored = index.last_event(connection)
        if stored is not None and stored.number >= number:
            number, mark = stored.number, bytes(stored.mark)
        if known is not None and known.number > number:
            number, mark = known.number, known.mark
        return number, mark, [trouble(HEAD, "head", outcome, f"goes on behind event {number}")]

    def _remember(self, known: Known | None) -> None:
        if known is not None and (self._seen is None or known.number > self._seen.number):
            self._seen = known
