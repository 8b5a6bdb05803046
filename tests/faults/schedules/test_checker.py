"""The checker objects to broken histories, and to no others."""

from __future__ import annotations

from typing import Any

import pytest

from tests.canary import holds_canary
from tests.faults.schedules.checker import check
from tests.faults.schedules.history import BORN, Event, History, Outcome, Seen, label, value

ID = "0190aaaa-0000-7000-8000-000000000001"
OK, REFUSED, UNKNOWN = Outcome.OK, Outcome.REFUSED, Outcome.UNKNOWN


class Story:
    """A history of one secret, told line by line: each operation ends before the next one begins, unless it is left open."""

    def __init__(self) -> None:
        self.history = History()
        self.contents: dict[int, dict[str, str]] = {}

    def begin(self, what: str, client: int = 1, **asked: Any) -> Event:
        if what == "create":
            asked = {"name": "s", "changes": {BORN: "b", "k": "0"}} | asked
        else:
            asked.setdefault("secret", ID)
        return self.history.begin(client, what, **asked)

    def end(self, event: Event, version: int | None, name: str = "s", secret: str = ID, **labels: str) -> None:
        seen = [] if version is None else [Seen(secret, name, version, {BORN: "b", **labels} if event.what == "read" else None)]
        self.history.end(event, OK, *seen)

    def create(self) -> None:
        self.end(self.begin("create"), 1)

    def update(self, version: int, **changes: str | None) -> None:
        self.end(self.begin("update", changes=changes), version)

    def read(self, version: int, name: str = "s", **labels: str) -> None:
        self.end(self.begin("read"), version, name, **labels)

    def tell(self, what: str, outcome: Outcome, error: str, **asked: Any) -> None:
        self.history.end(self.begin(what, **asked), outcome, error=error)

    @property
    def objections(self) -> list[str]:
        found = check(self.history)
        assert not found.undecided
        assert not holds_canary("\n".join(found.violations))
        return found.violations


@pytest.fixture
def story() -> Story:
    """A secret was created."""
    story = Story()
    story.create()
    return story


def test_what_is_in_order_is_taken(story: Story) -> None:
    """Writes, reads, a rollback, a rename, a deletion; and a name that is free again."""
    story.read(1, k="0")
    story.update(2, k="1", l="2")
    story.read(2, k="1", l="2")
    story.update(3, l=None)
    story.read(3, k="1")
    story.end(story.begin("rollback", version=2), 2)
    story.read(2, k="1", l="2")
    story.end(story.begin("update", new_name="t"), 2, name="t")
    story.read(2, name="t", k="1", l="2")
    story.tell("update", REFUSED, "stale_version", changes={"k": "9"}, if_version=1)
    story.end(story.begin("update", changes={"k": "3"}, if_version=2), 4, name="t")
    story.end(story.begin("delete"), None)
    story.tell("read", REFUSED, "not_found")
    story.end(story.begin("create", changes={BORN: "c"}, name="t"), 1, name="t", secret="another")
    assert story.objections == []


@pytest.mark.parametrize("version", [1, 2])
def test_during_a_write_both_states_may_be_seen(story: Story, version: int) -> None:
    """A read beside a write shows the state before or after it."""
    writing = story.begin("update", changes={"k": "1"})
    story.read(version, k=str(version - 1))
    story.end(writing, 2)
    story.read(2, k="1")
    assert story.objections == []


def test_states_do_not_go_back(story: Story) -> None:
    """Once somebody has seen the new state beside a write, nobody sees the old one."""
    writing = story.begin("update", changes={"k": "1"})
    story.read(2, k="1")
    story.read(1, k="0")
    story.end(writing, 2)
    assert len(story.objections) == 1


@pytest.mark.parametrize("happened", [False, True])
def test_what_was_not_answered_may_have_happened(story: Story, happened: bool) -> None:
    """Or may happen later, or never."""
    story.tell("update", UNKNOWN, "", changes={"k": "1"})
    story.read(1, k="0")
    if happened:
        story.read(2, k="1")
        story.update(3, l="1")
    else:
        story.update(2, l="1")
    assert story.objections == []


def test_a_stale_read(story: Story) -> None:
    """An older version than the last acknowledged one."""
    story.update(2, k="1")
    story.read(1, k="0")
    assert "no order of its writes explains" in story.objections[0]


def test_a_read_of_other_values(story: Story) -> None:
    """The right version with values that are not its own."""
    story.update(2, k="1")
    story.read(2, k="0")
    assert story.objections


