"""Compares current versions with what the audit trail says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from strongroom.db.clock import TOLERATED
from strongroom.metadata import outbox
from strongroom.metadata.version import current_versions
from strongroom.operations import secret as operations
from strongroom.service.facts import OK, Facts, decode_facts

if TYPE_CHECKING:
    from sqlalchemy import Connection

_CLOCK_MICROSECONDS = 2 * TOLERATED
"""The clocks of several servers, which follow that of the database, may be so far apart. Their events come into the chain in another
order than their changes: within this time any of them may be the last one."""

_POINTING = frozenset(each.name for each in (operations.CREATE, operations.UPDATE, operations.REPLACE, operations.ROLLBACK))
_MOST_WAITING = 100_000


class Pointers:
    """Follows which version of each secret became the current one. Memory grows with the number of secrets.

    The mark of a secret's row shows that strongroom wrote it. It does not show that it is not an older copy of the whole row: this
    does, as far as the events of the secret were not archived.
    """

    def __init__(self, *, of_one_writer: bool) -> None:
        """`of_one_writer` says that events are in the order of the changes."""
        self._apart = 0 if of_one_writer else _CLOCK_MICROSECONDS
        self._last: dict[str, list[tuple[int, int, int]]] = {}

    def follow(self, number: int, facts: Facts) -> None:
        """Takes the next event, whose number in the chain is given, or 0 for one that is not in it yet."""
        if facts.outcome != OK or facts.operation not in _POINTING or facts.version is None:
            return
        event = (facts.moment, number, facts.version)
        before = self._last.get(facts.target_id, []) if self._apart else []
        latest = max([facts.moment, *(moment for moment, _, _ in before)])
        self._last[facts.target_id] = [each for each in (*before, event) if each[0] >= latest - self._apart]

    def compare(self, connection: Connection) -> Iterator[tuple[int, str]]:
        """Yields an event and what is wrong for each secret whose current version is another one. To be called in the snapshot of
        the events.
        """
        for row in outbox.oldest(connection, _MOST_WAITING):
            self.follow(0, decode_facts(row.facts))
        for secret_id, version in current_versions(connection):
            events = self._last.get(secret_id)
            if events and version not in {each for _, _, each in events}:
                _, number, last = events[-1]
                yield number, f"version {version} of secret {secret_id} is the current one in the database, and {last} by this event"
