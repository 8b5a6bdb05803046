"""Which version of a recovered secret is the newest, whatever was copied when: made-up histories."""

from __future__ import annotations

import itertools
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from strongroom.config import read_settings
from strongroom.db.identifiers import new_id
from strongroom.models.job import JobReport
from strongroom.secrets_stores.base import About
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf
from tests.canary import CANARY
from tests.people import Person
from tests.unit.service.worlds import World

START = 1_790_000_000_000
"""Of all histories, in milliseconds since 1970; versions are a second apart."""


@dataclass(frozen=True)
class Version:
    """Where a version is: put there when it was written, or copied so many seconds later; None if it never was."""

    value: str
    primary: bool
    backup: int | None
    lost: int | None
    """A write that hoped for the same number put its values so many seconds later, and lost."""


VERSIONS = st.builds(
    Version,
    value=st.sampled_from(["a", "b", "c"]),
    primary=st.booleans(),
    backup=st.one_of(st.none(), st.just(0), st.integers(1, 20)),
    lost=st.one_of(st.none(), st.none(), st.integers(0, 20)),
)
_numbers = itertools.count()


def attempt(seconds: int) -> str:
    """An id that was made then."""
    made = START + 1_000 * seconds + next(_numbers) % 900
    return str(uuid.UUID(int=(made << 80) | (7 << 76) | (uuid.uuid4().int & (0xFFF << 64)) | (2 << 62) | uuid.uuid4().int >> 68))


def value_of(root: Person, secret_id: str, number: int | None = None) -> str:
    """Without the canary, so that a failure can show it."""
    found = root.get(secret_id, number).values
    assert isinstance(found, dict)
    return found["k"].reveal().removeprefix(f"{CANARY}-")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(VERSIONS, min_size=1, max_size=7), roles=st.sampled_from([(0,), (1,), (0, 1)]))
def test_the_newest_version_is_the_newest(
    sqlite_template: Path, tmp_path: Path, history: list[Version], roles: tuple[int, ...]
) -> None:
    """From either store or both: all that was written is there once, and the last number is the current one.

    Without writes that lost, all numbers are true. With one, all later ones are behind it.
    """
    shelves = (Shelf("primary"), Shelf("backup"))
    lost_id, secret_id = str(uuid.uuid4()), new_id()
    stores = [MemorySecretsStore(lost_id, each) for each in shelves]

    def put(place: int, number: int, seconds: int, value: str) -> None:
        about = About(deployment_id=lost_id, secret_id=secret_id, name="s", scope="workspace", workspace="default", version=number)
        stores[place].put(f"{lost_id}/{secret_id}/{attempt(seconds)}", {"k": f"{CANARY}-{value}"}, about, seconds=1)

    present: dict[int, str] = {}
    losers: dict[int, str] = {}
    for number, version in enumerate(history, 1):
        places = [place for place, is_there in enumerate((version.primary, version.backup is not None)) if is_there]
        if version.primary:
            put(0, number, number, version.value)
        if version.backup is not None:
            put(1, number, number + version.backup, version.value)
        if set(places) & set(roles):
            present[number] = version.value
    assume(present)
    for number, version in enumerate(history, 1):
        if version.lost is not None and number < max(present):
            put(roles[0], number, number + version.lost, losers.setdefault(number, f"lost-{number}"))
    folder = shutil.copytree(sqlite_template, tmp_path / new_id())
    world = World(read_settings({"STRONGROOM_CONFIG_PATH": str(folder)}), *(shelves[role] for role in roles))
    try:
        assert world.service.recover(lost_id, lambda done, total: None) == JobReport(done=1)
    finally:
        world.service.close()
    world = World(read_settings({"STRONGROOM_CONFIG_PATH": str(folder)}), *(shelves[role] for role in roles))
    try:
        root = Person(world.service, world.service.local_actor)
        kept = list(reversed(root.versions(secret_id).items))
        found = {each.version: value_of(root, secret_id, each.version) for each in kept}
        assert value_of(root, secret_id) == present[max(present)]
        assert losers or found == present
        assert sorted(found.values()) == sorted([*present.values(), *losers.values()])
        assert [value for value in found.values() if value not in losers.values()] == list(present.values())
        assert sum(place.state == "present" for each in kept for place in each.placements) == sum(map(world.on, world.shelves))
    finally:
        world.service.close()
        shutil.rmtree(folder)
