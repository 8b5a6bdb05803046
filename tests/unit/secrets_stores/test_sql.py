"""The `sql` store keeps the promises of a secrets store, on every database. What it does is a part of the index's transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest
from sqlalchemy import select, update

from strongroom.db.engine import ConstraintViolated, Database
from strongroom.db.identifiers import new_id
from strongroom.db.tables import sql_values
from strongroom.errors import ValuesCorrupt, ValuesMissing
from strongroom.secrets_stores.base import About, Capabilities, Found, check_size
from strongroom.secrets_stores.conformance import Harness, SecretsStoreConformance
from strongroom.secrets_stores.sql import STORE_ID, Place, SqlSecretsStore
from strongroom.service.wiring import Service
from tests.canary import CANARY


class Alone:
    """The store by itself: each call is a transaction of its own.

    A place belongs to a secret and to the number of a version. Here that is number 1 of a secret whose id is the deployment's, which
    is how a scan tells deployments apart.
    """

    def __init__(self, database: Database, store: SqlSecretsStore, deployment_id: str) -> None:
        self._database, self._store, self._deployment_id = database, store, deployment_id
        self.store_id = STORE_ID
        self.capabilities = Capabilities(max_bytes=65_536, scan_describes=False)

    def new_locator(self, secret_id: str) -> str:
        return new_id()

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        check_size(values, self.capabilities)
        place = self._place(locator)
        sealed = self._store.seal(place, dict(values))
        try:
            with self._database.write() as connection:
                self._store.insert(connection, place, sealed)
        except ConstraintViolated:
            if self.get(locator, seconds=seconds) != values:
                raise ValuesCorrupt("others are there") from None

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        with self._database.read() as connection:
            row = connection.execute(select(*self._store.columns).where(sql_values.c.locator == locator)).one_or_none()
        if row is None:
            raise ValuesMissing("nothing is there")
        return self._store.unseal(self._place(locator), row)

    def delete(self, locator: str, *, seconds: float) -> None:
        with self._database.write() as connection:
            self._store.delete(connection, [locator])

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        after = ""
        while True:
            with self._database.read() as connection:
                rows = self._store.scan(connection, after, 1000)
            if not rows:
                return
            page = [Found(locator=place.locator) for place in rows if place.secret_id == self._deployment_id]
            if page:
                yield page
            after = rows[-1].locator

    def close(self) -> None:
        """The test's service is closed by itself."""

    def _place(self, locator: str) -> Place:
        return Place(self._deployment_id, 1, locator)


class TestSql(SecretsStoreConformance):
    """All that does not need a back end of its own."""

    value_prefix = CANARY

    @pytest.fixture
    def harness(self, service: Service) -> Harness:
        """Stores in the database of a deployment."""
        database = service.deployment.database

        def damage(locator: str) -> None:
            with database.write() as connection:
                connection.execute(update(sql_values).where(sql_values.c.locator == locator).values(sealed=b"x" * 80))

        return Harness(
            open=lambda deployment_id: Alone(database, service.store, deployment_id),
            other_credential=lambda deployment_id: Alone(database, SqlSecretsStore(service.deployment.keys), deployment_id),
            damage=damage,
        )