def test_a_version_that_changes(story: Story) -> None:
    """Two reads of one version that differ are named as such."""
    story.read(1, k="0")
    story.read(1, k="7")
    assert any("version 1 changed" in each for each in story.objections)


def test_a_lost_write(story: Story) -> None:
    """What was acknowledged is not there in the end."""
    story.update(2, k="1")
    story.tell("read", REFUSED, "not_found")
    assert story.objections


def test_a_refused_write_that_happened(story: Story) -> None:
    """A failed write changes nothing that a reader can see."""
    story.tell("update", REFUSED, "unavailable", changes={"k": "1"})
    story.read(2, k="1")
    assert story.objections


def test_a_lost_update(story: Story) -> None:
    """Of two merges one has not seen what the other had written."""
    first, second = (story.begin("update", changes={key: "1"}) for key in ("a", "b"))
    story.end(first, 2)
    story.end(second, 3)
    story.read(3, k="0", b="1")
    assert story.objections


def test_two_updates_of_one_version(story: Story) -> None:
    """Of two changes that each wanted version 1 both were acknowledged."""
    for each in "ab":
        story.end(story.begin("update", changes={each: "1"}, if_version=1), 2 if each == "a" else 3)
    assert story.objections


def test_a_deleted_secret_that_is_back(story: Story) -> None:
    """After an acknowledged deletion it is read again."""
    story.end(story.begin("delete"), None)
    story.tell("read", REFUSED, "not_found")
    story.read(1, k="0")
    assert story.objections


def test_a_secret_that_is_listed_and_cannot_be_used(story: Story) -> None:
    """A zombie: shown in a list, not there for an update."""
    story.history.end(story.history.begin(1, "list"), OK, Seen(ID, "s", 1))
    story.tell("update", REFUSED, "not_found", changes={"k": "1"})
    story.history.end(story.history.begin(1, "list"), OK, Seen(ID, "s", 1))
    assert story.objections


def test_a_list_that_lacks_a_secret(story: Story) -> None:
    """What was created is listed."""
    story.history.end(story.history.begin(1, "list"), OK)
    assert story.objections


def test_a_secret_that_is_not_found_by_its_name(story: Story) -> None:
    """Whoever has the name is found by it."""
    story.tell("read", REFUSED, "not_found", secret="", name="s")
    assert "not found by its name" in story.objections[0]


def test_a_name_that_stays_taken(story: Story) -> None:
    """A zombie name: its secret was deleted, and nobody else can have it."""
    story.tell("create", REFUSED, "already_exists", changes={BORN: "c"}, name="s")
    assert story.objections == []
    story.end(story.begin("delete"), None)
    story.tell("create", REFUSED, "already_exists", changes={BORN: "d"}, name="s")
    assert "a name is taken that no secret has" in story.objections[0]


@pytest.mark.parametrize("version", [1, 2])
def test_an_answer_of_two_moments(story: Story, version: int) -> None:
    """What one answer tells of two secrets has to be of one moment, also where each of them could be explained by itself."""
    resolving = story.begin("resolve", secret="")
    story.update(2, k="1")
    story.end(story.begin("create", changes={BORN: "c"}, name="t"), 1, name="t", secret="another")
    old = Seen(ID, "s", version, {"k": str(version - 1)}, whole=False)
    story.history.end(resolving, OK, old, Seen("another", "t", 1, {BORN: "c"}, whole=False))
    assert len(story.objections) == (version == 1)


def test_a_version_is_made_once(story: Story) -> None:
    """A rename shows a version that was there before: it may be listed with what was replaced in between."""
    story.end(story.begin("create", changes={BORN: "c"}, name="t"), 1, name="t", secret="another")
    renaming = story.begin("update", new_name="u", secret="another")
    story.history.end(story.history.begin(1, "list"), OK, Seen(ID, "s", 1), Seen("another", "t", 1))
    story.end(renaming, 1, name="u", secret="another")
    assert story.objections == []


def test_missing_values(story: Story) -> None:
    """That no store has the values of a secret is an objection, unless it is being deleted."""
    story.tell("read", REFUSED, "values_missing")
    assert "an error that must not be" in story.objections[0]


def test_labels_hide_values() -> None:
    """A history holds what values are called, and not the values."""
    assert holds_canary(value("c1-2"))
    assert label(value("c1-2")) == "c1-2"
    assert label("foreign") == "a value that nobody wrote"
