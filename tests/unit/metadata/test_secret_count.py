"""Counted stretches give exact totals and positions."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update

from strongroom.db.identifiers import new_id
from strongroom.db.tables import secret_counts, secrets
from strongroom.metadata import secret_count
from strongroom.models.secret import Scope
from strongroom.service.wiring import Service
from tests.people import Person, add_person

Model = dict[str, list[str]]  # ids in order, by namespace
STEP = st.tuples(st.sampled_from(["insert", "insert", "insert", "remove", "move"]), st.integers(0, 1), st.integers(0, 10**6))


class Undo(Exception):
    """Ends a transaction that is to leave nothing."""


@contextmanager
def undone(service: Service) -> Iterator[Connection]:
    """A transaction that is undone in the end."""
    with suppress(Undo), service.deployment.database.write() as connection:
        yield connection
        raise Undo


def insert_secret(connection: Connection, person: Person, namespace: str, secret_id: str, longest: int) -> None:
    connection.execute(
        insert(secrets).values(
            id=secret_id,
            workspace_id=person.actor.workspace_id,
            private_to=namespace,
            name=secret_id,
            owner_id=person.actor.user_id,
            created_by_id=person.actor.user_id,
            description="",
            labels="{}",
            current_version=1,
            last_version=1,
            created=1,
            updated=1,
        )
    )
    secret_count.add(connection, person.actor.workspace_id, namespace, secret_id, longest)


def check(connection: Connection, person: Person, model: Model) -> None:
    """Totals, and the position of every secret, in each namespace and in both together."""
    both = sorted(model)
    for namespaces in ([both[0]], [both[1]], both, both[::-1]):
        wanted = sorted(secret_id for namespace in namespaces for secret_id in model[namespace])
        sizes = secret_count.totals(connection, person.actor.workspace_id, namespaces)
        assert sizes == {namespace: len(model[namespace]) for namespace in namespaces if model[namespace]}
        for index, secret_id in enumerate(wanted):
            for near in (1, secret_count.NEAR):
                first_id, skip = secret_count.position(connection, person.actor.workspace_id, sizes, index, near)
                assert skip >= 0
                assert wanted[bisect.bisect_left(wanted, first_id) + skip] == secret_id


def run(service: Service, person: Person, longest: int, steps: list[tuple[str, int, int]]) -> None:
    workspace_id = person.actor.workspace_id
    model: Model = {"": [], person.actor.user_id: []}
    with undone(service) as connection:
        for verb, side, number in steps:
            here, there = sorted(model) if side else sorted(model, reverse=True)
            if verb == "insert":
                # Mostly at the end, as ids are made, but now and then anywhere, as clocks and changes of scope have it.
                secret_id = new_id() if number % 4 else f"{number % 1000:08x}" + new_id()[8:]
                insert_secret(connection, person, here, secret_id, longest)
                bisect.insort(model[here], secret_id)
            elif model[here]:
                secret_id = model[here].pop(number % len(model[here]))
                if verb == "remove":
                    connection.execute(delete(secrets).where(secrets.c.id == secret_id))
                    secret_count.remove(connection, workspace_id, here, secret_id)
                else:
                    connection.execute(update(secrets).where(secrets.c.id == secret_id).values(private_to=there))
                    secret_count.move(connection, workspace_id, here, there, secret_id, longest)
                    bisect.insort(model[there], secret_id)
        check(connection, person, model)
        for namespace, ids in model.items():
            mine = (secret_counts.c.workspace_id == workspace_id, secret_counts.c.private_to == namespace)
            sizes = list(connection.execute(select(secret_counts.c.size).where(*mine)).scalars())
            assert sum(sizes) == len(ids)
            assert all(0 <= size <= longest + 1 for size in sizes)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_totals_and_positions_are_exact(service: Service, alice: Person) -> None:
    """Whatever is inserted, removed or moved between two namespaces, every secret is found at its position."""

    @given(st.integers(1, 6), st.lists(STEP, max_size=60))
    @settings(max_examples=150)
    def explore(longest: int, steps: list[tuple[str, int, int]]) -> None:
        run(service, alice, longest, steps)

    explore()


@pytest.mark.parametrize("settings", ["postgresql", "mariadb"], indirect=True)
def test_totals_and_positions_are_exact_on_servers(service: Service, alice: Person) -> None:
    """The same on the other databases."""

    @given(st.integers(1, 6), st.lists(STEP, min_size=20, max_size=60))
    @settings(max_examples=10)
    def explore(longest: int, steps: list[tuple[str, int, int]]) -> None:
        run(service, alice, longest, steps)

    explore()


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_far_position_skips_little(service: Service, alice: Person) -> None:
    """Where secrets come in the order of creation, no position is further than a stretch from a counted place."""
    with undone(service) as connection:
        namespaces = ["", alice.actor.user_id]
        for number in range(200):
            insert_secret(connection, alice, namespaces[number % 3 == 0], new_id(), 10)
        sizes = secret_count.totals(connection, alice.actor.workspace_id, namespaces)
        positions = [secret_count.position(connection, alice.actor.workspace_id, sizes, index) for index in range(200)]
        assert max(skip for _, skip in positions) <= 20


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_old_secrets_that_change_scope_do_not_fray_the_stretches(service: Service, alice: Person) -> None:
    """Ids that come in any order leave about as many rows of counts as ids that come in theirs."""
    with undone(service) as connection:
        ids = sorted(new_id() for _ in range(300))
        for secret_id in reversed(ids):
            insert_secret(connection, alice, "", secret_id, 10)
        rows = connection.execute(select(func.count()).select_from(secret_counts)).scalar_one()
        assert rows <= 2 * len(ids) / 10 + 2


def test_counts_stay_exact_under_concurrent_writers(service: Service, alice: Person) -> None:
    """Eight threads insert, move both ways and remove at once: nobody is refused, and every position is exact in the end."""
    namespaces = ["", alice.actor.user_id]
    first = {new_id(): namespace for namespace in namespaces}
    with service.deployment.database.write() as connection:
        for secret_id, namespace in first.items():
            insert_secret(connection, alice, namespace, secret_id, 3)

    def work(seed: int) -> dict[str, str]:
        choose, mine = random.Random(seed), {}
        for _ in range(40):
            with service.deployment.database.write() as connection:
                if len(mine) < 4 or choose.random() < 0.4:
                    secret_id, here = new_id(), choose.choice(namespaces)
                    insert_secret(connection, alice, here, secret_id, 3)
                    mine[secret_id] = here
                elif choose.random() < 0.7:
                    secret_id, here = choose.choice(list(mine.items()))
                    mine[secret_id] = there = namespaces[here == ""]
                    connection.execute(update(secrets).where(secrets.c.id == secret_id).values(private_to=there))
                    secret_count.move(connection, alice.actor.workspace_id, here, there, secret_id, 3)
                else:
                    secret_id, here = mine.popitem()
                    connection.execute(delete(secrets).where(secrets.c.id == secret_id))
                    secret_count.remove(connection, alice.actor.workspace_id, here, secret_id)
        return mine

    with ThreadPoolExecutor(8) as pool:
        left = [item for mine in [first, *pool.map(work, range(8))] for item in mine.items()]
    model = {namespace: sorted(secret_id for secret_id, here in left if here == namespace) for namespace in namespaces}
    with service.deployment.database.snapshot() as connection:
        check(connection, alice, model)


def test_a_service_counts_what_it_does(service: Service, alice: Person) -> None:
    """Creates, deletes and changes of scope through the service keep the counts right."""
    bob = add_person(service, "bob")
    made = [alice.create(f"s{number}", {"k": "x"}) for number in range(4)]
    alice.update(made[0].id, scope=Scope.USER)
    bob.delete(made[1].id)
    assert (alice.list().total, bob.list().total, alice.list(scope=Scope.USER).total) == (3, 2, 1)
    alice.update(made[0].id, scope=Scope.WORKSPACE)
    alice.update(made[0].id, name="t")
    assert (alice.list().total, bob.list().total, alice.list(scope=Scope.USER).total) == (3, 3, 0)
