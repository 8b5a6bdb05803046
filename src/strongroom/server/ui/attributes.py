"""Attributes, settings and parameters as lines: what is nested is written out by its path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from strongroom.models.flavor import MAX_NESTING
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

DEEPEST = MAX_NESTING + 2
"""How far down things are written out."""

MAX_LINES, MAX_TEXT = 300, 4_096
"""Of what was recorded."""


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
    return [Line(path, text, parse_reference(text) if is_text else None) for path, text, is_text in _leaves(tree, "", DEEPEST)]


def some_lines(tree: Mapping[str, Any]) -> list[Line]:
    """The same of what somebody recorded, who may have recorded very much: the first of them, and of long texts the beginning."""
    found = [
        Line(path[:MAX_TEXT], text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…")
        for path, text, _ in islice(_leaves(tree, "", DEEPEST), MAX_LINES + 1)
    ]
    return found if len(found) <= MAX_LINES else [*found[:MAX_LINES], Line("…", "and more, which the command line shows")]


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


def _leaves(tree: Any, path: str, levels: int) -> Iterator[tuple[str, str, bool]]:
    if not levels:
        yield path, "…", False
    elif isinstance(tree, Mapping) and (tree or not path):
        for key, item in tree.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key), levels - 1)
    elif isinstance(tree, list | tuple) and tree:
        for number, item in enumerate(tree):
            yield from _leaves(item, f"{path}[{number}]", levels - 1)
    else:
        is_text = isinstance(tree, str)
        yield path, tree if is_text else json.dumps(tree, ensure_ascii=False, default=str), is_text
