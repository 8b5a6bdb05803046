"""Leases, on every database."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sqlalchemy import text, update

from strongroom.db.clock import database_time
from strongroom.db.process_identity import is_dead, process_identity
from strongroom.db.tables import leases
from strongroom.metadata import lease
from strongroom.service.wiring import Service

SECONDS = 60


def take(service: Service, holder: str) -> bool:
    with service.deployment.database.write() as connection:
        return lease.take(connection, "l", holder, SECONDS)


def shift(service: Service, seconds: float) -> None:
    """Moves the end of the lease, as a process with another clock would have set it."""
    with service.deployment.database.write() as connection:
        connection.execute(update(leases).values(until=leases.c.until + int(seconds * 1_000_000)))


def test_a_lease_has_one_holder(service: Service) -> None:
    """Another process gets it when it was given back or has ended; its holder may prolong it."""
    assert take(service, "a")
    assert not take(service, "b")
    assert take(service, "a")
    with service.deployment.database.write() as connection:
        assert lease.holder_of(connection, "l", SECONDS) == "a"
        lease.give_back(connection, "l", "b")
        assert lease.holder_of(connection, "l", SECONDS) == "a"
        lease.give_back(connection, "l", "a")
        assert lease.holder_of(connection, "l", SECONDS) is None
    assert take(service, "b")
    shift(service, -SECONDS - 1)
    assert take(service, "a")
    assert not take(service, "b")


@pytest.mark.parametrize("ahead", [2, 3_600, 20 * 365 * 86_400])
def test_a_lease_of_a_wrong_clock_is_none(service: Service, ahead: float) -> None:
    """One that ends further ahead than its length, by the database's clock, is free: for seconds, an hour or years."""
    assert take(service, "a")
    shift(service, ahead)
    with service.deployment.database.read() as connection:
        assert lease.holder_of(connection, "l", SECONDS) is None
    assert take(service, "b")
    with service.deployment.database.read() as connection:
        row = connection.execute(text("SELECT until FROM leases WHERE name = 'l'")).scalar_one()
        assert abs(row - database_time(connection) - SECONDS * 1_000_000) < 30_000_000


@pytest.mark.skipif(not process_identity(), reason="this system does not tell when a process started")
def test_a_lease_of_a_dead_process_is_free(service: Service) -> None:
    """A process of the same machine that has ended holds nothing, at once; one that runs, or of another machine, does."""
    mine = process_identity()
    place, process = mine.split(" ")
    pid, started = process.split(":")
    ended = subprocess.run(
        [sys.executable, "-c", "from strongroom.db.process_identity import process_identity as p; print(p())"],
        stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    for identity, is_free in (
        (ended, True),
        (mine, False),
        (f"{place} {pid}:{int(started) - 1}", True),  # its id was given to another process since
        (f"elsewhere {ended.split(' ')[1]}", False),
        ("", False),
        (None, False),
    ):
        with service.deployment.database.write() as connection:
            lease.end(connection, "l")
            assert lease.take(connection, "l", "a", SECONDS)
            connection.execute(update(leases).values(process=identity))
            assert (lease.holder_of(connection, "l", SECONDS) is None) is is_free
            assert lease.take(connection, "l", "b", SECONDS) is is_free


@pytest.mark.skipif(not process_identity(), reason="this system does not tell when a process started")
def test_a_zombie_is_dead() -> None:
    """A process that has ended and was not waited for yet counts as ended."""
    child = subprocess.Popen([sys.executable, "-c", "from strongroom.db.process_identity import process_identity as p; print(p())"],
                             stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert child.stdout is not None
    identity = child.stdout.read().strip()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(identity)
    child.wait()
    child.stdout.close()


def test_notes_are_no_leases(service: Service) -> None:
    """A note stays until it is written over."""
    with service.deployment.database.write() as connection:
        assert lease.find_note(connection, "n") is None
        for wanted in ("one", "two"):
            lease.note(connection, "n", wanted)
            assert lease.find_note(connection, "n") == wanted
