"""What clients asked for and what they were told, in the order in which it happened."""

from __future__ import annotations

import enum
import itertools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.canary import CANARY

_PREFIX = f"{CANARY}-"
BORN = "born"
"""The key that every secret keeps for ever, with a value that no other secret has: so a secret is known whoever made it."""


class Outcome(enum.Enum):
    """What became of an operation, as far as its client knows."""

    OK = "ok"
    REFUSED = "refused"  # an answer that says that nothing has changed
    UNKNOWN = "unknown"  # no answer, or one that leaves it open


@dataclass(frozen=True)
class Seen:
    """A secret as an answer showed it. Instead of values there are their labels; None where the answer held no values.

    `whole` says whether these are all the keys of the version.
    """

    secret: str
    name: str
    version: int
    labels: Mapping[str, str] | None = None
    keys: frozenset[str] | None = None
    whole: bool = True


@dataclass
class Event:
    """One operation. `began` and `ended` are places in one order of all that happened; the rest is what was asked for.

    `what` is create, update, rollback, delete, read, list or resolve. `secret` is an id, and may be found out later for a create.
    A `version` is what a read or a rollback asked for. A client that
    `repeats` sends a delete again when no answer came, and takes it for done when there is no such secret any more.
    """

    number: int
    client: int
    what: str
    began: int
    secret: str = ""
    name: str = ""
    changes: Mapping[str, str | None] = field(default_factory=dict)
    new_name: str | None = None
    if_version: int | None = None
    version: int | None = None
    repeats: bool = False
    ended: int | None = None
    outcome: Outcome = Outcome.UNKNOWN
    error: str = ""
    seen: list[Seen] = field(default_factory=list)

    @property
    def changes_something(self) -> bool:
        """Whether it would, if it were carried out."""
        return self.what in ("create", "update", "rollback", "delete")

    def __str__(self) -> str:
        asked = [f"name={self.name}"] if self.name else []
        asked += [f"keys={','.join(sorted(self.changes))}"] if self.changes else []
        asked += [f"to={self.new_name}"] if self.new_name else []
        asked += [f"if={self.if_version}"] if self.if_version is not None else []
        asked += [f"version={self.version}"] if self.version is not None else []
        told = self.error or ("; ".join(f"{each.name} v{each.version}" for each in self.seen[:3]))
        end = "…" if self.ended is None else self.ended
        what = " ".join([self.what, *asked])
        return f"#{self.number} client {self.client} [{self.began}-{end}] {what} -> {self.outcome.value} {told}".rstrip()


class History:
    """Takes events down. Thread-safe."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._clock, self._lock = itertools.count(), threading.Lock()

    def begin(self, client: int, what: str, **asked: object) -> Event:
        """Call it before the operation is sent."""
        with self._lock:
            event = Event(len(self.events), client, what, next(self._clock), **asked)  # type: ignore[arg-type]
            self.events.append(event)
        return event

    def end(self, event: Event, outcome: Outcome, *seen: Seen, error: str = "") -> None:
        """Call it when the answer is there, or when there will be none."""
        with self._lock:
            event.outcome, event.error = outcome, error
            event.seen = list(seen)
            if outcome is not Outcome.UNKNOWN:  # else it may still happen
                event.ended = next(self._clock)

    def describe(self, secret: str) -> list[str]:
        """What happened to one secret, in words."""
        return [str(each) for each in self.events if each.secret == secret or any(seen.secret == secret for seen in each.seen)]


def value(label: str) -> str:
    """The value that a label stands for."""
    return f"{_PREFIX}{label}"


def label(text: str) -> str:
    """The label of a value; of one that nobody wrote, that it is not ours."""
    return text.removeprefix(_PREFIX) if text.startswith(_PREFIX) else "a value that nobody wrote"
