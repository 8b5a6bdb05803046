"""Every error that strongroom raises on purpose, as one tree.

    StrongroomError
    ├── InvalidInput                422  what was asked makes no sense; nothing was changed
    │   ├── NothingToChange         422
    │   ├── TooLarge                413
    │   └── AmbiguousId             422
    ├── Unauthenticated             401
    ├── Forbidden                   403
    │   └── ApprovalNeeded          403  another user wrote it, and it takes something of the caller
    ├── NotFound (a KeyError too)   404  also for what the caller may not see
    ├── AlreadyExists               409
    ├── UnderWay                    409  another job is running
    ├── TooManyRequests             429  too many failed logins
    ├── StaleVersion                412  somebody else was faster
    ├── NoSuchOperation             404  the server does not know what was asked: it is older or newer
    ├── Unresolved                  422  references lead to no value; no step was started
    ├── JobFailed                   500  a backup, restore or verification gave up
    ├── StepFailed                  500  a step of a pipeline raised an error
    ├── Unavailable                 503  try again later; nothing was changed, unless the message says otherwise
    ├── Unreadable                  500  the values are there or should be, but cannot be turned into text
    │   ├── ValuesMissing           500  no store has them
    │   └── ValuesCorrupt           500  they do not decrypt in the place where they were found
    └── ConfigurationError          500  the operator has to change something
        ├── ServerUnknown           500  what answers at the address is no strongroom server, or none to be trusted
        ├── EncryptionKeyError      500
        ├── SchemaTooNew            500
        ├── StoreForbidden          500  a secrets store answers and refuses strongroom itself
        └── MissingExtra            500

`code` is stable and meant for programs; `str(error)` is one line for people; `hint` says what to do next.
No message ever contains a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class StrongroomError(Exception):
    """Base of all errors; `code` and `status` (HTTP) belong to the class, `message` and `hint` to the instance."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:  # for tracebacks, which show the text alone
            self.add_note(f"hint: {hint}")

    def __str__(self) -> str:
        return self.message


class InvalidInput(StrongroomError):
    """The request is wrong in itself."""

    code = "invalid"
    status = 422


class NothingToChange(InvalidInput):
    """An update that names no change."""

    code = "nothing_to_change"


class TooLarge(InvalidInput):
    """Keys and values are larger than a configured store takes."""

    code = "too_large"
    status = 413


class AmbiguousId(InvalidInput):
    """An id prefix that fits more than one secret."""

    code = "ambiguous_id"


class Unauthenticated(StrongroomError):
    """Nobody knows who is asking."""

    code = "unauthenticated"
    status = 401
    user_id: str = ""
    """The user whose password was wrong, for the audit trail alone."""


class Forbidden(StrongroomError):
    """The actor is known and may not do this."""

    code = "forbidden"
    status = 403


class NotFound(StrongroomError, KeyError):
    """No such thing, or none that the caller may see: the two read alike."""

    code = "not_found"
    status = 404


class AlreadyExists(StrongroomError):
    """The name is taken in its scope."""

    code = "already_exists"
    status = 409


class UnderWay(StrongroomError):
    """Another backup, restore or verification is running."""

    code = "under_way"
    status = 409


class NoSuchOperation(StrongroomError):
    """The server has no such path: it is older or newer than whoever asks, or the path is wrong."""

    code = "no_such_operation"
    status = 404


class TooManyRequests(StrongroomError):
    """Too many failed logins, for this user or from this address. `retry_after` is in seconds."""

    code = "rate_limited"
    status = 429

    def __init__(self, message: str, hint: str | None = None, retry_after: int = 60) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class ApprovalNeeded(Forbidden):
    """A component or stack that another user wrote takes something of the caller, who has not approved it. Nothing was used."""

    code = "approval_needed"


class StaleVersion(StrongroomError):
    """The secret has moved on from the version that the caller knows."""

    code = "stale_version"
    status = 412


class Unresolved(StrongroomError):
    """References that lead to no value. The message names every one of them and where it stands; so do `problems`, one by one."""

    code = "unresolved"
    status = 422

    def __init__(self, message: str, hint: str | None = None, problems: Sequence[object] = ()) -> None:
        super().__init__(message, hint)
        self.problems = list(problems)


class StepFailed(StrongroomError):
    """A step of a pipeline raised an error, which is the cause of this one; values are masked in both."""

    code = "step_failed"


class JobFailed(StrongroomError):
    """A backup, restore or verification gave up before its end. What it had done stays done, and stands in `report`."""

    code = "job_failed"

    def __init__(self, message: str, hint: str | None = None, report: object = None) -> None:
        super().__init__(message, hint)
        self.report = report


class Unavailable(StrongroomError):
    """The index or a store did not answer in time. `retry_after` is what it asked to be given, in seconds."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class Unreadable(StrongroomError):
    """Values that the index knows cannot be given back."""

    code = "unreadable"


class ValuesMissing(Unreadable):
    """The store answered that it has nothing at the locator."""

    code = "values_missing"


class ValuesCorrupt(Unreadable):
    """What lies at the locator is not what was written there."""

    code = "values_corrupt"


class ConfigurationError(StrongroomError):
    """A setting is wrong or missing."""

    code = "configuration"


class ServerUnknown(ConfigurationError):
    """What answers at the address is no strongroom server, or cannot prove that it is the right one."""

    code = "server_unknown"


class EncryptionKeyError(ConfigurationError):
    """The encryption key is missing, malformed or not the one the database was written with."""

    code = "encryption_key"


class SchemaTooNew(ConfigurationError):
    """The database was upgraded by a newer strongroom than this one."""

    code = "schema_too_new"


class StoreForbidden(ConfigurationError):
    """A secrets store answers and refuses: its credential is wrong, expired or lacks a right, or its set-up does not do."""

    code = "store_forbidden"


class MissingExtra(ConfigurationError):
    """A feature whose libraries are not installed."""

    code = "missing_extra"


class StrongroomWarning(UserWarning):
    """Something works and is probably not what was meant. Never contains a value."""


def printable(text: str) -> str:
    """User input for a message: one line, no control characters, not endless."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= 80 else shown[:77] + "..."
