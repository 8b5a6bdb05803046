"""Whether some order of the operations on one secret explains all that was seen of it.

A secret is a register with numbered versions. The search is that of Wing and Gong with Lowe's memory: an operation takes effect at
one moment between its beginning and its end; one without an answer takes effect at any moment after its beginning, or never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.schedules.history import Event, Outcome, Seen

MOST_STATES = 200_000
"""After so many the search gives up, and says so."""

Contents = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class State:
    """A secret at one moment. `versions` are the contents of all versions so far, the first one first."""

    exists: bool = False
    was_there: bool = False
    name: str = ""
    current: int = 0
    versions: tuple[Contents, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """`explained` is None when the search gave up; `stuck` is what no order explains, going by the one that came farthest."""

    explained: bool | None
    stuck: tuple[Event, ...] = ()


def apply(state: State, event: Event) -> State | None:
    """The state after the event's effect; None if it could not have this effect here."""
    if event.what == "create":
        contents = frozenset((key, text) for key, text in event.changes.items() if text is not None)
        return None if state.was_there else State(True, True, event.name, 1, (contents,))
    if event.what == "delete" and event.repeats and state.was_there:
        return State(False, True)
    if not state.exists or event.if_version not in (None, state.current):
        return None
    if event.what == "delete":
        return State(False, True)
    if event.what == "rollback":
        assert event.version is not None
        if event.version == state.current or not 0 < event.version <= len(state.versions):
            return None
        return State(True, True, state.name, event.version, state.versions)
    before = dict(state.versions[state.current - 1])
    after = dict(before)
    for key, text in event.changes.items():
        if text is not None:
            after[key] = text
        elif after.pop(key, None) is None:
            return None
    name = event.new_name or state.name
    if after == before:
        return State(True, True, name, state.current, state.versions)
    return State(True, True, name, len(state.versions) + 1, (*state.versions, frozenset(after.items())))


def shows(state: State, seen: Seen | None, version: int | None = None) -> bool:
    """Whether an answer fits the state; None is the answer that there is no such secret."""
    if seen is None:
        return not state.exists
    number = state.current if version is None else version
    if not state.exists or seen.name != state.name or seen.version != number or number > len(state.versions):
        return False
    contents = dict(state.versions[number - 1])
    if seen.keys is not None and seen.keys != contents.keys():
        return False
    if seen.labels is None:
        return True
    return seen.labels == contents if seen.whole else seen.labels.items() <= contents.items()


@dataclass(frozen=True)
class _Item:
    event: Event
    began: int
    ended: float
    seen: Seen | None
    writes: bool

    def after(self, state: State) -> State | None:
        """The state that follows; None if what the client was told does not fit."""
        if not self.writes:
            return state if shows(state, self.seen, self.event.version) else None
        follows = apply(state, self.event)
        if follows is None or self.event.outcome is Outcome.UNKNOWN or self.event.what == "delete":
            return follows
        return follows if shows(follows, self.seen) else None


def explain(secret: str, events: Sequence[Event]) -> Verdict:
    """Looks for an order of all that was acknowledged of this secret, and of some of what may have happened."""
    items = [item for event in events if (item := _item(secret, event)) is not None]
    items.sort(key=lambda item: (item.ended, item.began))
    must = sum(1 << place for place, item in enumerate(items) if item.event.outcome is not Outcome.UNKNOWN)
    start = (0, State())
    known, stack, best = {start}, [start], 0
    while stack:
        done, state = stack.pop()
        done = _take_reads(items, done, state)
        if done & must == must:
            return Verdict(True)
        if (done & must).bit_count() > (best & must).bit_count():
            best = done
        if len(known) > MOST_STATES:
            return Verdict(None)
        for place in reversed(_next(items, done)):  # what surely happened is tried first
            item = items[place]
            follows = item.after(state) if item.writes else None
            if follows is not None and (step := (done | 1 << place, follows)) not in known:
                known.add(step)
                stack.append(step)
    return Verdict(False, tuple(items[place].event for place in _next(items, best) if must >> place & 1))


def _next(items: Sequence[_Item], done: int) -> list[int]:
    """What may come next: whatever began before the first end of all that is left."""
    left = [place for place in range(len(items)) if not done >> place & 1]
    horizon = min((items[place].ended for place in left), default=0)
    return [place for place in left if items[place].began < horizon]


def _take_reads(items: Sequence[_Item], done: int, state: State) -> int:
    """Reads that fit are taken at once: they change nothing, so no other order would be better."""
    while True:
        fitting = [place for place in _next(items, done) if not items[place].writes and items[place].after(state) is not None]
        if not fitting:
            return done
        for place in fitting:
            done |= 1 << place


def _item(secret: str, event: Event) -> _Item | None:
    """The event as far as it concerns this secret; None where it tells nothing."""
    ended = float("inf") if event.ended is None else event.ended
    seen = next((each for each in event.seen if each.secret == secret), None)
    if event.what in ("list", "resolve", "read") and event.secret != secret:
        if event.outcome is not Outcome.OK or (seen is None and event.what != "list"):
            return None
        return _Item(event, event.began, ended, seen, writes=False)
    if event.secret != secret:
        return None
    if event.outcome is Outcome.REFUSED:  # that something is not there is as good as a read
        gone = event.error == "not_found" and event.version is None and event.what != "create"
        return _Item(event, event.began, ended, None, writes=False) if gone else None
    if event.changes_something:
        return _Item(event, event.began, ended, seen, writes=True)
    return _Item(event, event.began, ended, seen, writes=False) if event.outcome is Outcome.OK else None
