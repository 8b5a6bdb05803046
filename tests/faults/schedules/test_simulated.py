"""Schedules in one process keep all promises, are the same each time, and notice a protocol that lacks one of its rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.schedules.broken import BREAKAGES
from tests.faults.schedules.totals import Playground, Totals, playground

SCHEDULES = 6
"""For each of the tests; `make faults` plays more."""

UNTIL_NOTICED = 120


@pytest.fixture(scope="module")
def place() -> Iterator[Playground]:
    """Where schedules find their databases."""
    with playground() as place:
        yield place


@pytest.mark.parametrize("first", range(0, 4 * SCHEDULES, SCHEDULES))
def test_schedules_in_one_process(place: Playground, first: int) -> None:
    """Whatever fails whenever: nothing acknowledged is lost, no read is stale, and in the end the stores are in order."""
    totals = Totals()
    for seed in range(first, first + SCHEDULES):
        totals.add(place.play(seed))
    print(totals)
    assert totals.broken == []
    assert totals.counts["acknowledged writes"] > 0
    assert totals.counts["kills"] + totals.counts["faults"] > 0


def test_a_seed_gives_the_same_schedule_again(place: Playground) -> None:
    """To every number that is counted."""
    first, again = place.play(5), place.play(5)
    assert (first.kind, first.counts, first.violations) == (again.kind, again.counts, again.violations)
    assert first.counts["operations"] > 20


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_schedules_notice_a_broken_protocol(place: Playground, breakage: str) -> None:
    """Each rule that is taken out breaks a promise in some schedule before long."""
    first, stops = _FIRST.get(breakage, (0, 0.5))
    assert any(place.play(seed, BREAKAGES[breakage], stops=stops).violations for seed in range(first, first + UNTIL_NOTICED))


_FIRST = {"a writer places without claiming": (9, 2.0)}
"""Seed and stops of schedules that notice soon what is seldom noticed: here a writer has to be stopped for long at one moment."""
