"""How often somebody may try a password."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, update

from strongroom.auth.actor import Actor
from strongroom.db.tables import login_failures
from strongroom.errors import TooManyRequests, Unauthenticated
from strongroom.models.user import ChangePassword
from strongroom.operations import user as operations
from strongroom.redaction import SecretText
from strongroom.service import identity
from strongroom.service.throttle import MAX_FAILURES, MAX_FAILURES_OF_ADDRESS, MAX_FAILURES_OF_USER, WINDOW_SECONDS, Throttle
from strongroom.service.wiring import Service
from tests.accounts import OTHER, PASSWORD, add_user, call, log_in
from tests.people import together

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@pytest.fixture
def root(service: Service) -> Actor:
    """Whoever administers the store."""
    return service.local_actor


def fail(service: Service, name: str, address: str, times: int) -> None:
    """Counts failures without hashing anything."""
    for _ in range(times):
        Throttle(service.deployment.database).begin_login(name, address)


def test_guessing_ends_where_it_is_done(service: Service, root: Actor) -> None:
    """After some failures not even the right password is looked at, from there; elsewhere and for others all goes on."""
    add_user(service, root, "alice")
    add_user(service, root, "bob")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            log_in(service, "alice", OTHER, HERE)
    fail(service, "alice", HERE, MAX_FAILURES - 2)
    with pytest.raises(TooManyRequests) as caught:
        log_in(service, "alice", address=HERE)
    assert 0 < caught.value.retry_after <= WINDOW_SECONDS
    assert log_in(service, "alice", address=ELSEWHERE)
    assert log_in(service, "bob", address=HERE)


def test_success_starts_anew(service: Service, root: Actor) -> None:
    """Whoever mistypes now and then is never refused."""
    add_user(service, root, "alice")
    for _ in range(3):
        fail(service, "alice", HERE, MAX_FAILURES - 1)
        log_in(service, "alice", address=HERE)


@pytest.mark.parametrize(
    ("addresses", "other"),
    [
        ([HERE], ELSEWHERE),
        ([HERE, f"::ffff:{HERE}"], "::ffff:198.51.100.7"),
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "2001:db8:1:2::1%eth0"], "2001:db8:1:3::1"),
    ],
    ids=["IPv4", "IPv4 in IPv6", "IPv6"],
)
def test_an_address_cannot_go_through_names(local_service: Service, addresses: list[str], other: str) -> None:
    """Trying many names from one address ends as well, and a network of IPv6 counts as one; other addresses go on."""
    add_user(local_service, local_service.local_actor, "alice")
    for number in range(MAX_FAILURES_OF_ADDRESS):
        fail(local_service, f"user{number}", addresses[number % len(addresses)], 1)
    for address in addresses:
        with pytest.raises(TooManyRequests, match="from this address"):
            log_in(local_service, "alice", address=address)
    assert log_in(local_service, "alice", address=other)


def test_many_addresses_cannot_guess_for_ever(local_service: Service) -> None:
    """What all addresses together may try of a user is bounded, whoever succeeds meanwhile; that ends with the window."""
    add_user(local_service, local_service.local_actor, "alice")
    for number in range(MAX_FAILURES_OF_USER - 1):
        fail(local_service, "alice", f"192.0.2.{number}", 1)
    log_in(local_service, "alice", address=ELSEWHERE)
    fail(local_service, "alice", "203.0.113.9", 1)
    with pytest.raises(TooManyRequests, match="for this user"):
        log_in(local_service, "alice", address=ELSEWHERE)


def test_the_window_of_failures_passes(service: Service, root: Actor) -> None:
    """When the window is over, the user may try again, and what was counted is dropped with the next failure."""
    add_user(service, root, "alice")
    fail(service, "alice", HERE, MAX_FAILURES)
    with service.deployment.database.write() as connection:  # as if it had been so long ago
        connection.execute(update(login_failures).values(since=login_failures.c.since - WINDOW_SECONDS * 1_000_000))
    assert log_in(service, "alice", address=HERE)
    fail(service, "bob", ELSEWHERE, 1)
    with service.deployment.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(login_failures)).scalar_one() == 3


def test_strangers_do_not_keep_users_from_changing_their_password(local_service: Service) -> None:
    """Failed logins do not count when somebody who is logged in gives their password again; wrong ones there are limited too."""
    alice = add_user(local_service, local_service.local_actor, "alice")
    for number in range(MAX_FAILURES_OF_USER):
        fail(local_service, "alice", f"192.0.2.{number}", 1)
    change = ChangePassword(current=SecretText(PASSWORD), new=SecretText(OTHER))
    call(local_service, operations.CHANGE_PASSWORD, change, alice)
    for _ in range(MAX_FAILURES):
        Throttle(local_service.deployment.database).begin_change(alice.user_id)
    with pytest.raises(TooManyRequests):
        call(local_service, operations.CHANGE_PASSWORD, change, alice)


def test_failures_at_once_are_all_counted(service: Service) -> None:
    """Of many first failures that come together none is lost, and none is answered with anything else."""
    assert together(5, lambda number: fail(service, "alice", HERE, 2)) == [None] * 5
    with service.deployment.database.read() as connection:
        assert sorted(connection.execute(select(login_failures.c.failures)).scalars()) == [10, 10, 10]


def test_attempts_at_once_do_not_get_past_the_limit(service: Service, root: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many wrong passwords that come together, no more than the limit are compared."""
    add_user(service, root, "alice")
    compared: list[str] = []

    def compare(hashed: str | None, password: str) -> bool:
        compared.append(password)
        return False

    monkeypatch.setattr(identity, "fits", compare)

    def guess(number: int) -> str:
        outcomes = set()
        for _ in range(4):
            try:
                log_in(service, "alice", OTHER, HERE)
            except (Unauthenticated, TooManyRequests) as error:
                outcomes.add(error.code)
        return " ".join(outcomes)

    outcomes = together(8, guess)
    assert len(compared) == MAX_FAILURES
    assert {code for each in outcomes for code in each.split()} == {"unauthenticated", "rate_limited"}


def test_logins_that_succeed_count_nothing(service: Service, root: Actor) -> None:
    """However many, one after the other: neither the user nor the address is refused, and no count is left."""
    add_user(service, root, "alice")
    throttle = Throttle(service.deployment.database)
    for _ in range(2 * MAX_FAILURES_OF_USER):
        throttle.begin_login("alice", HERE)
        throttle.login_succeeded("alice", HERE)
    for _ in range(2 * MAX_FAILURES):
        throttle.begin_change("alice")
        throttle.change_succeeded("alice")
    with service.deployment.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(login_failures)).scalar_one() == 0


def test_the_oldest_session_of_a_user_ends(service: Service, root: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user has so many sessions; the next login ends the oldest, and no session of anybody else."""
    monkeypatch.setattr(identity, "MAX_SESSIONS", 3)
    add_user(service, root, "alice")
    add_user(service, root, "bob")
    others = log_in(service, "bob")
    sessions = [log_in(service, "alice") for _ in range(5)]
    alive = []
    for token in (others, *sessions):
        try:
            service.identities.authenticate(token)
        except Unauthenticated:
            alive.append(False)
        else:
            alive.append(True)
    assert alive == [True, False, False, True, True, True]
