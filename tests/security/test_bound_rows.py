"""An attacker with the database, but without the key, can neither have an old version served nor see which values are equal."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import text

from strongroom.client import Client
from strongroom.config import Settings
from strongroom.db.clock import now
from strongroom.db.engine import Database
from strongroom.errors import ValuesCorrupt
from strongroom.models.reference import Reference, ResolveReferences
from strongroom.operations.secret import RESOLVE
from strongroom.redaction import SecretText
from strongroom.service.wiring import Service
from tests.canary import CANARY, holds_canary
from tests.former import digests, make_former, set_schema_back
from tests.people import Person

OLD, NEW, OTHER = f"{CANARY}-old", f"{CANARY}-new", f"{CANARY}-other"
POINTER = ("current_version", "last_version", "updated")


class Writer:
    """Writes to the database behind strongroom's back."""

    def __init__(self, settings: Settings) -> None:
        self.database = Database(settings.database_url)

    def row(self, secret_id: str) -> dict[str, Any]:
        """A secret's row."""
        with self.database.read() as connection:
            return dict(connection.execute(text("SELECT * FROM secrets WHERE id = :id"), {"id": secret_id}).mappings().one())

    def put(self, secret_id: str, **columns: Any) -> None:
        """Overwrites columns of it."""
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        with self.database.write() as connection:
            found = connection.execute(text(f"UPDATE secrets SET {changes} WHERE id = :id"), {**columns, "id": secret_id})
            assert found.rowcount <= 1


@pytest.fixture
def writer(settings: Settings) -> Iterator[Writer]:
    """On each database in turn."""
    writer = Writer(settings)
    yield writer
    writer.database.close()


def secret_of_three(client: Client, name: str = "s") -> str:
    secret = client.create_secret(name, {"k": OLD})
    client.update_secret(name, add_or_update_values={"k": NEW})
    client.update_secret(name, add_or_update_values={"k": OTHER})
    return secret.id


def test_no_column_of_the_pointer_can_be_changed(client: Client, writer: Writer) -> None:
    """Each way to set back, forward or remove any of its columns, alone or together, is refused for a read and for an update.

    Rolling back says which version is right, and mends it. Nothing that was refused holds a value.
    """
    secret_id = secret_of_three(client)
    good = writer.row(secret_id)
    other = writer.row(client.create_secret("other", {"k": OTHER}).id)
    values: dict[str, list[Any]] = {
        "current_version": [1, 2],
        "last_version": [1, 2, 7],
        "updated": [good["created"], good["updated"] - 1, good["updated"] + 1],
        "pointer_mark": [None, b"", bytes(32), os.urandom(32), other["pointer_mark"], bytes(good["pointer_mark"])[:31]],
    }
    tried = 0
    for names in itertools.chain.from_iterable(itertools.combinations(values, size) for size in (1, 2, 3, 4)):
        for chosen in itertools.product(*(values[name] for name in names)):
            changes = dict(zip(names, chosen, strict=True))
            writer.put(secret_id, **changes)
            tried += 1
            calls: list[Callable[[], Any]] = [
                lambda: client.get_secret(secret_id),
                lambda: client.get_secret("s"),
            ]
            if tried % 10 == 0:
                calls += [
                    lambda: client.update_secret(secret_id, add_or_update_values={"l": "x"}),
                    lambda: client.update_secret(secret_id, description="x"),
                    lambda: client.update_secret(secret_id, new_name="t"),
                ]
            for call in calls:
                with pytest.raises(ValuesCorrupt) as caught:
                    call()
                assert not holds_canary(f"{caught.value} {caught.value.hint}")
            writer.put(secret_id, **good)
    assert tried == 335
    assert client.get_secret("s").secret_values == {"k": OTHER}
    writer.put(secret_id, current_version=1, last_version=1)
    assert client.rollback_secret(secret_id, 3).version == 3
    assert client.get_secret("s").secret_values == {"k": OTHER}
    assert client.update_secret("s", add_or_update_values={"k": NEW}).version == 4


def test_a_name_cannot_be_given_to_another_secret(client: Client, writer: Writer) -> None:
    """A secret that was renamed, or made private or public, in the database is not served under that name."""
    ids = [client.create_secret(name, {"k": value}).id for name, value in (("one", OLD), ("two", NEW))]
    mine = client.create_secret("mine", {"k": OTHER}, scope="user")
    writer.put(ids[0], name="three")
    writer.put(ids[1], name="one")
    writer.put(mine.id, private_to="")
    for name in ("one", "three", "mine"):
        with pytest.raises(ValuesCorrupt):
            client.get_secret(name)
    for secret_id in (*ids, mine.id):
        client.delete_secret(secret_id)


