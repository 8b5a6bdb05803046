"""Calls are repeated while it helps, and not while the back end is down."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping

import pytest

from strongroom.errors import StoreForbidden, StrongroomError, Unavailable, ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.breaker import FAILURES, Breaker
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.guarded import ATTEMPTS, SPARE_SECONDS, GuardedStore
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf, Trouble

ABOUT = About(deployment_id="d", secret_id="s", name="n", scope="workspace", workspace="default")


class TestGuarded(SecretsStoreConformance):
    """The guard keeps the promises of what it guards."""

    @pytest.fixture
    def harness(self) -> Harness:
        """Around the reference."""
        shelf = Shelf()
        return Harness(
            open=lambda deployment_id: GuardedStore(MemorySecretsStore(deployment_id, shelf), breaker=Breaker(failures=math.inf)),
            unavailable=lambda: shelf.trouble(Trouble.UNAVAILABLE),
            reply_lost=lambda: shelf.trouble(Trouble.REPLY_LOST),
            hanging=lambda: shelf.trouble(Trouble.HANGS),
            forbidden=lambda: shelf.trouble(Trouble.FORBIDDEN),
            damage=shelf.damage,
        )


class Stumbling(MemorySecretsStore):
    """Fails with the errors that it is given, one for each call, and then no more."""

    def __init__(self, *errors: StrongroomError) -> None:
        super().__init__("d")
        self.errors, self.calls = list(errors), 0

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return super().get(locator, seconds=seconds)

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        super().put(locator, values, about, seconds=seconds)  # it is done, and the reply is lost
        if self.errors:
            raise self.errors.pop(0)


def guarded(*errors: StrongroomError, sleep: Callable[[float], object] = lambda _: None) -> tuple[GuardedStore, Stumbling]:
    store = Stumbling(*errors)
    return GuardedStore(store, sleep, Breaker()), store


def test_no_answer_is_asked_again() -> None:
    """A call without an answer is repeated; after three attempts the caller is told."""
    pauses: list[float] = []
    guard, store = guarded(Unavailable("a"), Unavailable("b"), sleep=pauses.append)
    locator = guard.new_locator("s")
    MemorySecretsStore.put(store, locator, {"k": "v"}, ABOUT, seconds=1)
    assert guard.get(locator, seconds=5) == {"k": "v"}
    assert len(pauses) == 2
    assert all(0.05 <= pause <= 0.4 for pause in pauses)
    guard, store = guarded(*(Unavailable(str(number)) for number in range(9)))
    with pytest.raises(Unavailable, match="2"):
        guard.get("x", seconds=5)
    assert store.calls == ATTEMPTS


def test_a_put_whose_reply_was_lost_is_repeated() -> None:
    """And succeeds, for a repetition of the same put is harmless."""
    guard, store = guarded(Unavailable("lost"))
    locator = guard.new_locator("s")
    guard.put(locator, {"k": "v"}, ABOUT, seconds=5)
    assert store.errors == []
    assert guard.get(locator, seconds=5) == {"k": "v"}


@pytest.mark.parametrize("error", [StoreForbidden("no"), ValuesMissing("no"), ValuesCorrupt("no")])
def test_an_answer_is_final(error: StrongroomError) -> None:
    """A refusal, a gap or damage is told at once."""
    guard, store = guarded(error, error)
    with pytest.raises(type(error)):
        guard.get("x", seconds=5)
    assert store.calls == 1


def test_throttling_is_honoured() -> None:
    """A back end that asks for time gets it, if the call has so much; else the caller is told at once."""
    pauses: list[float] = []
    guard, store = guarded(Unavailable("slower", retry_after=2.5), ValuesMissing("no"), sleep=pauses.append)
    with pytest.raises(ValuesMissing):
        guard.get("x", seconds=5)
    assert pauses == [2.5]
    guard, store = guarded(Unavailable("slower", retry_after=60), sleep=pauses.append)
    with pytest.raises(Unavailable, match="slower"):
        guard.get("x", seconds=5)
    assert store.calls == 1


def test_time_is_not_exceeded() -> None:
    """No attempt begins when the pause before it would use up the time."""
    guard, store = guarded(Unavailable("a"), Unavailable("b"))
    with pytest.raises(Unavailable, match="a"):
        guard.get("x", seconds=0.01)
    assert store.calls == 1


def test_a_dead_store_costs_no_time() -> None:
    """Once it counts as down, a call is refused without asking, and says so; a refusal to somebody is a sign of life."""
    guard, store = guarded(*(Unavailable("dead") for _ in range(FAILURES)))
    for _ in range(2):
        with pytest.raises(Unavailable):
            guard.get("x", seconds=5)
    assert store.calls == FAILURES
    assert not guard.is_up
    with pytest.raises(Unavailable, match="left alone"):
        guard.get("x", seconds=5)
    assert store.calls == FAILURES
    alive, store = guarded(*(error for _ in range(FAILURES) for error in (Unavailable("busy"), ValuesMissing("no"))))
    for _ in range(FAILURES):
        with pytest.raises(ValuesMissing):
            alive.get("x", seconds=5)
    assert alive.is_up


def test_a_store_that_can_be_spared_is_asked_once() -> None:
    """While another store has the same values: one attempt of two seconds, and none while it is down."""
    seconds: list[float] = []

    class Hung(MemorySecretsStore):
        def get(self, locator: str, *, seconds: float, given: list[float] = seconds) -> dict[str, str]:
            given.append(seconds)
            raise Unavailable("silent")

    guard = GuardedStore(Hung("d"), sleep=lambda _: None, breaker=Breaker())
    for _ in range(FAILURES + 20):
        with pytest.raises(Unavailable):
            guard.get("x", seconds=10, spare=True)
    assert len(seconds) == FAILURES
    assert max(seconds) <= SPARE_SECONDS


def test_a_thread_finds_out_when_a_store_is_back() -> None:
    """It asks for what is not there, without a call of anybody; an answer of any kind ends the outage."""
    shelf = Shelf()
    guard = GuardedStore(MemorySecretsStore("d", shelf), sleep=lambda _: None)
    locator = guard.new_locator("s")
    guard.put(locator, {"k": "v"}, ABOUT, seconds=5)
    back = threading.Event()
    with shelf.trouble(Trouble.UNAVAILABLE):
        for _ in range(FAILURES):
            with pytest.raises(Unavailable):
                guard.get(locator, seconds=5, spare=True)
        assert not guard.is_up
        with pytest.raises(Unavailable, match="left alone"):
            guard.get(locator, seconds=5)
        guard.breaker.listen(lambda up: back.set() if up else None)
    assert back.wait(20)
    assert guard.get(locator, seconds=5, spare=True) == {"k": "v"}
    guard.close()
