"""A change that meets a faster one begins again, and holds no locks while it asks the secrets stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from sqlalchemy import func, select

from strongroom.config import Settings
from strongroom.db.tables import intents, placements
from strongroom.models.secret import ReplaceSecret, Secret
from strongroom.operations import secret as operations
from strongroom.redaction import SecretText
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf
from strongroom.service.placements import ConfiguredStore
from strongroom.service.wiring import Service
from tests.canary import CANARY
from tests.people import Person, add_person

T = TypeVar("T")
RACES = 3


class WatchedShelf(Shelf):
    """Calls `before` each time when it is asked for something."""

    def __init__(self) -> None:
        super().__init__("shelf")
        self.before: Callable[[], object] = lambda: None

    def ask(self, seconds: float, effect: Callable[[dict[str, Any]], T]) -> T:
        self.before()
        return super().ask(seconds, effect)


def _update(person: Person, secret: Secret) -> object:
    return person.update(secret.id, {"mine": f"{CANARY}-mine"})


def _replace(person: Person, secret: Secret) -> object:
    return person.ask(operations.REPLACE, ReplaceSecret(id=secret.id, values={"mine": SecretText(f"{CANARY}-mine")}))


def _rename(person: Person, secret: Secret) -> object:
    return person.update(secret.id, {"mine": f"{CANARY}-mine"}, name="renamed")


CHANGES = {"update": _update, "replace": _replace, "update and rename": _rename}


@pytest.mark.parametrize("change", CHANGES)
def test_a_lost_race_asks_the_stores_without_locks(local_settings: Settings, change: str) -> None:
    """However often others are faster: each call of a store finds no open transaction, and each put is announced durably before."""
    shelf = WatchedShelf()

    def stores(_: Settings, deployment_id: str) -> Sequence[ConfiguredStore]:
        return [ConfiguredStore("primary", "memory", 1, GuardedStore(MemorySecretsStore(deployment_id, shelf)))]

    service, rival = Service(local_settings, stores), Service(local_settings, stores)
    try:
        person = add_person(service, "alice")
        secret = person.create("s", {"k": f"{CANARY}-k"})
        others = Person(rival, person.actor)
        held, races = [], iter(range(RACES))

        def before() -> None:
            held.append(service.deployment.database._begun() is not None)
            if not held[-1] and (race := next(races, None)) is not None:
                others.update(secret.id, description=f"rival {race}")

        shelf.before = before
        CHANGES[change](person, secret)
        shelf.before = lambda: None
        assert len(held) > RACES
        assert not any(held)
        assert person.get(secret.id).keys[-1] == "mine"
        with service.deployment.database.read() as connection:
            assert connection.execute(select(func.count()).select_from(intents)).scalar_one() == 0
            assert connection.execute(select(func.count()).select_from(placements)).scalar_one() == person.get(secret.id).version
    finally:
        service.close()
        rival.close()
