"""Whether a history keeps the promises. Each violation is a line that names events, and never a value."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.schedules.history import Event, History, Outcome
from tests.faults.schedules.register import explain

_SURPRISING = ("values_missing", "values_corrupt", "internal", "conflict", "crash")
_SHOWN = 12
_AFTER_ALL = 10**9


@dataclass
class Findings:
    """`undecided` counts the secrets of which one cannot tell: the search gave up, or nobody knows who made them."""

    violations: list[str] = field(default_factory=list)
    undecided: int = 0


def check(history: History) -> Findings:
    """Checks a history that has ended, with a last list and reads of all that is there."""
    found = Findings()
    _identify(history)
    secrets = {event.secret for event in history.events if event.secret} | {
        seen.secret for event in history.events for seen in event.seen
    }
    made = {event.secret for event in history.events if event.what == "create"}
    for secret in sorted(secrets):
        if secret not in made and "" in made:
            found.undecided += 1  # an unanswered create has made it, but nobody knows which: its values were never read
            continue
        verdict = explain(secret, history.events)
        if verdict.explained is None:
            found.undecided += 1
        elif not verdict.explained:
            stuck = "\n    ".join(map(str, verdict.stuck[:_SHOWN]))
            found.violations.append(f"secret {secret}: no order of its writes explains\n    {stuck}")
    found.violations += _changed_versions(history)
    found.violations += _names(history)
    found.violations += _errors(history)
    found.violations += _snapshots(history)
    return found


def _identify(history: History) -> None:
    """Finds out which secret a create has made: an unanswered one by its labels, which nobody else has."""
    owners = {text: seen.secret for event in history.events for seen in event.seen for text in (seen.labels or {}).values()}
    for event in history.events:
        if event.what == "create" and not event.secret:
            told = [each.secret for each in event.seen] or [owners[text] for text in event.changes.values() if text in owners]
            event.secret = told[0] if told else ""


def _changed_versions(history: History) -> Iterator[str]:
    """A version never changes."""
    first: dict[tuple[str, int], tuple[Event, dict[str, str]]] = {}
    for event in history.events:
        for seen in event.seen:
            if seen.labels is None:
                continue
            before, labels = first.setdefault((seen.secret, seen.version), (event, dict(seen.labels)))
            common = labels.keys() & seen.labels.keys()
            if any(labels[key] != seen.labels[key] for key in common):
                yield f"secret {seen.secret}: version {seen.version} changed between {before} and {event}"


def _names(history: History) -> Iterator[str]:
    """A name that surely belongs to a secret leads to it, and one that can belong to none is free."""
    namings: dict[str, list[Event]] = defaultdict(list)
    for event in history.events:
        if event.outcome is not Outcome.REFUSED and (event.what in ("create", "delete") or event.new_name):
            namings[event.secret].append(event)
    for event in history.events:
        if event.outcome is not Outcome.REFUSED:
            continue
        if event.what == "read" and event.error == "not_found" and not event.secret and event.version is None:
            for secret, changes in namings.items():
                if secret and _surely_has(changes, event.name, event):
                    yield f"secret {secret} is not found by its name: {event}"
        elif event.error == "already_exists":
            wanted = event.new_name or event.name
            holders = [secret for secret, changes in namings.items() if _may_have(changes, wanted, event)]
            if not any(secret != event.secret or not secret for secret in holders):
                yield f"a name is taken that no secret has: {event}"


def _snapshots(history: History) -> Iterator[str]:
    """What one answer tells of several secrets is of one moment: none was replaced before another one was made.

    Secrets that were rolled back are left out: their versions come again.
    """
    rolled_back = {event.secret for event in history.events if event.what == "rollback" and event.outcome is not Outcome.REFUSED}
    began: dict[tuple[str, int], int] = {}
    ended: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for event in history.events:
        if event.outcome is not Outcome.OK or event.secret in rolled_back or not event.changes_something:
            continue
        assert event.ended is not None
        for seen in event.seen:
            if event.changes:  # else the version may have been there before
                began[seen.secret, seen.version] = event.began
            ended[seen.secret].append((seen.version, event.ended))
        if event.what == "delete":
            ended[event.secret].append((_AFTER_ALL, event.ended))
    for event in history.events:
        if event.what not in ("list", "resolve") or event.outcome is not Outcome.OK:
            continue
        shown = {(seen.secret, seen.version) for seen in event.seen}
        newest = max((began.get(each, -1) for each in shown), default=-1)
        for secret, version in sorted(shown):
            if any(number > version and moment < newest for number, moment in ended[secret]):
                yield f"version {version} of secret {secret} was replaced before another was made that is shown with it: {event}"


def _surely_has(changes: list[Event], name: str, during: Event) -> bool:
    assert during.ended is not None
    before = [each for each in changes if each.ended is not None and each.ended < during.began]
    if len(before) < sum(each.began < during.ended for each in changes):
        return False  # something is under way, or may be
    last = [each for each in before if not any(each.ended < other.began for other in before)]  # type: ignore[operator]
    return len(last) == 1 and last[0].what != "delete" and (last[0].new_name or last[0].name) == name


def _may_have(changes: list[Event], name: str, during: Event) -> bool:
    assert during.ended is not None
    for each in changes:
        if each.what == "delete" or (each.new_name or each.name) != name or each.began > during.ended:
            continue
        later = [other for other in changes if other.outcome is Outcome.OK and other is not each]
        if each.ended is None or not any(other.began > each.ended and (other.ended or 0) < during.began for other in later):
            return True
    return False


def _errors(history: History) -> Iterator[str]:
    """Values are never missing or wrong, unless their secret is being deleted, and nothing breaks unforeseen."""
    deletes: dict[str, int] = {}
    for event in history.events:
        if event.what == "delete" and event.outcome is not Outcome.REFUSED:
            deletes[event.secret] = min(event.began, deletes.get(event.secret, event.began))
    for event in history.events:
        if event.error not in _SURPRISING:
            continue
        deleted = event.error == "values_missing" and (
            any(event.ended is None or began < event.ended for secret, began in deletes.items() if event.secret in ("", secret))
            or event.version is not None
        )
        if not deleted:
            yield f"an error that must not be: {event}"
