"""How often somebody may try a password.

Three counts in the database, which all processes share. That of a user from one address is small: it is what stops guessing, and
whoever runs into it keeps nobody else out, the user at another address least of all. That of an address over all users stops going
through names. That of a user over all addresses is large: it bounds what many addresses together can guess, at the price that so many
of them can keep the user from logging in while they go on. Logins that there are, and API keys, are not affected by any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

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
_TRIES = 20


class Throttle:
    """Counts failures. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_login(self, username: str, address: str) -> None:
        """Counts an attempt as a failure until it succeeds. `TooManyRequests` beyond a limit, also for the right password.

        It is counted before the password is looked at, durably and atomically: of attempts at the same moment no more than the limit
        get that far. A refused attempt costs one query and counts nothing.
        """
        here, of_address, of_user = _of_login(username, address)
        self._begin(
            _Limit(here, MAX_FAILURES, "for this user from this address"),
            _Limit(of_address, MAX_FAILURES_OF_ADDRESS, "from this address"),
            _Limit(of_user, MAX_FAILURES_OF_USER, "for this user"),
        )

    def login_succeeded(self, username: str, address: str) -> None:
        """Takes the attempt back, and forgets the failures of the user at this address.

        The other counts lose the attempt alone: another client may still be guessing.
        """
        here, *others = _of_login(username, address)
        with self._database.write() as connection:
            for subject in sorted((here, *others)):
                if subject == here:
                    index.forget_failures(connection, subject)
                else:
                    index.take_failure_back(connection, subject)

    def begin_change(self, user_id: str) -> None:
        """Counts an attempt to give one's password again, which nobody without a token can drive up. `TooManyRequests`."""
        self._begin(_Limit(_subject("change", user_id), MAX_FAILURES, "to give the current password"))

    def change_succeeded(self, user_id: str) -> None:
        """Takes the attempt back."""
        with self._database.write() as connection:
            index.take_failure_back(connection, _subject("change", user_id))

    def _begin(self, *limits: _Limit) -> None:
        subjects = sorted(limit.subject for limit in limits)  # in one order, so that no two wait for each other
        with self._database.read() as connection:
            _refuse(limits, index.failures_of(connection, subjects, _window()), 0)
        for _ in range(_TRIES):
            try:
                with self._database.write(apart=True) as connection:
                    for subject in subjects:
                        index.add_failure(connection, subject, since=_window(), now=now())
                    _refuse(limits, index.failures_of(connection, subjects, _window()), 1)
            except (ConstraintViolated, Deadlocked):  # two processes counted the first failure of a subject at once
                continue
            else:
                return
        raise Unavailable("the login cannot be counted", hint="try again")


class _Limit(NamedTuple):
    subject: str
    most: int
    whose: str


def _window() -> int:
    return now() - WINDOW_SECONDS * _SECOND


def _refuse(limits: Sequence[_Limit], counted: Mapping[str, tuple[int, int]], own: int) -> None:
    """`TooManyRequests` where an attempt is beyond a limit; `own` says whether it is among those that were counted."""
    for limit in limits:
        failures, since = counted.get(limit.subject, (0, 0))
        if failures - own >= limit.most:
            wait = max(1, (since - _window()) // _SECOND)
            raise TooManyRequests(f"too many failed attempts {limit.whose}", hint=f"try again in {wait} seconds", retry_after=wait)


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
