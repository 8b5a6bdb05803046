"""Validation: whether all references of a stack and of settings would resolve, told all at once and before anything runs.

It asks what `resolve` would ask, reads no value, and needs no right to read any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.config import ValidationLevel
from strongroom.errors import Unresolved
from strongroom.models.reference import CheckedReference, ReferenceStatus
from strongroom.stacks.resolution import Place, reason

if TYPE_CHECKING:
    from strongroom.client import Client

_BAD = {
    ValidationLevel.NONE: frozenset[ReferenceStatus](),
    ValidationLevel.SECRET_EXISTS: frozenset({ReferenceStatus.NO_SECRET}),
    ValidationLevel.SECRET_AND_KEY_EXISTS: frozenset({ReferenceStatus.NO_SECRET, ReferenceStatus.NO_KEY}),
}


@dataclass(frozen=True)
class Problem:
    """A reference that would not resolve, where it stands, and why; `remedy` is what to do where the stack's owner cannot help."""

    owner: str
    attribute: str
    reference: str
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reference} ({self.owner}, {self.attribute}): {self.reason}"


def validate(client: Client, places: Sequence[Place], level: ValidationLevel | None = None) -> list[Problem]:
    """All problems, in the order of the places. The level is that of the settings unless one is given; with NONE nothing is asked."""
    level = client.settings.secret_validation_level if level is None else level
    if level is ValidationLevel.NONE or not places:
        return []
    references = list(dict.fromkeys(place.reference for place in places))
    checked = client.check_references(references)
    items = dict(zip(references, checked.items, strict=True))
    problems = [
        Problem(
            place.owner, place.attribute, str(place.reference), reason(items[place.reference]), _remedy(place, items[place.reference])
        )
        for place in places
        if items[place.reference].status in _BAD[level]
    ]
    if not checked.may_read:
        problems += [
            Problem(place.owner, place.attribute, str(place.reference), "you may see this secret but not read its values", _ASK)
            for place in places
            if items[place.reference].status is ReferenceStatus.OK
        ]
    return problems


def unresolved(stack: str, problems: Sequence[Problem], consequence: str = "") -> Unresolved:
    """The error that names all problems."""
    count = f"{len(problems)} reference{'' if len(problems) == 1 else 's'}"
    listed = "; ".join(map(str, problems))
    remedies = list(dict.fromkeys(problem.remedy or f"strongroom stack register-secrets {stack}" for problem in problems))
    return Unresolved(
        f"{consequence}{count} cannot be resolved on stack '{stack}': {listed}",
        hint="; ".join(remedies),
        problems=problems,
    )


_ASK = "ask an administrator of the workspace for a role that reads values"


def _remedy(place: Place, item: CheckedReference) -> str:
    """`stack register-secrets` asks for what components refer to, and knows nothing of settings."""
    if not place.owner.startswith("the settings"):
        return ""
    verb = "create" if item.status is ReferenceStatus.NO_SECRET else "update"
    return f"strongroom secret {verb} {item.name} -i"
