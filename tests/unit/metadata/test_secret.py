"""The index of secrets."""

from __future__ import annotations

from sqlalchemy import select

from strongroom.db.tables import secrets
from strongroom.metadata.secret import SecretIndex, SecretRow
from strongroom.models.secret import Scope
from strongroom.service.wiring import Service
from tests.people import Person


def test_a_secret_that_has_moved_on_is_not_advanced(service: Service, alice: Person) -> None:
    """Compare-and-set fails after an update, after an update that was rolled back, after a change of scope and after a delete."""
    index = SecretIndex(service.store, service.deployment.binding)
    made = alice.create("s", {"k": "v"})

    def known() -> SecretRow:
        with service.deployment.database.read() as connection:
            row = index.find_by_id(connection, alice.actor.workspace_id, alice.actor.user_id, made.id)
        assert row is not None
        return row

    def advances(row: SecretRow) -> bool:
        with service.deployment.database.write() as connection:
            return index.advance(connection, row, {"description": "changed"})

    assert advances(known())
    before = known()
    alice.update(made.id, {"k": "w"})
    assert not advances(before)
    before = known()
    alice.update(made.id, {"k": "x"})
    alice.rollback(made.id, before.current_version)
    assert known().current_version == before.current_version
    assert not advances(before)
    before = known()
    alice.update(made.id, scope=Scope.USER)
    assert not advances(before)
    before = known()
    alice.delete(made.id)
    assert not advances(before)
    with service.deployment.database.read() as connection:
        assert connection.execute(select(secrets.c.id)).all() == []


def test_a_secret_that_has_moved_on_is_not_deleted(service: Service, alice: Person) -> None:
    """A delete that comes after a change of scope finds nothing, so that nobody deletes what they may no longer see."""
    index = SecretIndex(service.store, service.deployment.binding)
    made = alice.create("s", {"k": "v"})
    with service.deployment.database.read() as connection:
        before = index.find_by_id(connection, alice.actor.workspace_id, alice.actor.user_id, made.id)
    assert before is not None
    alice.update(made.id, scope=Scope.USER)
    with service.deployment.database.write() as connection:
        assert index.delete(connection, before) is None
    assert alice.get(made.id).scope is Scope.USER
