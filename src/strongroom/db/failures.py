"""Our errors for those of database drivers."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from strongroom.db.patience import has_given_up
from strongroom.errors import StrongroomError, Unavailable

DATABASE_ERRORS = (DBAPIError, PoolTimeout)


class ConstraintViolated(StrongroomError):
    """A write broke a uniqueness or foreign key rule of the database; all of its transaction is undone.

    Caught where the rule is known and can be named.
    """

    code = "conflict"
    status = 409


class Unanswered(Unavailable):
    """The database did not answer in time. What was asked may have been done."""


class OthersWrite(Unavailable):
    """Somebody else is writing just now, and this was not to wait. Nothing was done."""


class Deadlocked(Unavailable):
    """The database undid this transaction because it and another one waited for each other. Whoever can, runs it again."""


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
    if error.statement is None:
        return Unavailable("the database cannot be reached", hint="check its URL and its credentials, and whether it runs")
    return Unavailable(f"the database failed: {type(error.orig).__name__}", hint="try again later")


def _is_deadlock(error: OperationalError) -> bool:
    # PostgreSQL's and MySQL's SQLSTATE, and MySQL's own number for drivers that give no SQLSTATE.
    return getattr(error.orig, "sqlstate", None) in ("40P01", "40001") or getattr(error.orig, "args", ())[:1] == (1213,)


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