def test_references_are_refused_alike(alice: Person, service: Service, settings: Settings) -> None:
    """A resolution of many references gives the values of good rows, and refuses the others by themselves."""
    ids = {name: alice.create(name, {"k": OLD}).id for name in ("good", "bad", "worse")}
    for secret_id in ids.values():
        alice.update(secret_id, {"k": NEW})
    writer = Writer(settings)
    writer.put(ids["bad"], current_version=1)
    writer.put(ids["worse"], pointer_mark=None)
    writer.database.close()
    request = ResolveReferences(references=[Reference(name, "k") for name in ids])
    items = alice.ask(RESOLVE, request).items
    assert {item.name: isinstance(item.value, SecretText) for item in items} == {"good": True, "bad": False, "worse": False}


def test_equal_values_have_different_digests(client: Client, settings: Settings) -> None:
    """Of secrets, versions, keys and scopes with equal values, no two rows show an equal digest, however they came to be."""
    for number in range(20):
        client.create_secret(f"s{number}", {"k": OLD})
        client.create_secret(f"s{number}", {"k": OLD}, scope="user")
    for value in (NEW, OLD, NEW, OLD):
        client.update_secret("s1", scope="workspace", add_or_update_values={"k": value})
    client.delete_secret("s2", scope="workspace")
    client.create_secret("s2", {"k": OLD}, scope="workspace")
    with closing(Service(settings)) as service:
        found = Counter(digests(service))
    assert len(found) >= 40
    assert max(found.values()) == 1


def test_a_former_deployment_is_bound_by_its_upgrade(settings: Settings) -> None:
    """One of the version before has all its secrets, versions and rollbacks afterwards, and the same protection."""
    with Client(settings) as client:
        secret_of_three(client)
        secret_of_three(client, "rolled-back")
        client.rollback_secret("rolled-back", 2)
        for number in range(5):
            client.create_secret(f"equal{number}", {"k": OLD})
    make_former(settings)
    with Client(settings) as client:
        assert client.get_secret("s").secret_values == {"k": OTHER}
        assert client.get_secret("s", version=1).secret_values == {"k": OLD}
        assert client.get_secret("rolled-back").secret_values == {"k": NEW}
        secret_id = client.get_secret("s").id
        assert client.update_secret("s", add_or_update_values={"k": NEW}).version == 4
    with closing(Service(settings)) as service:
        assert max(Counter(digests(service)).values()) == 1
    writer = Writer(settings)
    writer.put(secret_id, current_version=1)
    writer.database.close()
    with Client(settings) as client, pytest.raises(ValuesCorrupt):
        client.get_secret("s")


def test_a_row_cannot_be_made_to_look_former(settings: Settings) -> None:
    """Taking marks away and telling strongroom to upgrade once more gains nothing: rows are bound once, under the key."""
    with Client(settings) as client:
        secret_id = secret_of_three(client)
    writer = Writer(settings)
    writer.put(secret_id, current_version=1)
    with writer.database.write() as connection:
        set_schema_back(connection)
    writer.database.close()
    with Client(settings) as client:
        for call in (client.get_secret, lambda of: client.update_secret(of, description="x")):
            with pytest.raises(ValuesCorrupt):
                call(secret_id)
        assert client.get_secret(secret_id, version=3).secret_values == {"k": OTHER}


def test_an_older_copy_of_the_whole_row(client: Client, settings: Settings, writer: Writer) -> None:
    """A row that is put back with its mark is served, and `audit verify` tells of it, by the version that the trail recorded."""
    secret_id = client.create_secret("s", {"k": OLD}).id
    old = writer.row(secret_id)
    created = now()
    while now() - created < 2_100_000:  # the clocks of servers are trusted as far as that
        time.sleep(0.02)
    client.update_secret("s", add_or_update_values={"k": NEW})
    client.create_secret("other", {"k": NEW})
    client.update_secret("other", add_or_update_values={"k": OLD})
    client.rollback_secret("other", 1)
    assert client.verify_audit().valid
    writer.put(secret_id, **old)
    assert client.get_secret("s").secret_values == {"k": OLD}
    report = client.verify_audit()
    assert not report.valid
    (problem,) = report.problems
    assert secret_id in problem.reason
    client.rollback_secret("s", 2)
    assert client.verify_audit().valid
