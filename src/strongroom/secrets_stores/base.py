"""What a secrets store is: a place that keeps immutable values at locators, and knows nothing else.

The index decides everything that changes: which version of a secret is current, and which store holds it at which locator. So a
store needs no transactions, no names and no versions of its own. Six methods are all of it, and each can be honoured by every
back end. `memory.py` is the reference; `conformance.py` is the suite that says whether a store keeps these promises.

A store answers, or it raises one of four errors (and no other but `TooLarge`, before anything is asked of the back end):

    ValuesMissing    it answered: nothing is here
    StoreForbidden   it answered: it will not, until an operator changes something (credential, right, set-up)
    Unavailable      it did not answer: what was asked may have been done
    ValuesCorrupt    what lies at the locator is not what was put there

Errors of drivers are wrapped at the store's edge. No error, and no error's context, carries a value or a credential.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from strongroom.errors import ConfigurationError, StoreForbidden, StrongroomError, TooLarge, Unavailable, ValuesCorrupt, ValuesMissing

STORE_ERRORS = (ValuesMissing, StoreForbidden, Unavailable, ValuesCorrupt)
"""All that a call of a store may raise, but for `TooLarge` of a put."""

MAX_LOCATOR_LENGTH = 255
"""Of a locator, and of a store's id: both are ASCII, and columns of the index."""

MARKER_ID = "ffffffff-ffff-7fff-bfff-ffffffffffff"
"""Stands in the place of a secret's id in the locators of markers. It comes after all secrets in a list."""

_NUMBER = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class About:
    """Whose values these are, written beside them so that a store explains itself. As of the put: a renamed secret keeps it.

    `version` says which version of the secret they are; None if whoever put them did not know. A copy knows it. A write knows the
    number that it hopes for: if it is acknowledged, it has that one; if not, another write may have it, with other values.
    """

    deployment_id: str
    secret_id: str
    name: str
    scope: str
    workspace: str
    version: int | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """One locator of a scan, with what the store knows about it: no more than its capabilities declare, and never a value.

    `about` is None also for the remains of a put that was cut off before it described itself.
    """

    locator: str
    about: About | None = None
    written: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What differs between back ends and matters to whoever uses them."""

    max_bytes: int
    """The largest values that a put takes, as `size_of` counts them, or their JSON text in UTF-8 if `counts_json`."""

    counts_json: bool = False
    """Whether `max_bytes` is about the JSON text that is written, with its quotes and escapes."""

    max_versions: int | None = None
    """How many versions of one secret are kept at the same time; None: as many as are put. No store drops one by itself.

    There is room for some more: for those on their way in, and for those that are still to be deleted.
    """

    scan_describes: bool = True
    """Whether a scan gives `about` and `written`."""

    scan_numbers: bool = True
    """Whether that `about` has the `version` of the put."""


class SecretsStore(Protocol):
    """A store of values. All methods are thread-safe, and each call ends within its `seconds`, if need be by `Unavailable`.

    The time limit is the caller's promise to itself: a writer that has given up must not write later. A store therefore begins
    nothing that it cannot end in time, and makes no attempt after the limit.
    """

    @property
    def store_id(self) -> str:
        """Names the location, at most 255 ASCII characters: equal for two stores exactly if one finds what the other put.

        Never depends on a credential. An operator's own name for the store may take its place, to keep it when an address changes.
        """

    @property
    def capabilities(self) -> Capabilities:
        """The same for as long as the store lives. No back end is asked."""

    def new_locator(self, secret_id: str) -> str:
        """A fresh locator, at most 255 ASCII characters, for one attempt to put values of this secret. No back end is asked.

        Nobody ever gets the same one again, so that a late delete of one attempt cannot hit the values of another.
        """

    def put(self, locator: str, values: Mapping[str, str], about: About, *, seconds: float) -> None:
        """Writes values, durably when it returns. Atomic: a reader finds all of them or none.

        Repeating the same put is harmless and succeeds: that is how a caller deals with a lost reply. Other values at the same
        locator are refused (`ValuesCorrupt`), and those that are there stay. `TooLarge` past `capabilities.max_bytes`, with nothing
        written.
        """

    def get(self, locator: str, *, seconds: float) -> dict[str, str]:
        """The values at a locator, exactly as they were put (their order may differ)."""

    def delete(self, locator: str, *, seconds: float) -> None:
        """Removes values and what describes them, for good. What is gone already is no error."""

    def scan(self, *, seconds: float) -> Iterator[Sequence[Found]]:
        """All locators of this deployment, in pages of at most 1000 and in no order; each page may take so many seconds.

        Whatever was put before the scan began, and not deleted, is found exactly once; what is put or deleted meanwhile may be
        found or not. Needs no more memory than a page (and what one answer of the back end holds).
        """

    def close(self) -> None:
        """Gives connections back. Calls that are under way may fail with `Unavailable`; so do all later ones."""


@runtime_checkable
class ReadsMany(Protocol):
    """A store whose back end gives several values in one answer."""

    def get_many(self, locators: Sequence[str], *, seconds: float) -> Mapping[str, dict[str, str] | StrongroomError]:
        """For each locator the values or the error that `get` would raise, in fewer calls of the back end than there are locators."""


@runtime_checkable
class ListsDeployments(Protocol):
    """A store that can tell which deployments put values there, for whoever has lost a database."""

    def deployments(self, *, seconds: float) -> list[str]:
        """Their ids, in order. Errors as of any call.

        Where all has to be listed for it, page by page, each answer of the back end may take so many seconds. Needs no more memory
        than a page.
        """


@runtime_checkable
class Introspective(Protocol):
    """What most stores can tell an operator who sets them up, beside what they are for."""

    def identity(self, *, seconds: float) -> str:
        """Who the credential belongs to as the back end sees it, in a line for people. Errors as of any call."""

    @property
    def policy(self) -> str:
        """The least that has to be allowed at this location, in the back end's own words, to be copied. No back end is asked."""


