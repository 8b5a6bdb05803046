"""Our errors for those of database drivers."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strongroom.db.patience import has_given_up
from strongroom.errors import StrongroomError, Unavailable

DatabaseError = DBAPIError | PoolTimeout
DATABASE_ERRORS = (DBAPIError, PoolTimeout)


class ConstraintViolated(StrongroomError):
    """A write broke a uniqueness or foreign key rule of the database; all of its transaction is undone.

    Caught where the rule is known and can be named.
    """

    code = "conflict"
    status = 409


class Unanswered(Unavailable):
    """The database did not answer in time, or the connection was lost meanwhile. What was asked may have been done."""


class OthersWrite(Unavailable):
    """Another connection is writing, and the caller did not want to wait. Nothing was done."""


class Deadlocked(Unavailable):
    """The database undid this transaction because it and another one waited for each other. The caller may run it again."""


class Interrupted(Deadlocked):
    """The connection was lost before the commit was sent, or turned out to take no changes: nothing was done.

    The caller may run it again, on a new connection.
    """


def is_disconnect(error: DBAPIError) -> bool:
    """Whether the error means that its connection cannot be used any more, and why it broke may have broken others."""
    state, number = _state_of(error), _number_of(error)
    return error.connection_invalidated or state[:2] == "08" or state in _ENDED or number in _LOST or has_given_up(str(error.orig))


def is_read_only(error: DBAPIError) -> bool:
    """Whether the database refused a change because it takes none at present, or because this connection leads to a replica."""
    return _state_of(error) == "25006" or _number_of(error) in _READ_ONLY


def _state_of(error: DBAPIError) -> str:
    """The SQLSTATE of a driver that gives one, else ''."""
    return getattr(error.orig, "sqlstate", None) or ""


def _number_of(error: DBAPIError) -> int:
    """The number that MySQL and MariaDB give errors; 0 if there is none."""
    number = (getattr(error.orig, "args", None) or (0,))[0]
    return number if isinstance(number, int) else 0


_ENDED = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""PostgreSQL ends the connection, or takes none now: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_LOST = (1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2055, 3169, 4031)
"""MySQL and MariaDB: the server ends, or the connection broke or was killed."""

_READ_ONLY = (1290, 1792, 1836, 3100)
"""MySQL and MariaDB: the server runs with `--read-only` or the like, or the transaction may only read."""


def translated(error: DBAPIError | PoolTimeout) -> StrongroomError:
    """Our error for a driver's: without SQL, without parameters."""
    if isinstance(error, IntegrityError):
        return ConstraintViolated("the database refused a conflicting change", hint="look at the current state and try again")
    if isinstance(error, PoolTimeout):
        return Unavailable("all connections to the database are busy", hint="try again later")
    if isinstance(error, OperationalError) and _is_deadlock(error):
        return Deadlocked("the database undid this change in favour of another one", hint="try again")
    said = str(error.orig)
    for reason, hint in KNOWN_REASONS.items():
        if reason in said:
            return Unavailable(f"the database did not do it: {reason}", hint=hint)
    if has_given_up(said):
        return Unanswered(
            "the database does not answer", hint="try again later; look whether it is overloaded, or the network is down"
        )
    if is_read_only(error):
        return Unavailable("the database is read-only at present", hint="look whether it fails over, then try again")
    if error.statement is None:
        return Unavailable("the database cannot be reached", hint="check its URL and its credentials, and whether it runs")
    if is_disconnect(error):
        return Unanswered("the connection to the database was lost", hint="look, then try again")
    return Unavailable(f"the database failed: {type(error.orig).__name__}", hint="try again later")


def _is_deadlock(error: OperationalError) -> bool:
    # PostgreSQL's and MySQL's SQLSTATE, and MySQL's own number for drivers that give no SQLSTATE.
    return _state_of(error) in ("40P01", "40001") or _number_of(error) == 1213


KNOWN_REASONS = {
    "database is locked": "try again later",
    "database or disk is full": "make room, then try again",
    "disk I/O error": "look at the disk, then try again",
    "attempt to write a readonly database": "check the permissions of the file and its folder",
    "unable to open database file": "check the permissions of the file and its folder",
    "file is not a database": "check that it is the right file; restore it from a backup if it is",
    "database disk image is malformed": "restore it from a backup",
}
"""What SQLite says, where it names nothing of ours, and what to do then."""
