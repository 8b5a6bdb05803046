"""A Dockerfile as far as ours goes: its stages and their instructions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass
class Stage:
    """What follows a FROM: instructions in order, as pairs of a name and the rest of the line."""

    base: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """What stands after each instruction of this name."""
        return [rest for instruction, rest in self.instructions if instruction == name]

    @property
    def environment(self) -> dict[str, str]:
        """All of ENV. Names in texts are not replaced."""
        pairs = (word.partition("=") for rest in self.all("ENV") for word in shlex.split(rest))
        return {name: text for name, _, text in pairs}

    def words(self, name: str) -> list[str]:
        """The only instruction of this name, in its form of a JSON list."""
        (rest,) = self.all(name)
        words: list[str] = json.loads(rest[rest.index("[") :])
        return words


def read_dockerfile(path: Path) -> list[Stage]:
    """Its stages."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            base, _, alias = rest.partition(" AS ")
            stages.append(Stage(base, alias or None))
        elif name and stages:
            stages[-1].instructions.append((name, rest.strip()))
    return stages


def sent_to_the_builder(root: Path, ignore: Path) -> list[Path]:
    """The files of a folder that an allow-list in a .dockerignore lets through: `*`, then `!what` there is, then patterns below."""
    lines = [line for line in ignore.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    refused = [line.removeprefix("**/") for line in lines[1:] if not line.startswith("!")]
    found = []
    for top in allowed:
        path = root / top
        for each in [path] if path.is_file() else sorted(path.rglob("*")):
            parts = each.relative_to(root).parts
            if each.is_file() and not any(PurePosixPath(part).match(pattern) for part in parts for pattern in refused):
                found.append(each)
    return found


def moved(text: str, places: Mapping[str, Path]) -> str:
    """A command with other folders in place of some absolute ones."""
    for there, here in places.items():
        text = re.sub(rf"(?<![\w./-]){re.escape(there)}(?![\w-])", str(here), text)
    return text
