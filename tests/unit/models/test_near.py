"""Names like one that leads nowhere."""

from __future__ import annotations

import random
import threading
from difflib import SequenceMatcher
from typing import Any

import pytest

from strongroom.models import near
from strongroom.models.near import MAX_COMPARED, MAX_LENGTH, MAX_NAMES, NotHere, near_names


def test_the_most_similar_names_come_first() -> None:
    """As many as were asked for; none that is too different."""
    known = ["db-passwords", "db-password", "db-pass", "token"]
    assert near_names("db-pasword", known, 2) == ["db-password", "db-passwords"]
    assert near_names("db-pasword", ["token"]) == []
    assert near_names("", known) == []


def awkward(length: int) -> str:
    """Anagrams of two letters, which are the most expensive to compare."""
    letters = list(("ab" * length)[:length])
    random.Random(length * 1_000 + random.randrange(1_000)).shuffle(letters)
    return "".join(letters)


@pytest.mark.parametrize("length", [MAX_LENGTH, MAX_LENGTH + 1, 255, 100_000])
def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """However many names there are and however awkward: few are compared letter by letter, and none that is long."""
    compared: list[tuple[int, int]] = []

    class Counting(SequenceMatcher):  # type: ignore[type-arg]
        def ratio(self) -> float:
            compared.append((len(self.a), len(self.b)))
            return super().ratio()

    monkeypatch.setattr("difflib.SequenceMatcher", Counting)
    looked_at = 0

    def names() -> Any:
        nonlocal looked_at
        for _ in range(3 * MAX_NAMES):
            looked_at += 1
            yield awkward(MAX_LENGTH if looked_at % 2 else min(length, 1_000))

    near_names(awkward(length), names(), 3)
    assert len(compared) <= MAX_COMPARED
    assert looked_at <= MAX_NAMES
    assert all(max(pair) <= MAX_LENGTH for pair in compared)


def test_a_thread_that_others_wait_for_does_not_look() -> None:
    """It is told to make its call in another thread."""
    outcome: list[object] = []

    def look() -> None:
        near.leave_this_thread()
        try:
            near_names("a", ["b"])
        except NotHere as error:
            outcome.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert len(outcome) == 1
    assert near_names("ab", ["abc"]) == ["abc"]
