"""What clients do, at random: all that one can do with secrets, on few names, so that they meet."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter

from tests.faults.schedules.history import BORN, Event, History, Outcome, Seen
from tests.faults.schedules.surfaces import Surface, Told

NAMES = [f"name{number}" for number in range(5)]
KEYS = ["a", "b", "c", "d"]
_WEIGHTS = {
    "create": 4,
    "update": 9,
    "rename": 2,
    "update and rename": 1,
    "remove": 2,
    "delete": 1,
    "rollback": 2,
    "read": 8,
    "read version": 1,
    "read by name": 6,
    "list": 2,
    "resolve": 2,
}


class Board:
    """What clients have seen so far, to have something to ask for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}

    def note(self, seen: Seen) -> None:
        with self._lock:
            self._versions[seen.secret] = max(seen.version, self._versions.get(seen.secret, 0))

    def forget(self, secret: str) -> None:
        """Mostly: somebody may still ask for what is gone."""
        with self._lock:
            if len(self._versions) > 1:
                self._versions.pop(secret, None)

    def pick(self, rng: random.Random) -> tuple[str, int] | None:
        """A secret, and the newest version that was seen of it."""
        with self._lock:
            return rng.choice(list(self._versions.items())) if self._versions else None


class Worker:
    """One client, which does one thing after the other."""

    def __init__(self, number: int, history: History, board: Board, rng: random.Random, counts: Counter[str]) -> None:
        self.number, self._history, self._board, self._rng, self._counts = number, history, board, rng, counts
        self._labels = (f"c{number}-{count}" for count in itertools.count())

    def act(self, surface: Surface) -> Event:
        """One operation, chosen at random, and what became of it. Exceptions that are no answers leave it open."""
        rng = self._rng
        what = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        picked = self._board.pick(rng)
        if what in ("create", "list", "resolve", "read by name") or picked is None:
            return self._act_by_name(what if what in _BY_NAME else "create", surface)
        secret, newest = picked
        begin = self._history.begin
        if what == "read":
            return self._run(begin(self.number, "read", secret=secret), lambda: [surface.read(secret)])
        if what == "read version":
            version = rng.randint(1, newest)
            return self._run(begin(self.number, "read", secret=secret, version=version), lambda: [surface.read(secret, version)])
        if what == "rollback":
            version = max(1, newest - rng.randint(0, 2))
            event = begin(self.number, "rollback", secret=secret, version=version)
            return self._run(event, lambda: [surface.rollback(secret, version)])
        if what == "delete":
            event = begin(self.number, "delete", secret=secret, repeats=surface.repeats)
            return self._run(event, lambda: self._delete(surface, secret))
        changes: dict[str, str | None] = {}
        if what in ("update", "update and rename"):
            changes = {key: next(self._labels) for key in rng.sample(KEYS, rng.choice([1, 1, 2]))}
        elif what == "remove":
            changes = {rng.choice(KEYS): None}
        new_name = rng.choice(NAMES) if "rename" in what else None
        if_version = newest if rng.random() < 0.3 else None
        event = begin(self.number, "update", secret=secret, changes=changes, new_name=new_name, if_version=if_version)
        return self._run(event, lambda: [surface.update(secret, changes, new_name, if_version)])

    def _act_by_name(self, what: str, surface: Surface) -> Event:
        rng, begin = self._rng, self._history.begin
        name = rng.choice(NAMES)
        if what == "create":
            labels = {BORN: next(self._labels)} | {key: next(self._labels) for key in rng.sample(KEYS, rng.randint(0, 2))}
            return self._run(begin(self.number, "create", name=name, changes=labels), lambda: [surface.create(name, labels)])
        if what == "read by name":
            return self._run(begin(self.number, "read", name=name), lambda: [surface.read_by_name(name)])
        if what == "resolve":
            references = [(each, rng.choice([BORN, *KEYS])) for each in NAMES]
            return self._run(begin(self.number, "resolve"), lambda: list(surface.resolve(references)))
        return self._run(begin(self.number, "list"), lambda: list(surface.list()))

    @staticmethod
    def _delete(surface: Surface, secret: str) -> list[Seen]:
        surface.delete(secret)
        return []

    def _run(self, event: Event, call) -> Event:  # type: ignore[no-untyped-def]
        self._counts["operations"] += 1
        try:
            seen = call()
        except Told as told:
            self._history.end(event, told.outcome, error=told.code)
            self._counts["unknown" if told.outcome is Outcome.UNKNOWN else "refused"] += 1
            self._counts[f"told {told.code}"] += 1
            if told.code == "not_found" and event.secret and event.version is None:
                self._board.forget(event.secret)
            return event
        self._history.end(event, Outcome.OK, *seen)
        self._counts["acknowledged writes" if event.changes_something else "reads"] += 1
        if event.what == "delete":
            self._board.forget(event.secret)
        for each in seen:
            self._board.note(each)
        return event


_BY_NAME = ("create", "list", "resolve", "read by name")


def look_at_everything(surface: Surface, history: History, counts: Counter[str]) -> list[Seen]:
    """A last list, and reads of all that it shows, in the history too; raises `Told` where one is refused."""
    listing = history.begin(0, "list")
    shown = list(surface.list())
    history.end(listing, Outcome.OK, *shown)
    for each in shown:
        event = history.begin(0, "read", secret=each.secret)
        history.end(event, Outcome.OK, surface.read(each.secret))
        event = history.begin(0, "read", name=each.name)
        history.end(event, Outcome.OK, surface.read_by_name(each.name))
        counts["reads"] += 2
    return shown


def use_everything(surface: Surface, shown: list[Seen], history: History) -> list[str]:
    """Whatever is listed can be updated and deleted; what cannot, in words."""
    wrong = []
    for each in shown:
        event = history.begin(0, "update", secret=each.secret, changes={"a": "last"})
        try:
            history.end(event, Outcome.OK, surface.update(each.secret, {"a": "last"}, None, None))
            event = history.begin(0, "read", secret=each.secret)
            history.end(event, Outcome.OK, surface.read(each.secret))
            event = history.begin(0, "delete", secret=each.secret, repeats=surface.repeats)
            surface.delete(each.secret)
            history.end(event, Outcome.OK)
        except Told as told:
            history.end(event, told.outcome, error=told.code)
            wrong.append(f"a secret that is listed cannot be used ({told.code}): {event}")
    return wrong
