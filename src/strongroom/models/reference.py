"""References to secrets: `{{name.key}}`, where they stand, and what became of them.

A reference is the whole of a text: two opening braces, the name of a secret, a dot, a key, two closing braces; blanks are allowed
next to the braces. The first dot splits, since names have none. Everything else is plain text.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from strongroom.models.secret import Scope
from strongroom.redaction import SecretText

_REFERENCE = re.compile(r"\{\{[ \t]*([A-Za-z0-9_-]{1,255})\.([A-Za-z0-9_.-]{1,255})[ \t]*\}\}")
_ALMOST = re.compile(r"\{\{?([^{}\s\"]+)\}\}?")  # in single braces, quotes are those of JSON

MAX_REFERENCES = 10_000
"""References in one request."""


class Reference(msgspec.Struct, frozen=True, order=True):
    """A secret's name and one of its keys."""

    name: str
    key: str

    def __str__(self) -> str:
        return f"{{{{{self.name}.{self.key}}}}}"


def parse_reference(text: str) -> Reference | None:
    """The reference that the text is as a whole, or None."""
    found = _REFERENCE.fullmatch(text)
    return Reference(found[1], found[2]) if found else None


def is_near_miss(text: str) -> bool:
    """Whether somebody may have meant a reference here: braces around something, but not one by the grammar."""
    start = text.find("{")
    if start < 0 or parse_reference(text) is not None:
        return False
    opening = text.find("{{", start)
    if opening >= 0 and text.find("}}", opening) >= 0:
        return True
    inner = _ALMOST.fullmatch(text)
    return inner is not None and "." in inner[1][1:-1]


def walk_texts(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """All texts in nested lists and mappings, each with its path: `auth.token`, `hosts[0]`. Keys of mappings do not count."""
    if isinstance(tree, str):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, item in tree.items():
            yield from walk_texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple):
        for number, item in enumerate(tree):
            yield from walk_texts(item, f"{path}[{number}]")


def find_references(tree: Any) -> Iterator[tuple[str, Reference]]:
    """All references in a text or in nested lists and mappings, each with its path."""
    for path, text in walk_texts(tree):
        reference = parse_reference(text)
        if reference is not None:
            yield path, reference


class Need(msgspec.Struct, frozen=True, order=True):
    """What a run reads: a key of a secret; without a key, all keys that the secret has whenever it is read."""

    name: str
    key: str | None = None

    def __str__(self) -> str:
        return self.name if self.key is None else f"{self.name}.{self.key}"


class ReferenceStatus(enum.StrEnum):
    """What a reference leads to. `not_granted`: who asks is a run that may not know whether there is such a secret."""

    NO_KEY = "no_key"
    NO_SECRET = "no_secret"
    NOT_GRANTED = "not_granted"
    OK = "ok"
    UNREADABLE = "unreadable"


class CheckReferences(msgspec.Struct, frozen=True, kw_only=True):
    """Asks what references lead to, without values and without the right to read them."""

    references: list[Reference]


class CheckedReference(msgspec.Struct, frozen=True, kw_only=True):
    """What one reference leads to. `keys` are those of the secret that was found; `near` are names like the one that was not."""

    name: str
    key: str
    status: ReferenceStatus
    secret_id: str | None = None
    version: int | None = None
    keys: list[str] = []
    near: list[str] = []


class CheckedReferences(msgspec.Struct, frozen=True, kw_only=True):
    """One item per reference, in the order asked; `may_read` says whether whoever asks may read values."""

    items: list[CheckedReference]
    may_read: bool


class UseOf(msgspec.Struct, frozen=True):
    """What references are resolved for: a stack or a component by its id, as it was when its attributes were read."""

    id: str
    state: str | None = None


class ResolveReferences(msgspec.Struct, frozen=True, kw_only=True):
    """Reads the values of references, all in one snapshot. With `run_id` the run's record says that it did.

    `use` says what they stand in, which the caller must be allowed to use in that same snapshot; None for the caller's own code.
    """

    references: list[Reference]
    run_id: str | None = None
    use: UseOf | None = None


class ResolvedReference(msgspec.Struct, frozen=True, kw_only=True):
    """What one reference leads to, with the value where `status` is `ok`; else `message` may say more."""

    name: str
    key: str
    status: ReferenceStatus
    secret_id: str | None = None
    scope: Scope | None = None
    version: int | None = None
    keys: list[str] = []
    near: list[str] = []
    message: str | None = None
    value: SecretText | UnsetType = UNSET


class ResolvedReferences(msgspec.Struct, frozen=True, kw_only=True):
    """One item per reference, in the order asked."""

    items: list[ResolvedReference]