def is_marker_at(locator: str) -> bool:
    """Whether a locator was made for a marker, as far as it shows the id that it was made for. Those of all our stores do."""
    return MARKER_ID in locator or MARKER_ID.replace("-", "") in locator


def is_own(about: About) -> bool:
    """Whether an object belongs to the deployment itself and to no secret: a marker, or what a trial of the store has left."""
    return about.secret_id in (about.deployment_id, MARKER_ID)


def texts_of(about: About) -> dict[str, str]:
    """What an `About` says, for back ends that keep texts under names. What it does not know is left out."""
    return {name: str(told) for name, told in asdict(about).items() if told is not None}


def about_of(texts: Mapping[str, object]) -> About | None:
    """The `About` that was written so; None if anything but the version is missing, as what was put before has none."""
    number = str(texts.get("version", ""))
    try:
        told = {name: str(texts[name]) for name in About.__dataclass_fields__ if name != "version"}
    except KeyError:
        return None
    return About(**told, version=int(number) if _NUMBER.fullmatch(number) else None)


def checked_store_id(store_id: str) -> str:
    """The id itself if the index can keep it, else `ConfigurationError`."""
    if not (0 < len(store_id) <= MAX_LOCATOR_LENGTH and store_id.isascii() and store_id.isprintable()):
        raise ConfigurationError("the address or name of the store is too long, or not ASCII", hint="give the store another 'name'")
    return store_id


def size_of(values: Mapping[str, str]) -> int:
    """The bytes of keys and values in UTF-8: what limits are about, whatever a back end makes of them."""
    return sum(len(key.encode()) + len(text.encode()) for key, text in values.items())


def check_size(values: Mapping[str, str], capabilities: Capabilities) -> None:
    """Raises `TooLarge` if a store with these capabilities does not take the values."""
    size, limit = size_of(values), capabilities.max_bytes
    if capabilities.counts_json and (size := len(msgspec.json.encode(values))) > limit:
        raise TooLarge(f"keys and values are {size:,} bytes as JSON; this store takes {limit:,}")
    if size > limit:
        raise TooLarge(f"keys and values are {size:,} bytes; this store takes {limit:,}")
