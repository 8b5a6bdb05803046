"""Attributes, settings and parameters as lines: what is nested is written out by its path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from strongroom.models.reference import (
    CheckedReference,
    CheckedReferences,
    CheckReferences,
    Reference,
    ReferenceStatus,
    parse_reference,
)
from strongroom.operations import secret as of_secret
from strongroom.redaction import MASK
from strongroom.server.ui.visit import Visit


@dataclass(frozen=True)
class Line:
    """One text, number or other plain thing, as it is written; what it leads to, if it is a reference and was looked up."""

    path: str
    text: str
    reference: Reference | None = None
    found: CheckedReference | None = None
    may_read: bool = True

    @property
    def is_masked(self) -> bool:
        """Whether something sensitive was kept back."""
        return self.text == MASK

    @property
    def resolves(self) -> bool:
        """Whether whoever looks at it would get the value."""
        return self.found is not None and self.found.status is ReferenceStatus.OK and self.may_read

    @property
    def state(self) -> str:
        """What the reference leads to, in words."""
        if self.found is None:
            return ""
        if self.found.status is ReferenceStatus.OK:
            return "resolves" if self.may_read else "there, but you may not read it"
        return {ReferenceStatus.NO_SECRET: "no such secret", ReferenceStatus.NO_KEY: "no such key"}.get(
            self.found.status, "may not be read"
        )


def lines(tree: Mapping[str, Any]) -> list[Line]:
    """The lines of a mapping, in its order."""
    return [Line(path, text, parse_reference(text) if is_text else None) for path, text, is_text in _leaves(tree, "")]


async def looked_up(visit: Visit, groups: Mapping[str, Iterable[Line]]) -> dict[str, list[Line]]:
    """The same groups of lines with what their references lead to, all looked up at once; no value is read."""
    wanted = list(dict.fromkeys(line.reference for group in groups.values() for line in group if line.reference is not None))
    if not wanted:
        return {name: list(group) for name, group in groups.items()}
    checked: CheckedReferences = await visit.ask(of_secret.CHECK, CheckReferences(references=wanted))
    found = dict(zip(wanted, checked.items, strict=True))

    def with_state(line: Line) -> Line:
        if line.reference is None:
            return line
        return Line(line.path, line.text, line.reference, found[line.reference], checked.may_read)

    return {name: [with_state(line) for line in group] for name, group in groups.items()}


def _leaves(tree: Any, path: str) -> Iterator[tuple[str, str, bool]]:
    if isinstance(tree, Mapping) and (tree or not path):
        for key, item in tree.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(tree, list | tuple) and tree:
        for number, item in enumerate(tree):
            yield from _leaves(item, f"{path}[{number}]")
    else:
        is_text = isinstance(tree, str)
        yield path, tree if is_text else json.dumps(tree, ensure_ascii=False, default=str), is_text
