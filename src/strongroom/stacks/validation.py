"""Validation: whether all references of a stack and of settings would resolve, told all at once and before anything runs.

It looks whether secrets and keys exist, reads no value, and needs no right to read any: a machine that may only list can validate for
those who may read. Only what the stack's secrets manager has must be read there: it knows no other way to say which keys there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom.config import ValidationLevel
from strongroom.errors import Unresolved
from strongroom.models.reference import CheckedReference, Reference, ReferenceStatus, ResolvedReference
from strongroom.stacks.resolution import Declared, OpenManager, Place, manager_items, reason

if TYPE_CHECKING:
    from strongroom.client import Client

_BAD = {
    ValidationLevel.NONE: frozenset[ReferenceStatus](),
    ValidationLevel.SECRET_EXISTS: frozenset({ReferenceStatus.NO_SECRET, ReferenceStatus.UNREADABLE}),
    ValidationLevel.SECRET_AND_KEY_EXISTS: frozenset({ReferenceStatus.NO_SECRET, ReferenceStatus.NO_KEY, ReferenceStatus.UNREADABLE}),
}


Item = CheckedReference | ResolvedReference


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


@dataclass(frozen=True)
class _Question:
    """A reference to ask about, and how to tell of it. Of one that is `whole`, any keys will do."""

    reference: Reference
    owner: str
    attribute: str
    shown: str
    in_stack: bool
    whole: bool = False
    is_declared: bool = False


def validate(
    client: Client,
    places: Sequence[Place],
    level: ValidationLevel | None = None,
    declared: Sequence[Declared] = (),
    open_manager: OpenManager | None = None,
) -> list[Problem]:
    """All problems, in the order of the places and of what is declared. With the level NONE nothing is asked.

    The level is that of the settings unless one is given. References, not what is declared, may lead to a secrets manager; that is
    opened if it is needed.
    """
    level = client.settings.secret_validation_level if level is None else level
    if level is ValidationLevel.NONE or not (places or declared):
        return []
    questions = [*map(_of_place, places), *map(_of_declared, declared)]
    references = list(dict.fromkeys(question.reference for question in questions))
    checked = client.check_references(references)
    items: dict[Reference, Item] = dict(zip(references, checked.items, strict=True))
    referred = {place.reference: None for place in places}
    managed = manager_items(open_manager, [each for each in referred if items[each].status is ReferenceStatus.NO_SECRET])

    def item_of(question: _Question) -> Item:
        is_reference = not question.is_declared and question.reference in managed
        return managed[question.reference] if is_reference else items[question.reference]

    statuses = {question: _status(question, item_of(question)) for question in questions}

    def problem(question: _Question, said: str, remedy: str) -> Problem:
        return Problem(question.owner, question.attribute, question.shown, said, remedy)

    return [
        problem(question, reason(item_of(question)), _remedy(question, item_of(question)))
        for question, status in statuses.items()
        if status in _BAD[level]
    ]


def _of_place(place: Place) -> _Question:
    # `stack register-secrets` asks for what components refer to, and knows nothing of settings.
    return _Question(place.reference, place.owner, place.attribute, str(place.reference), not place.owner.startswith("the settings"))


def _of_declared(declared: Declared) -> _Question:
    need = declared.need
    whole = need.key is None
    # No secret has an empty key: asked for one, the index tells whether the secret is there.
    return _Question(Reference(need.name, need.key or ""), declared.owner, "secrets", str(need), False, whole, is_declared=True)


def _status(question: _Question, item: Item) -> ReferenceStatus:
    return ReferenceStatus.OK if question.whole and item.status is ReferenceStatus.NO_KEY else item.status


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


def _remedy(question: _Question, item: Item) -> str:
    if item.status is ReferenceStatus.UNREADABLE:
        return "see that the secrets manager can be read from here"
    if question.in_stack:
        return ""
    verb = "create" if item.status is ReferenceStatus.NO_SECRET else "update"
    return f"strongroom secret {verb} {item.name} -i"
