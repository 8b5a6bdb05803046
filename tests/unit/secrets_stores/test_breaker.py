"""A store that does not answer costs few calls, and is used again as soon as it answers."""

from __future__ import annotations

import threading

import pytest

from strongroom.secrets_stores.breaker import DOUBT_SECONDS, FAILURES, FIRST_HOLD_SECONDS, Breaker


class Clock:
    """Goes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Probes:
    """Answers of a back end: each probe waits until the test says what it gave."""

    def __init__(self) -> None:
        self.at_once, self.most, self.count = 0, 0, 0
        self.answers: list[bool] = []
        self.changed = threading.Condition()

    def __call__(self, seconds: float) -> bool:
        with self.changed:
            self.at_once += 1
            self.count += 1
            self.most = max(self.most, self.at_once)
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.answers, 30)
            self.at_once -= 1
            return self.answers.pop(0)

    def give(self, answer: bool) -> None:
        with self.changed:
            self.answers.append(answer)
            self.changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count >= count, 30)


def test_what_fails_often_is_down() -> None:
    """After some calls in a row without an answer no more are made, until one is answered; an answer in between counts."""
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.silent()
    breaker.answered()
    for _ in range(FAILURES):
        assert breaker.admit()
        breaker.silent()
    assert (breaker.is_closed, breaker.admit(), breaker.admit(spare=True)) == (False, False, False)
    breaker.answered()
    assert (breaker.is_closed, breaker.admit(), breaker.admit(spare=True)) == (True, True, True)


def test_a_call_that_hangs_keeps_others_away(clock: Clock) -> None:
    """While it has no answer for long, calls that another store can answer are not made; and those that cannot, are."""
    probes = Probes()
    breaker = Breaker(probes, clock)
    with breaker.call():
        assert breaker.admit(spare=True)
        clock.now += DOUBT_SECONDS + 0.1
        assert (breaker.admit(spare=True), breaker.admit(), breaker.is_closed) == (False, True, True)
        probes.wait_for(1)
    probes.give(True)
    _wait(lambda: breaker.admit(spare=True))
    assert probes.count == 1


def test_answers_of_others_end_the_suspicion(clock: Clock) -> None:
    """A slow call says nothing while the back end answers other ones."""
    breaker = Breaker(Probes(), clock)
    with breaker.call():
        for _ in range(5):
            clock.now += DOUBT_SECONDS * 0.7
            with breaker.call():
                pass
            breaker.answered()
            assert breaker.admit(spare=True)


def test_a_failed_probe_means_down_and_an_answered_one_up(clock: Clock) -> None:
    """Without a call of anybody; probes are made one at a time, by whoever many callers there are."""
    probes, told = Probes(), list[bool]()
    breaker = Breaker(probes, clock)
    breaker.listen(told.append)
    for _ in range(8):
        breaker.silent(seconds=DOUBT_SECONDS)
        breaker.doubt()
    for number in range(1, 4):
        probes.wait_for(number)
        probes.give(False)
    probes.wait_for(4)
    assert not breaker.is_closed
    probes.give(True)
    _wait(lambda: breaker.is_closed)
    assert (probes.most, probes.count) == (1, 4)
    assert told[0] is True
    assert told[-1] is True
    assert False in told


def test_a_slow_store_is_not_down(clock: Clock) -> None:
    """A probe has time for twice what calls took, and one without an answer says nothing once a call was answered."""
    given = list[float]()
    probes = Probes()

    def probe(seconds: float) -> bool:
        given.append(seconds)
        return probes(seconds)

    breaker = Breaker(probe, clock)
    breaker.answered(seconds=0.9)
    breaker.doubt()
    probes.wait_for(1)
    breaker.answered(seconds=0.9)
    probes.give(False)
    _wait(lambda: not breaker._is_probing)
    assert (breaker.is_closed, breaker.admit(spare=True)) == (True, True)
    assert given == [pytest.approx(1.8)]


def test_a_store_that_answers_probes_but_no_writes_gets_few(clock: Clock) -> None:
    """Each time that writes fail again after a good probe it gets none for longer; a write that is answered ends that."""
    breaker = Breaker(None, clock)
    waited = []
    for _ in range(5):
        for _ in range(3):  # those that were under way together
            breaker.silent(write=True)
        breaker.answered()
        began = clock.now
        while not breaker.admit(spare=True, write=True):
            assert breaker.admit(spare=True)
            clock.now += 0.5
        waited.append(clock.now - began)
        clock.now += 10
    assert waited == [0, FIRST_HOLD_SECONDS, 2, 4, 8]
    breaker.answered(write=True)
    breaker.silent(write=True)
    breaker.answered()
    assert breaker.admit(spare=True, write=True)


def test_no_probe_after_the_end() -> None:
    """A closed breaker leaves the back end alone."""
    probes = Probes()
    breaker = Breaker(probes)
    breaker.doubt()
    probes.wait_for(1)
    breaker.close()
    probes.give(False)
    breaker.doubt()
    _wait(lambda: not [each for each in threading.enumerate() if each.name == "probe"] or probes.at_once == 0)
    assert probes.count == 1


def _wait(condition: object) -> None:
    assert callable(condition)
    done = threading.Event()
    for _ in range(2_000):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("it does not come true")
