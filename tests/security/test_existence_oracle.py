"""Whether a secret exists is not told by how long it takes to say that there is none.

What is compared are times that were taken in turns, in random order, so that whatever else the machine does hits all kinds alike. A
difference counts when chance cannot explain it (a rank test, with odds of one in millions) and when it is large enough to be seen.
"""

from __future__ import annotations

import functools
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from strongroom.db.identifiers import new_id
from strongroom.errors import NotFound
from strongroom.models.secret import Scope
from strongroom.service.wiring import Service
from tests.callers import Caller
from tests.canary import CANARY
from tests.people import add_person

SURELY = 5.5
"""Standard deviations of the rank sum that chance does not reach."""

VISIBLE = 0.15
"""What share of the time a difference has to be to count. Others drown in any network."""


def times(attempts: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """How long each attempt took each time; all take turns in random order, and the first rounds are not counted."""
    taken: dict[str, list[float]] = {name: [] for name in attempts}
    order, choose = list(attempts), random.Random(CANARY)
    for number in range(-20, rounds):
        choose.shuffle(order)
        for name in order:
            began = time.perf_counter()
            attempts[name]()
            if number >= 0:
                taken[name].append(time.perf_counter() - began)
    return taken


def deviation(one: list[float], other: list[float]) -> float:
    """How far the rank sum of one lies from what chance gives, in standard deviations (Mann and Whitney)."""
    ranks = {position: rank for rank, position in enumerate(sorted(range(len(one) + len(other)), key=(one + other).__getitem__), 1)}
    total = sum(ranks[position] for position in range(len(one)))
    n, m = len(one), len(other)
    return abs(total - n * (n + m + 1) / 2) / (n * m * (n + m + 1) / 12) ** 0.5


def tells_apart(one: list[float], other: list[float]) -> bool:
    """Whether the times of two kinds differ surely and visibly."""
    middle, another = statistics.median(one), statistics.median(other)
    return deviation(one, other) > SURELY and abs(middle - another) > VISIBLE * min(middle, another)


def test_the_test_would_notice() -> None:
    """A difference of a quarter is noticed, none is not."""
    choose = random.Random(1)
    quick, same, slow = ([choose.expovariate(10) + base for _ in range(400)] for base in (1.0, 1.0, 1.3))
    assert tells_apart(quick, slow)
    assert not tells_apart(quick, same)


def refused(call: Callable[[], object]) -> Callable[[], None]:
    """The call, which is to find nothing."""

    def attempt() -> None:
        with pytest.raises(NotFound):
            call()

    return attempt


def test_by_name_and_by_id(service: Service) -> None:
    """In the service: absent, another user's and another workspace's secrets take the same time, for reads and for changes."""
    alice, bob = add_person(service, "alice"), add_person(service, "bob")
    carol = add_person(service, "carol", workspace="elsewhere")
    hidden = alice.create("hidden", {"k": CANARY}, Scope.USER).id
    other = carol.create("afield", {"k": CANARY}).id
    for number in range(20):  # as many as it takes for a list of near names
        bob.create(f"filler{number}", {"k": CANARY})
    ids = {"absent": new_id(), "hidden": hidden, "elsewhere": other}
    names = {"absent": "absent", "hidden": "hidden", "elsewhere": "afield"}

    calls: list[tuple[Callable[[str], object], Mapping[str, str]]] = [
        (bob.get_by_name, names),
        (bob.get, ids),
        (bob.get_metadata, ids),
        (lambda secret_id: bob.update(secret_id, {"k": "v"}), ids),
    ]
    for call, texts in calls:
        taken = times({kind: refused(functools.partial(call, text)) for kind, text in texts.items()}, 150)
        for kind in ("hidden", "elsewhere"):
            assert not tells_apart(taken["absent"], taken[kind]), kind


def test_over_http(admin: Caller) -> None:
    """At a server the same."""
    other = admin.add(f"x-{admin.workspace}", "reader")
    hidden = admin.create("hidden", {"k": CANARY}, scope="user")["id"]
    elsewhere = replace(admin, workspace=f"z{admin.workspace}")
    assert admin.call("POST", "/workspaces", {"name": elsewhere.workspace}).status == 201
    afield = elsewhere.create("afield", {"k": CANARY})["id"]

    def ask(path: str) -> None:
        assert other.call("GET", path).status == 404

    for texts in (("by-name/absent", "by-name/hidden", "by-name/afield"), (new_id(), hidden, afield)):
        taken = times({text: functools.partial(ask, f"/secrets/{text}") for text in texts}, 150)
        absent, *others = (taken[text] for text in texts)
        assert not any(tells_apart(absent, each) for each in others)
