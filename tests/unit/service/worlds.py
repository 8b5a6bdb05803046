"""Deployments whose values lie on shelves, which can be told to fail."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import time_machine
from sqlalchemy import func, select

from strongroom.config import Settings
from strongroom.db.tables import copies, deletions, intents, placements, sql_values
from strongroom.secrets_stores.base import SecretsStore, is_own
from strongroom.secrets_stores.breaker import Breaker
from strongroom.secrets_stores.guarded import GuardedStore
from strongroom.secrets_stores.memory import MemorySecretsStore, Shelf
from strongroom.service.placements import WRITE_SECONDS, ConfiguredStore
from strongroom.service.reconciler import MARGIN_SECONDS
from strongroom.service.wiring import Service
from tests.people import add_person

_numbers = itertools.count()
PAST_ALL_DEADLINES = WRITE_SECONDS + MARGIN_SECONDS + 1


def guarded(store: SecretsStore) -> GuardedStore:
    """Asked three times, without pauses, and never left alone: so that tests are quick, and say what they mean."""
    return GuardedStore(store, sleep=lambda _: None, breaker=Breaker(failures=math.inf))


class World:
    """A deployment with its stores, the first one the primary: shelves, and None for the database. Alice works with it."""

    def __init__(self, settings: Settings, *places: Shelf | None, kind: Callable[..., SecretsStore] = MemorySecretsStore) -> None:
        self.shelves = [each for each in places if each is not None]

        def opened(_: Settings, deployment_id: str) -> list[ConfiguredStore]:
            stores = [None if shelf is None else guarded(kind(deployment_id, shelf)) for shelf in places]
            return [
                ConfiguredStore(role, "sql" if store is None else "memory", 1, store)
                for role, store in zip(("primary", "backup"), stores, strict=False)
            ]

        self.service = Service(settings, opened)
        self.alice = add_person(self.service, f"alice{next(_numbers)}")

    def on(self, shelf: Shelf) -> int:
        """How many versions lie on a shelf."""
        return len(self.locators_on(shelf))

    def locators_on(self, shelf: Shelf) -> list[str]:
        """Where they lie, but for what belongs to no secret."""
        return locators_of(MemorySecretsStore(self.service.deployment.id, shelf))

    def count(self, table: Any, *conditions: Any) -> int:
        """How many rows a table has."""
        with self.service.deployment.database.read() as connection:
            return connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one()

    def reconcile(self, later: float = PAST_ALL_DEADLINES) -> None:
        """What a server does all the time, so much later."""
        with time_machine.travel(time.time() + later, tick=False):
            assert self.service.reconciler.run(30) is not None
            self.service.reconciler.give_lease_back()

    def is_clean(self) -> bool:
        """Nothing lies anywhere that no secret names, and nothing is left to do."""
        self.reconcile()
        present = self.count(placements, placements.c.state == "present")
        left = self.count(intents), self.count(deletions), self.count(copies)
        return (left, sum(map(self.on, self.shelves)) + self.count(sql_values)) == ((0, 0, 0), present)


def locators_of(store: SecretsStore) -> list[str]:
    """Where versions of secrets lie in a store that describes them."""
    return [found.locator for page in store.scan(seconds=30) for found in page if found.about is None or not is_own(found.about)]


def later_than_now(seconds: float) -> float:
    """A moment, in seconds since 1970."""
    return time.time() + seconds
