"""Approvals: what components of other users take of a user, and that the user agreed to it."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

_LONGEST = 400


def one_line(text: str) -> str:
    """A text that another user wrote, for a message: no control characters, not endless, long enough for a path."""
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 3] + "..."


class TakingKind(enum.StrEnum):
    """What a component takes of its user."""

    CODE = "code"
    FILE = "file"
    IDENTITY = "identity"
    PLACE = "place"
    SECRET = "secret"


class Taking(msgspec.Struct, frozen=True, order=True):
    """One thing that a component takes: `what` is the secret's reference, the file's path, the import path, the address.

    Holds no value of a secret: an attribute that is a reference is shown as it is written.
    """

    kind: TakingKind
    what: str
    attribute: str = ""

    def __str__(self) -> str:
        where = f" ({self.attribute})" if self.attribute and self.kind is not TakingKind.SECRET else ""
        return f"{_WORDS[self.kind]} {self.what}".rstrip() + where


_WORDS = {
    TakingKind.CODE: "code that is imported from",
    TakingKind.FILE: "the file",
    TakingKind.IDENTITY: "the logins and variables of the machine",
    TakingKind.PLACE: "the outputs of steps, sent to and loaded from",
    TakingKind.SECRET: "the user-scoped secret",
}


class RevisionStatus(enum.StrEnum):
    """Why a revision may be used, or that it waits. `harmless`: it takes nothing. `trusted`: an administrator wrote it."""

    APPROVED = "approved"
    HARMLESS = "harmless"
    OWN = "own"
    TRUSTED = "trusted"
    WAITING = "waiting"


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """The current revision of a component, or of a stack's composition (`type` is then `stack`), as one user sees it.

    `author` is None where it is not known. `addresses` are where requests go, for information. `changes` are lines that say what is
    different from the revision that the user approved last; None if there was none.
    """

    id: str
    type: str
    name: str
    number: int
    author: str | None
    written: datetime
    status: RevisionStatus
    takes: list[Taking]
    addresses: list[str]
    changes: list[str] | None

    @property
    def title(self) -> str:
        """How messages call it: `artifact store 'bucket'`."""
        return f"{self.type.replace('_', ' ')} '{self.name}'"

    @property
    def by(self) -> str:
        """Its author, for people."""
        return "an unknown author" if self.author is None else f"'{self.author}'"


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """A stack with its components and the service connectors that they name, or one service connector: what each takes of a user.

    The user is the caller, or the service account. `seen` stands for exactly this review; an approval names it.
    """

    id: str
    name: str
    account: str | None
    seen: str
    revisions: list[Revision]

    @property
    def waiting(self) -> list[Revision]:
        """The revisions that the user has to approve before they are used."""
        return [revision for revision in self.revisions if revision.status is RevisionStatus.WAITING]


class GetReview(msgspec.Struct, frozen=True, kw_only=True):
    """Reviews a stack by exact name, a service connector by exact name, or without either the active stack.

    `account` is a service account of the workspace; its administrators may ask for it.
    """

    stack: str | None = None
    connector: str | None = None
    account: str | None = None


class Approve(msgspec.Struct, frozen=True, kw_only=True):
    """Approves all that waits in a review; `seen` is the review's. `account` as for the review."""

    seen: str
    stack: str | None = None
    connector: str | None = None
    account: str | None = None
