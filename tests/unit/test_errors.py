"""The tree of errors."""

from __future__ import annotations

import inspect
import re

import pytest

from strongroom import errors
from strongroom.db.engine import ConstraintViolated
from strongroom.errors import StrongroomError, StrongroomWarning, Unresolved

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if kind.__module__ == errors.__name__ and issubclass(kind, StrongroomError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_drawn_with_its_status(kind: type[StrongroomError]) -> None:
    """The picture in the module's docstring names each class with its HTTP status."""
    assert errors.__doc__ is not None
    if kind is not StrongroomError:
        assert re.search(rf"── {kind.__name__}\b.* {kind.status}\b", errors.__doc__)


def test_codes_are_unique() -> None:
    """A program can tell all errors apart by their codes."""
    codes = [kind.code for kind in [*CLASSES, ConstraintViolated]]
    assert len(set(codes)) == len(codes)


def test_codes_are_stable() -> None:
    """Programs rely on these codes."""
    assert {kind.__name__: kind.code for kind in CLASSES} == {
        "AlreadyExists": "already_exists",
        "AmbiguousId": "ambiguous_id",
        "ConfigurationError": "configuration",
        "EncryptionKeyError": "encryption_key",
        "ApprovalNeeded": "approval_needed",
        "Forbidden": "forbidden",
        "InvalidInput": "invalid",
        "JobFailed": "job_failed",
        "MissingExtra": "missing_extra",
        "NoSuchOperation": "no_such_operation",
        "NotFound": "not_found",
        "NothingToChange": "nothing_to_change",
        "SchemaTooNew": "schema_too_new",
        "ServerUnknown": "server_unknown",
        "StaleVersion": "stale_version",
        "StepFailed": "step_failed",
        "StoreForbidden": "store_forbidden",
        "StrongroomError": "internal",
        "TooLarge": "too_large",
        "TooManyRequests": "rate_limited",
        "Unauthenticated": "unauthenticated",
        "Unavailable": "unavailable",
        "UnderWay": "under_way",
        "Unreadable": "unreadable",
        "Unresolved": "unresolved",
        "ValuesCorrupt": "values_corrupt",
        "ValuesMissing": "values_missing",
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_read_as_one_line(kind: type[StrongroomError]) -> None:
    """`str` is the message alone (also for the `KeyError`s, whose own `str` would quote it)."""
    error = kind("no such thing", hint="look elsewhere")
    assert str(error) == error.message == "no such thing"
    assert error.hint == "look elsewhere"
    assert kind("x").hint is None


def test_warnings_are_no_errors() -> None:
    """Our warning can be filtered as one, and nothing that catches errors catches it."""
    assert issubclass(StrongroomWarning, UserWarning)
    assert not issubclass(StrongroomWarning, StrongroomError)


def test_unresolved_references_are_told_one_by_one() -> None:
    """The error carries its problems for programs, as a list of its own."""
    problems = ["one", "two"]
    error = Unresolved("2 references cannot be resolved", problems=problems)
    problems.clear()
    assert error.problems == ["one", "two"]
    assert Unresolved("x").problems == []


def test_missing_things_are_key_errors() -> None:
    """Code that catches `KeyError` for a missing secret works."""
    with pytest.raises(KeyError):
        raise errors.NotFound("there is no secret 'a'")
