"""How often somebody may try a password.

Three counts in the database, which all processes share. That of a user from one address is small: it is what stops guessing, and
whoever runs into it keeps nobody else out, the user at another address least of all. That of an address over all users stops going
through names. That of a user over all addresses is large: it bounds what many addresses together can guess, at the price that so many
of them can keep the user from logging in while they go on. Logins that there are, and API keys, are not affected by any.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, ip_address

from strongroom.db.clock import now
from strongroom.db.engine import ConstraintViolated, Database, Deadlocked
from strongroom.errors import TooManyRequests, Unavailable
from strongroom.metadata import identity as index

WINDOW_SECONDS = 15 * 60
"""Counts start anew so long after the first failure: nobody is kept out for longer by failures that have ended."""

MAX_FAILURES = 10
MAX_FAILURES_OF_ADDRESS = 50
MAX_FAILURES_OF_USER = 100
_SECOND = 1_000_000


class Throttle:
    """Counts failures. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def refuse_login(self, username: str, address: str) -> None:
        """`TooManyRequests` before the password is looked at, also when it would be the right one. One query."""
        here, of_address, of_user = _of_login(username, address)
        self._refuse(
            (here, MAX_FAILURES, "for this user from this address"),
            (of_address, MAX_FAILURES_OF_ADDRESS, "from this address"),
            (of_user, MAX_FAILURES_OF_USER, "for this user"),
        )

    def login_failed(self, username: str, address: str) -> None:
        """Counts it, durably."""
        self._count(*_of_login(username, address))

    def login_succeeded(self, username: str, address: str) -> None:
        """Forgets the failures of the user at this address. The other counts stay: somebody else may be going on with them."""
        with self._database.write() as connection:
            index.forget_failures(connection, _of_login(username, address)[0])

    def refuse_change(self, user_id: str) -> None:
        """The same for whoever is logged in and gives their password again: a count that nobody without a token can drive up."""
        self._refuse((_subject("change", user_id), MAX_FAILURES, "to give the current password"))

    def change_failed(self, user_id: str) -> None:
        """Counts it."""
        self._count(_subject("change", user_id))

    def _refuse(self, *limits: tuple[str, int, str]) -> None:
        began = now() - WINDOW_SECONDS * _SECOND
        with self._database.read() as connection:
            found = index.failures_of(connection, [subject for subject, _, _ in limits], began)
        for subject, limit, whose in limits:
            failures, since = found.get(subject, (0, 0))
            if failures >= limit:
                wait = max(1, (since - began) // _SECOND)
                raise TooManyRequests(f"too many failed attempts {whose}", hint=f"try again in {wait} seconds", retry_after=wait)

    def _count(self, *subjects: str) -> None:
        for _ in range(5):
            try:
                with self._database.write(apart=True) as connection:
                    for subject in sorted(subjects):  # in one order, so that no two wait for each other
                        index.add_failure(connection, subject, since=now() - WINDOW_SECONDS * _SECOND, now=now())
            except (ConstraintViolated, Deadlocked):  # two processes counted the first failure of a subject at once
                continue
            else:
                return
        raise Unavailable("the failed login cannot be counted", hint="try again")


def _of_login(username: str, address: str) -> tuple[str, str, str]:
    place = _place(address)
    return _subject("login", username, place), _subject("address", place), _subject("user", username)


def _place(address: str) -> str:
    """What one attacker has of addresses: one of IPv4, a network of IPv6."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> 64)
    return str(parsed)


def _subject(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()
